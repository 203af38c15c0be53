"""What `boltlink doctor` says of an identity provider."""

from __future__ import annotations

import asyncio
from pathlib import Path

from app.cli.doctor.findings import State
from app.cli.doctor.provider import about_provider
from app.settings import Settings
from tests.accounts.issuer import CLIENT, run_issuer


def test_a_provider_is_asked_and_what_is_wrong_with_it_is_said(tmp_path: Path) -> None:
    async def look(**settings: str) -> tuple[State, str]:
        read = Settings.from_environ({f"BOLTLINK_OIDC_{name}": value for name, value in settings.items()})
        (found,) = await asyncio.to_thread(lambda: list(about_provider(read)))
        return found.state, found.found

    async def scenario() -> None:
        assert await look() == (State.OK, "none is set: people sign in by password")
        assert (await look(ISSUER="https://a.example"))[0] is State.WARN
        async with run_issuer() as issuer:
            good = {"ISSUER": issuer.url, "CLIENT_ID": CLIENT, "HTTP": "on"}
            state, found = await look(**good)
            assert state is State.OK
            assert f"{issuer.url} answers" in found
            assert found.endswith("register http://127.0.0.1:8000/api/v1/session/oidc/callback there")
            assert await look(**good, CLIENT_SECRET_FILE=str(tmp_path / "none")) != (state, found)
            state, found = await look(**{**good, "ISSUER": f"{issuer.url}/"})
            assert state is State.FAIL
            assert "calls itself" in found
            state, found = await look(**{**good, "HTTP": "off"})
            assert (state, found) == (State.FAIL, f"{issuer.url}/.well-known/openid-configuration: must be https")

    asyncio.run(scenario())
