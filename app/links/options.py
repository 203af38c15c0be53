"""What a domain may have of its own: where visitors go who find nothing, what crawlers may fetch, how slugs are made.

In: values of a body. Out: the options of one domain, as MongoDB keeps them below `options`: only what is not as ever.
Pure. May import: `slugs`.
"""

from __future__ import annotations

import math
import string
from typing import Literal

import msgspec

from app.links.slugs import ALPHABET, SLUG_LENGTH

__all__ = [
    "PLAIN_OPTIONS",
    "SLUG_BITS_MIN",
    "DomainOptions",
    "Robots",
    "is_alphabet",
    "slug_length_min",
]

_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
#: Of a made slug. With a million links, one try in 1,000 finds a link or is taken: 2^30 = 1.07e9.
SLUG_BITS_MIN = 30
LOWER_ALPHABET = "".join(letter for letter in ALPHABET if letter not in string.ascii_uppercase)

Robots = Literal["allow", "disallow"]


class DomainOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The options of one domain. Targets are visible ASCII; "" is none.

    Attributes:
        case_insensitive: slugs are stored and looked up in lower case.
    """

    not_found_target: str = ""
    root_target: str = ""
    robots: Robots = "allow"
    slug_length: int = SLUG_LENGTH
    slug_alphabet: str = ALPHABET
    case_insensitive: bool = False

    @property
    def alphabet(self) -> str:
        """What made slugs are made of: where case means nothing, the default characters without capitals."""
        return LOWER_ALPHABET if self.case_insensitive and self.slug_alphabet == ALPHABET else self.slug_alphabet

    def fold(self, slug: str) -> str:
        """A slug as it is stored; it holds no letters but those of ASCII."""
        return slug.lower() if self.case_insensitive else slug


PLAIN_OPTIONS = DomainOptions()


def is_alphabet(text: str) -> bool:
    """Whether slugs can be made of these characters, each of which stands there once."""
    return len(set(text)) == len(text) > 1 and _CHARACTERS.issuperset(text)


def slug_length_min(alphabet: str) -> int:
    """How long slugs of these characters must be, so that they have SLUG_BITS_MIN; two characters at least."""
    return math.ceil(SLUG_BITS_MIN / math.log2(len(alphabet)))
