"""Passwords of links and users: bcrypt, hashed and compared in threads of their own.

In: what people typed. Out: hashes, and whether one is right. bcrypt reads 72 bytes at most, so longer passwords are
refused rather than cut; text is brought to NFC first, because keyboards differ in how they write an umlaut.
The threads are few, run with a low priority, so that redirects on the same core hardly notice, and only
WAITING_MAX wait for them. May import: bcrypt.
"""

from __future__ import annotations

import asyncio
import os
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt

__all__ = ["PASSWORD_BYTES_MAX", "HasherBusyError", "PasswordError", "PasswordHasher", "check_password"]

T = TypeVar("T")

PASSWORD_BYTES_MAX = 72  # what bcrypt reads
#: As typed: NFC makes at most four characters one (UAX 15). To normalise 160 kB of accents takes 9 s.
TYPED_CHARACTERS_MAX = 4 * PASSWORD_BYTES_MAX
COST = 10  # 50 ms; tries are limited too (`app.redirect.password`)
THREADS = 2
WAITING_MAX = 64  # 1.6 s of waiting
NICE = 10  # a tenth of what a redirect gets of a full CPU: 50 ms become half a second, not four


class PasswordError(ValueError):
    """A password that a link cannot have; the text says why."""


class HasherBusyError(Exception):
    """Too many wait already; nothing was done."""


class PasswordHasher:
    """One process's threads for bcrypt."""

    def __init__(self, cost: int = COST, waiting_max: int = WAITING_MAX) -> None:
        self._cost = cost
        self._waiting_max = waiting_max
        self._waiting = 0
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="bcrypt", initializer=_yield_to_others)

    async def hash(self, text: str, cost: int | None = None) -> bytes:
        """The hash to store; `cost` in place of this hasher's own.

        Raises:
            PasswordError: it is empty, too long or holds control characters.
            HasherBusyError: too many wait.
        """
        return await self._run(self._hash, check_password(text), cost or self._cost)

    async def is_right(self, text: str, hashed: bytes) -> bool:
        """Whether `text` is the password of a hash; what could never be one takes as long. Raises HasherBusyError."""
        try:
            password, possible = check_password(text), True
        except PasswordError:
            password, possible = b"-", False
        return await self._run(_matches, password, hashed) and possible

    def close(self) -> None:
        """Ends the threads when they are done."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self, call: Callable[..., T], *args: bytes | int) -> T:
        if self._waiting >= self._waiting_max:
            raise HasherBusyError
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, call, *args)
        finally:
            self._waiting -= 1

    def _hash(self, password: bytes, cost: int) -> bytes:
        return bcrypt.hashpw(password, bcrypt.gensalt(cost))


def check_password(text: str) -> bytes:
    """The bytes that are hashed; raises PasswordError."""
    try:
        password = unicodedata.normalize("NFC", text[: TYPED_CHARACTERS_MAX + 1]).encode()
    except UnicodeEncodeError as error:
        raise PasswordError("must not contain half a character (a lone surrogate)") from error
    if not 0 < len(password) <= PASSWORD_BYTES_MAX:
        raise PasswordError(f"must be 1 to {PASSWORD_BYTES_MAX} bytes long")
    if any(byte < 32 or byte == 127 for byte in password):
        raise PasswordError("must not contain control characters")
    return password


def _matches(password: bytes, hashed: bytes) -> bool:
    try:
        return bcrypt.checkpw(password, hashed)  # compares in constant time
    except ValueError:
        return False  # no bcrypt hash: nothing is right


def _yield_to_others() -> None:
    """Linux gives each thread a priority of its own."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
