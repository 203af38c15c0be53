"""Slugs: made at random, or chosen and judged. Pure but for the random source that is passed in.

May import: settings.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable
from functools import lru_cache

from app.settings import RESERVED_SEGMENTS

__all__ = ["ALPHABET", "SLUG_LENGTH", "Chance", "SlugError", "check_slug", "make_slug", "seeded"]

#: No 0 O 1 l I: what is read from paper or over the phone is typed right.
ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
SLUG_LENGTH = 7  # 57^7 = 1.95e12: with 100 million links one try in 20,000 collides
SLUG_CHARACTERS_MAX = 64
CHANCE_BYTES = 4_096  # of one read: 4 µs, of which a read of 8 takes 2 already
_CHOSEN = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class SlugError(ValueError):
    """A slug that cannot be had; the text says why."""


def make_slug(randbelow: Callable[[int], int], length: int = SLUG_LENGTH, alphabet: str = ALPHABET) -> str:
    """A new slug; `randbelow` is `secrets.randbelow` outside of tests."""
    most, pairs = _parts(alphabet, length)
    while True:
        number, slug = randbelow(most), ""  # one draw, taken apart by two characters: half the divisions
        for _ in range(length // 2):
            number, place = divmod(number, len(pairs))
            slug += pairs[place]
        if length % 2:
            slug += alphabet[number]
        if slug.lower() not in RESERVED_SEGMENTS:
            return slug


@lru_cache(16)
def _parts(alphabet: str, length: int) -> tuple[int, list[str]]:
    """How many slugs there are; two characters for each number below the alphabet's square, the lower digit first."""
    return len(alphabet) ** length, [low + high for high in alphabet for low in alphabet]


class Chance:
    """Random numbers as `secrets` has them, out of one read of the kernel's for many: a read takes longer than a link.

    Args:
        token_bytes: `secrets.token_bytes`. No byte is used twice.
    """

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes
        self._pool = b""
        self._at = 0

    def bits(self, count: int) -> int:
        """A number of so many bits."""
        size = (count + 7) // 8
        end = self._at + size
        if end > len(self._pool):
            self._pool, end = self._token_bytes(max(CHANCE_BYTES, size)), size
        self._at, number = end, int.from_bytes(self._pool[end - size : end], "big")
        return number >> (size * 8 - count)

    def below(self, most: int) -> int:
        """A number from 0 to below `most`, each as likely."""
        while True:
            number = self.bits(most.bit_length())
            if number < most:
                return number


def seeded(seed: bytes) -> Callable[[int], int]:
    """A stand-in for `secrets.randbelow` that says the same for the same seed, which nobody else knows."""
    counter = itertools.count()

    def randbelow(most: int) -> int:
        digest = hashlib.blake2b(seed + next(counter).to_bytes(8, "big"), digest_size=64).digest()
        return int.from_bytes(digest, "big") % most

    return randbelow


def check_slug(slug: str) -> str:
    """Returns a chosen slug as it will be stored.

    Raises:
        SlugError: wrong characters or length, or a reserved word.
    """
    if _CHOSEN.fullmatch(slug) is None:
        raise SlugError(f"must be 1 to {SLUG_CHARACTERS_MAX} letters, digits, '-' or '_'")
    if slug.lower() in RESERVED_SEGMENTS:
        raise SlugError(f"{slug!r} is reserved")
    return slug
