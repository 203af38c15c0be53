"""The number that a wanted slug is made of, for random sources that say what is to be said."""

from __future__ import annotations

from app.links.slugs import ALPHABET

__all__ = ["number_of_slug"]


def number_of_slug(slug: str) -> int:
    """What `make_slug` draws when it makes `slug`."""
    return sum(ALPHABET.index(letter) * len(ALPHABET) ** place for place, letter in enumerate(slug))
