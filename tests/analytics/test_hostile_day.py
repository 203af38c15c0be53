"""A hostile day: one client that makes everything up fills no document, loses nobody's total and costs few buckets."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import bson
import pytest

from app.agents import CountryFinder, TraitsReader
from app.analytics import Batch, Bucket, Folding
from app.analytics.bucket import KEY_BYTES, KEYS_MAX, OTHER, PROFILE
from app.journal import NO_LINK, REDIRECT_GET, Journal, Outcome, RawRecord, Reader, create_source, flags_of

DOCUMENT_BYTES_MAX = 64 * 1024
DAY = 19_676
DAY_MS = 86_400_000
SALTS = {DAY: b"s" * 32}
LINK = (7).to_bytes(8, "big")
NOT_FOUND = flags_of(Outcome.NOT_FOUND, is_head=False)
REQUESTS = 6_000
REAL = b"Referer: https://news.example/\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Firefox/125.0\r\n\r\n"
CRAWLERS = (b"Googlebot/2.1", b"Slackbot-LinkExpanding 1.0", b"bingbot/2.0", b"AhrefsBot/7.0")


def made_up(rng: random.Random) -> bytes:
    """Fields in which nothing comes twice, some of them of half a megabyte, some of arbitrary bytes."""

    def text(size: int) -> bytes:
        noise = rng.randbytes(size).translate(None, b"\r\n")
        return noise if rng.random() < 0.3 else noise.hex().encode()[:size]

    size = 500_000 if rng.random() < 0.01 else rng.choice((2, 8, 40, 300))
    host = b"%x.%s.example" % (rng.getrandbits(64), text(4).hex().encode() * rng.choice((1, 1, 30)))
    agents = (
        b"Mozilla/5.0 (%s) AppleWebKit/537.36 Made%x/1.0" % (text(30), rng.getrandbits(40)),
        b"%s %s" % (rng.choice(CRAWLERS), text(size)),
        b"App%x/1.0 CFNetwork/1.0 Darwin/20.0" % rng.getrandbits(32),
        text(size),
    )
    language = text(rng.choice((2, 3, size)))
    padding = text(size)
    return b"Referer: https://%s/%s\r\nUser-Agent: %s\r\nAccept-Language: %s\r\nX: %s\r\n\r\n" % (
        host,
        padding[:50],
        rng.choice(agents),
        language,
        padding,
    )


def hostile_records(folder: Path) -> Iterator[tuple[RawRecord, ...]]:
    """A day of it, journaled and read back; each tenth request is a real visitor's."""
    rng = random.Random(1)
    source, lock = create_source(folder, "web_0", os.urandom(8))
    journal = Journal(source, lock)
    for number in range(REQUESTS):
        is_known = rng.random() < 0.5
        slug = b"x" if is_known else b"%x" % rng.getrandbits(rng.choice((40, 600)))
        fields = REAL if number % 10 == 0 else made_up(rng)
        head = b"GET /%s HTTP/1.1\r\nHost: h\r\n%s" % (slug, fields)
        now_ms = DAY * DAY_MS + DAY_MS * number // REQUESTS
        link, flags = (LINK, REDIRECT_GET) if is_known else (NO_LINK, NOT_FOUND)
        assert journal.append(head, now_ms, link, rng.randrange(65_536), flags, bytes(10) + b"\xff\xff" + bytes(4))
        journal.prepare()
    reader = Reader(source, 0)
    while records := reader.read_raw():
        yield tuple(records)
    reader.close()
    journal.close()


@pytest.fixture(scope="module")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], Bucket]:
    """What a hostile day leaves, folded chunk by chunk as the aggregator does."""
    folding = Folding(traits=TraitsReader(), countries=CountryFinder(None, print), country_header="CF-IPCountry")
    found: dict[tuple[int, int], Bucket] = {}
    for records in hostile_records(tmp_path_factory.mktemp("hostile")):
        batch = Batch()
        assert folding.add(batch, records, SALTS) == len(records)
        for key, delta in batch.deltas.items():
            found.setdefault(key, Bucket()).add(delta)
    return found


def test_a_flood_touches_the_link_and_one_bucket_of_orphans(buckets: dict[tuple[int, int], Bucket]) -> None:
    assert set(buckets) == {(7, DAY), (0, DAY)}
    seen = [bucket.clicks + bucket.bots + bucket.previews for bucket in buckets.values()]
    assert sum(seen) == REQUESTS
    assert all(bucket.bots > 100 < bucket.previews for bucket in buckets.values())


def test_no_document_passes_its_bound(buckets: dict[tuple[int, int], Bucket]) -> None:
    for key, bucket in buckets.items():
        size = len(bson.encode(bucket.document(key, "0123abcd-0")))
        assert 5_000 < size < DOCUMENT_BYTES_MAX


def test_no_dimension_grows_and_none_loses_its_total(buckets: dict[tuple[int, int], Bucket]) -> None:
    for key, whole in ((7, PROFILE), (0, ("slug", "referrer"))):
        bucket = buckets[key, DAY]
        for name, keys in bucket.dims.items():
            assert len(keys) <= KEYS_MAX
            assert all(key == OTHER or len(key.encode()) <= KEY_BYTES[name] for key in keys)
            assert all(key.isascii() and key.isprintable() for key in keys)
        assert all(sum(bucket.dims[name].values()) == bucket.clicks for name in whole)
        assert len(bucket.dims["referrer"]) == KEYS_MAX
        assert sum(bucket.dims["bot"].values()) == bucket.bots + bucket.previews


def test_the_flood_does_not_push_the_real_ones_out(buckets: dict[tuple[int, int], Bucket]) -> None:
    real = sum(bucket.dims["referrer"]["news.example"] for bucket in buckets.values())
    assert real == REQUESTS // 10


def test_keys_keep_their_counts_when_others_are_made_up_around_them() -> None:
    bucket, expected = Bucket(), Counter[str]()
    folding = Folding(traits=TraitsReader(), countries=CountryFinder(None, print))
    now_ms = int(datetime.fromtimestamp(DAY * 86_400, UTC).timestamp() * 1000)
    for turn in range(20):
        names = [f"real{number}.example" for number in range(5)] + [
            f"made{turn}-{number}.example" for number in range(90)
        ]
        batch = Batch()
        records = [
            (
                0,
                now_ms,
                LINK,
                0,
                REDIRECT_GET,
                bytes(16),
                f"GET /x HTTP/1.1\r\nReferer: http://{name}/\r\n\r\n".encode(),
            )
            for name in names
        ]
        folding.add(batch, records, SALTS)
        expected.update(names)
        bucket.add(batch.deltas[7, DAY])
    keys = bucket.dims["referrer"]
    assert {name: keys[name] for name in expected if name.startswith("real")} == {
        f"real{n}.example": 20 for n in range(5)
    }
    assert sum(keys.values()) == expected.total()
