"""SIGTERM ends a command in order, also one that a script started by `&`, which ignores SIGINT."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

LOOP = """
import asyncio, sys
from app.cli.talk import heed_sigterm

async def work():
    try:
        print("works", flush=True)
        await asyncio.to_thread(sys.stdin.read)
    finally:
        await asyncio.sleep(0)
        print("ends in order", flush=True)

heed_sigterm()
try:
    asyncio.run(work())
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("sigint", ["", "trap '' INT; "])
def test_sigterm_ends_a_command_in_order(sigint: str) -> None:
    words = ["sh", "-c", f'{sigint}exec "$0" -c "$1"', sys.executable, LOOP]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "works\n"
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=30)[0] == "ends in order\ninterrupted\n"


def test_a_second_sigterm_ends_what_waits_for_a_thread() -> None:
    words = [sys.executable, "-c", LOOP]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "works\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "ends in order\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM
