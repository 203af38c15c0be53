"""What journals are filled with: clicks of people, of one hostile client, of so many links, as endless sequences.

In: names. Out: heads, links, flags and peers as a web process would journal them. Links 1 to 100,000 are those that
`bench.clicks.tree` makes. May import: heads.
"""

from __future__ import annotations

import itertools
import random
import string
from collections.abc import Callable, Iterator

from app.journal import NO_LINK, REDIRECT_GET, Outcome, flags_of
from bench.heads import browser_heads, zipf

__all__ = ["LINKS", "MANY_LINKS", "TRAFFIC", "Made", "hostile_head"]

LINKS = 100_000
MANY_LINKS = 10_000_000
VISITORS = 500_000
PATTERN = 500_000  # of Zipf's numbers, before they come again
NOT_FOUND = flags_of(Outcome.NOT_FOUND, is_head=False)
_LETTERS = string.ascii_letters + string.digits + " /.;"
Made = tuple[bytes, bytes, int, bytes]  # head, link, flags, peer


def peer_of(number: int) -> bytes:
    """The address of a visitor, 10.x.x.x."""
    return bytes(10) + b"\xff\xff\x0a" + number.to_bytes(3, "big")


def people(heads: int, *, by_proxy: bool = False) -> Iterator[Made]:
    """Clicks by people, Zipf(1.1) over LINKS; behind a proxy each head names its client."""
    rng = random.Random(1)
    known = [b"GET /abcdefg HTTP/1.1\r\n" + head for head in browser_heads(heads, by_proxy=by_proxy)]
    for number in itertools.cycle(zipf(LINKS, PATTERN)):
        peer = peer_of(0 if by_proxy else rng.randrange(VISITORS))
        yield rng.choice(known), (number + 1).to_bytes(8, "big"), REDIRECT_GET, peer


def uniform() -> Iterator[Made]:
    """Clicks by people, each of MANY_LINKS as likely as another."""
    rng = random.Random(4)
    known = [b"GET /abcdefg HTTP/1.1\r\n" + head for head in browser_heads(1_000)]
    while True:
        link = rng.randint(1, MANY_LINKS).to_bytes(8, "big")
        yield rng.choice(known), link, REDIRECT_GET, peer_of(rng.randrange(VISITORS))


def unique() -> Iterator[Made]:
    """Each click is of another link and by another agent."""
    (head,) = browser_heads(1)
    before, _, after = (b"GET /abcdefg HTTP/1.1\r\n" + head).partition(b"AppleWebKit")
    for number in itertools.count(1):
        yield (
            b"%sBuild/%x %s" % (before, number * 2_654_435_761, after),
            number.to_bytes(8, "big"),
            REDIRECT_GET,
            (peer_of(number % VISITORS)),
        )


def hostile_head(rng: random.Random, padding: str = "") -> bytes:
    """A head in which everything is made up, the slug too."""

    def text(size: int) -> str:
        return "".join(rng.choices(_LETTERS, k=size))

    agent = f"Mozilla/5.0 ({text(40)}) AppleWebKit/537.36 {text(200)}"
    fields = f"User-Agent: {agent}\r\nReferer: https://{rng.getrandbits(64):x}.example/{text(60)}\r\n"
    language = f"Accept-Language: {text(2)}-{text(2)},{text(2)}\r\nX: {padding}\r\n\r\n"
    return f"GET /{rng.getrandbits(40):x} HTTP/1.1\r\nHost: sho.rt\r\n{fields}{language}".encode()


def hostile(head_bytes: int = 0) -> Iterator[Made]:
    """One client who makes everything up; half of its slugs are links."""
    rng = random.Random(2)
    padding = "x" * head_bytes
    while True:
        known = rng.random() < 0.5
        link = rng.randint(1, LINKS).to_bytes(8, "big") if known else NO_LINK
        yield hostile_head(rng, padding), link, REDIRECT_GET if known else NOT_FOUND, peer_of(7)


def mixed() -> Iterator[Made]:
    """Clicks by people, with a hostile one among ten."""
    bad = hostile()
    for number, made in enumerate(people(1_000)):
        yield next(bad) if number % 10 == 0 else made


TRAFFIC: dict[str, Callable[[], Iterator[Made]]] = {
    "1k": lambda: people(1_000),
    "100k": lambda: people(100_000),
    "proxied": lambda: people(100_000, by_proxy=True),
    "uniform": uniform,
    "unique": unique,
    "hostile": hostile,
    "hostile-8k": lambda: hostile(8_000),
    "mixed": mixed,
}
