"""Runs `boltlink` as a person would: as a process, against an API over real stores."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Result", "boltlink"]


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    status: int
    out: str
    err: str


async def boltlink(*arguments: str, environ: dict[str, str]) -> Result:
    """One command with `environ` as its only BOLTLINK_* variables."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BOLTLINK_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.cli", *arguments),
        env={**clean, "COLUMNS": "200", **environ},
        cwd=Path(__file__).parents[2],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Result(process.returncode, out.decode(), err.decode())
