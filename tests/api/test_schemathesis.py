"""schemathesis against a running API: what it describes is what it does, whatever is sent.

All checks of all phases, by a seed, for a bounded time. More of it by hand, against any instance that may be filled:
`st --config-file tests/api/schemathesis.toml run URL/api/v1/openapi.json -c all -H "Authorization: Bearer KEY"
--exclude-operation-id get_live --request-timeout 10 --max-time 600`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from app.api import handler
from app.limits import Rate
from tests.api.service import ADMIN_KEY, With, serve
from tests.conftest import Stores

CONFIG = Path(__file__).with_name("schemathesis.toml")
SECONDS = 20


@pytest.mark.timeout(300)
def test_the_api_does_what_it_describes_and_nothing_else(
    with_stores: With, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each operation is tried without a valid key, and with made-up passwords: more than one address may so soon.
    monkeypatch.setattr(handler, "FAILURES", Rate(burst=100_000, every_s=0.001))

    async def scenario(stores: Stores) -> None:
        async with serve(stores, BOLTLINK_ANONYMOUS_RATE="off") as api:
            found = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)),
                *("run", f"{api.client.base_url}/api/v1/openapi.json", "--checks", "all", "--seed", "20261125"),
                *("--header", f"Authorization: Bearer {ADMIN_KEY}", "--max-examples", "10"),
                *("--max-time", str(SECONDS), "--request-timeout", "20", "--no-color", "--no-shrink"),
                *("--exclude-operation-id", "get_live"),  # it never ends; tests/api/test_live.py reads it
                cwd=tmp_path,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await found.communicate()
            assert found.returncode == 0, output.decode()

    with_stores(scenario)
