"""What browsers send behind the request line, each head different, and the sequences of links that are asked for.

In: a seed. Out: heads in the order of header fields that each browser uses over plain HTTP, or as a TLS proxy passes
them on; and slug numbers. The generator draws a head for each request and takes the numbers in turn, so nothing can be
remembered between two requests that real traffic would not repeat. Pure, but for `write_heads` and `write_numbers`.
"""

from __future__ import annotations

import random
import struct
from array import array
from itertools import accumulate
from pathlib import Path

__all__ = ["HEADS", "HOST", "browser_heads", "permutation", "write_heads", "write_numbers", "zipf"]

HOST = "sho.rt"
HEADS = 2_003  # prime, and 800 KB: more than a CPU's second cache holds
_SYSTEMS = (
    "X11; Linux x86_64",
    "Windows NT 10.0; Win64; x64",
    "Macintosh; Intel Mac OS X 10_15_7",
    "Linux; Android 10; K",
)
_LANGUAGES = (
    "en-US,en;q=0.9",
    "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7",
    "fr-FR,fr;q=0.9,en;q=0.8",
    "ja,en-US;q=0.9,en;q=0.8",
    "pl,en-US;q=0.7,en;q=0.3",
    "es-ES,es;q=0.9",
    "pt-BR,pt;q=0.9",
)
_REFERRERS = (
    "",
    "",
    "https://www.google.com/",
    "https://t.co/",
    "https://news.ycombinator.com/",
    "https://example.org/a/{}",
)
_ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
_ACCEPT_CHROME = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,"
    "application/signed-exchange;v=b3;q=0.7"
)
Lines = list[tuple[str, str]]


def _chrome(rng: random.Random, connection: Lines, referrer: Lines) -> Lines:
    build = f"{rng.randint(100, 140)}.0.{rng.randint(0, 6000)}.{rng.randint(0, 200)}"
    system = rng.choice(_SYSTEMS)
    agent = f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{build} Safari/537.36"
    return [
        *connection,
        ("Upgrade-Insecure-Requests", "1"),
        ("User-Agent", agent),
        ("Accept", _ACCEPT_CHROME),
        *referrer,
        ("Accept-Encoding", "gzip, deflate"),
        ("Accept-Language", rng.choice(_LANGUAGES)),
    ]


def _firefox(rng: random.Random, connection: Lines, referrer: Lines) -> Lines:
    version = f"{rng.randint(100, 140)}.{rng.randint(0, 9)}"
    return [
        ("User-Agent", f"Mozilla/5.0 ({rng.choice(_SYSTEMS)}; rv:{version}) Gecko/20100101 Firefox/{version}"),
        ("Accept", _ACCEPT),
        ("Accept-Language", rng.choice(_LANGUAGES)),
        ("Accept-Encoding", "gzip, deflate"),
        *referrer,
        *connection,
        ("Upgrade-Insecure-Requests", "1"),
    ]


def _safari(rng: random.Random, connection: Lines, referrer: Lines) -> Lines:
    system = f"iPhone; CPU iPhone OS {rng.randint(14, 18)}_{rng.randint(0, 7)} like Mac OS X"
    agent = f"AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{rng.randint(14, 18)}.{rng.randint(0, 6)}"
    return [
        ("Upgrade-Insecure-Requests", "1"),
        ("Accept", _ACCEPT),
        ("User-Agent", f"Mozilla/5.0 ({system}) {agent} Mobile/15E148 Safari/604.1"),
        *referrer,
        ("Accept-Language", rng.choice(_LANGUAGES)),
        ("Accept-Encoding", "gzip, deflate"),
        *connection,
    ]


def _by_proxy(rng: random.Random, lines: Lines) -> Lines:
    """As a proxy that speaks TLS passes it on: browsers say more over TLS, and the proxy adds who asked."""
    address = ".".join(str(rng.randint(1, 254)) for _ in range(4))
    version = rng.randint(100, 140)
    mine = [("X-Real-IP", address), ("X-Forwarded-For", address), ("X-Forwarded-Proto", "https")]
    hints = [
        ("sec-ch-ua", f'"Chromium";v="{version}", "Not(A:Brand";v="24", "Google Chrome";v="{version}"'),
        ("sec-ch-ua-mobile", "?0"),
        ("sec-ch-ua-platform", rng.choice(('"Linux"', '"Windows"', '"macOS"'))),
    ]
    fetch = [
        ("sec-fetch-site", rng.choice(("none", "cross-site"))),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-user", "?1"),
        ("sec-fetch-dest", "document"),
        ("priority", "u=0, i"),
    ]
    return mine + hints + [(name.lower(), value) for name, value in lines] + fetch


def browser_heads(count: int = HEADS, *, close: bool = False, by_proxy: bool = False, seed: int = 3) -> list[bytes]:
    """So many different heads of people's browsers, each with its empty line.

    Of ten, six are Chrome's, two Safari's, two Firefox's. `close` asks for the end of the connection.
    """
    rng = random.Random(seed)
    found: dict[bytes, None] = {}
    while len(found) < count:
        connection = [("Connection", "close" if close else "keep-alive")]
        referrer = rng.choice(_REFERRERS).format(rng.randint(1, 9999))
        make = rng.choices((_chrome, _safari, _firefox), (6, 2, 2))[0]
        lines = make(rng, [] if by_proxy else connection, [("Referer", referrer)] if referrer else [])
        if by_proxy:
            lines = _by_proxy(rng, lines)
        found["".join(f"{name}: {value}\r\n" for name, value in [("Host", HOST), *lines]).encode() + b"\r\n"] = None
    return list(found)


def write_heads(path: Path, heads: list[bytes]) -> None:
    """For the generator: each with its length (16 bits, little-endian) before it."""
    path.write_bytes(b"".join(struct.pack("<H", len(head)) + head for head in heads))


def permutation(links: int, *, seed: int = 5) -> array[int]:
    """Every link once, in random order: uniform, and it touches all."""
    numbers = array("I", range(links))
    random.Random(seed).shuffle(numbers)
    return numbers


def zipf(links: int, count: int, *, exponent: float = 1.1, seed: int = 7) -> array[int]:
    """`count` links, where the n-th most wanted is asked for 1 / n^exponent as often as the first."""
    weights = list(accumulate(1.0 / rank**exponent for rank in range(1, links + 1)))
    return array("I", random.Random(seed).choices(permutation(links), cum_weights=weights, k=count))


def write_numbers(path: Path, numbers: array[int]) -> None:
    """For the generator: 32 bits each, as this machine stores them."""
    with path.open("wb") as file:
        numbers.tofile(file)
