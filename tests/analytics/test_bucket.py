"""Buckets keep every total, whatever is merged with what, and never grow beyond a bound."""

from __future__ import annotations

import random
from collections import Counter

from bson import decode, encode
from hypothesis import given, settings
from hypothesis import strategies as st

from app.analytics import Bucket, Delta
from app.analytics.bucket import (
    DIMENSIONS,
    KEY_BYTES,
    KEYS_MAX,
    OTHER,
    TALLIES,
    add_minutes,
    pack_minutes,
    unpack_minutes,
)

DOCUMENT_BYTES_MAX = 64 * 1024
COUNT_MAX = 2**32 - 1

keys = st.dictionaries(st.text(max_size=70), st.integers(1, 5), max_size=6)


def delta_of(dims: dict[str, dict[str, int]], minutes: dict[int, int] | None = None, visitors: int = 0) -> Delta:
    delta = Delta()
    delta.dims = dims
    delta.minutes = minutes or {}
    delta.clicks = sum(delta.minutes.values())
    delta.visitors = bytearray(b"".join(number.to_bytes(8, "little") for number in range(visitors)))
    return delta


@st.composite
def buckets(draw: st.DrawFn) -> Bucket:
    bucket = Bucket()
    for name in TALLIES:
        setattr(bucket, name, draw(st.integers(0, 3)))
    bucket.minutes = draw(st.dictionaries(st.integers(0, 1439), st.integers(1, 9), max_size=5))
    delta = delta_of({name: draw(keys) for name in draw(st.sets(st.sampled_from(DIMENSIONS), max_size=3))})
    delta.visitors = bytearray().join(
        draw(st.lists(st.sampled_from([bytes(8), b"visitor1", b"visitor2"]), max_size=10))
    )
    bucket.add(delta)
    return bucket


def totals(bucket: Bucket) -> dict[str, object]:
    return {
        "tallies": [getattr(bucket, name) for name in TALLIES],
        "minutes": bucket.minutes,
        "dims": {name: sum(found.values()) for name, found in bucket.dims.items() if found},
    }


def copy(bucket: Bucket) -> Bucket:
    return Bucket.from_document(decode(encode(bucket.document((7, 20_000), "n-0"))))


@settings(deadline=None)
@given(buckets())
def test_a_bucket_is_read_back_as_it_was_stored(bucket: Bucket) -> None:
    bucket.rev = 3
    document = decode(encode(bucket.document((7, 19_676), "n-0")))
    assert document["_id"] == "0000000000000007-20231115-n-0"
    assert (document["link"], document["day"], document["rev"]) == (7, 20231115, 3)
    assert all(document[name] for name in TALLIES if name in document)
    back = Bucket.from_document(document)
    names = (*TALLIES, "rev", "minutes", "dims", "visitors")
    assert all(getattr(back, name) == getattr(bucket, name) for name in names)


@settings(deadline=None)
@given(buckets(), buckets(), buckets())
def test_buckets_are_united_in_any_order_with_the_same_totals(one: Bucket, two: Bucket, three: Bucket) -> None:
    left = copy(one)
    left.unite(two)
    left.unite(three)
    right = copy(three)
    right.unite(one)
    right.unite(two)
    assert totals(left) == totals(right)
    expected = [sum(getattr(bucket, name) for bucket in (one, two, three)) for name in TALLIES]
    assert totals(left)["tallies"] == expected


def test_a_days_minutes_become_quarters_of_its_month() -> None:
    day, month = Bucket(), Bucket()
    day.add(delta_of({}, {0: 1, 14: 2, 15: 4, 1439: 8}))
    month.unite(day, minute_offset=4 * 1440, minute_step=15)
    month.unite(day, minute_offset=30 * 1440, minute_step=15)
    assert month.minutes == {384: 3, 385: 4, 479: 8, 2880: 3, 2881: 4, 2975: 8}
    assert month.clicks == 30


@given(st.lists(st.dictionaries(st.text(max_size=3), st.integers(1, 5)), max_size=8))
def test_a_capped_dimension_keeps_its_total(parts: list[dict[str, int]]) -> None:
    bucket = Bucket()
    flood = {f"k{number}": 1 for number in range(KEYS_MAX + 50)}
    for part in [*parts, flood]:
        bucket.add(delta_of({"referrer": part}))
    found = bucket.dims["referrer"]
    assert len(found) == KEYS_MAX
    assert OTHER in found
    assert sum(found.values()) == sum(sum(part.values()) for part in [*parts, flood])


def test_a_flood_of_keys_pushes_out_none_that_counts_more() -> None:
    bucket = Bucket()
    real = {f"site-{number}.example": number + 2 for number in range(150)}
    bucket.add(delta_of({"referrer": dict(real)}))
    for batch in range(20):
        flood = {f"{batch}-{number}.invalid": 1 for number in range(2_000)}
        bucket.add(delta_of({"referrer": flood}))
    assert {key: bucket.dims["referrer"].get(key) for key in real} == real


def test_a_real_key_that_comes_after_the_flood_is_shown() -> None:
    bucket = Bucket()
    bucket.add(delta_of({"referrer": {f"{number}.invalid": 1 for number in range(2_000)}}))
    bucket.add(delta_of({"referrer": {"late.example": 5}}))
    assert bucket.dims["referrer"]["late.example"] == 5


def test_keys_that_are_too_long_count_as_other() -> None:
    bucket = Bucket()
    bucket.add(delta_of({"language": {"abc": 1, "abcd": 2, "äö": 4, "äa": 8}, "country": {"DE": 1, "": 2}}))
    assert bucket.dims == {"language": {"abc": 1, OTHER: 6, "äa": 8}, "country": {"DE": 1, "": 2}}


def test_a_document_is_below_64_kb_whatever_was_counted() -> None:
    rng = random.Random(1)

    def long_keys(name: str) -> dict[str, int]:
        size = KEY_BYTES[name]
        return {f"{rng.getrandbits(size * 4):0{size}x}"[:size]: COUNT_MAX for _ in range(2 * KEYS_MAX)}

    day = Bucket()
    day.rev = COUNT_MAX
    minutes = dict.fromkeys(range(1_440), COUNT_MAX)
    day.add(delta_of({name: long_keys(name) for name in DIMENSIONS if name != "slug"}, minutes, visitors=100_000))
    for name in TALLIES:
        setattr(day, name, 2**50)
    size = len(encode(day.document((2**63 - 1, 20_000), "0123456789abcdef-63")))
    assert 45_000 < size < DOCUMENT_BYTES_MAX
    orphans = Bucket()
    orphans.add(delta_of({name: long_keys(name) for name in ("slug", "referrer")}, minutes, visitors=100_000))
    assert len(encode(orphans.document((0, 20_000), "n-0"))) < size
    month = Bucket()
    for offset in range(31):
        month.unite(day, minute_offset=offset * 1_440, minute_step=15)
    month.minutes = dict.fromkeys(month.minutes, 2**28 - 1)  # 300,000 clicks a second, all month
    assert len(month.minutes) == 2_976
    assert len(encode(month.document((2**63 - 1, 20_000), ""))) < DOCUMENT_BYTES_MAX


minutes_of_a_day = st.dictionaries(st.integers(0, 300), st.integers(1, 10**9))


@given(minutes_of_a_day)
def test_packed_minutes_are_unpacked_alike(minutes: dict[int, int]) -> None:
    assert dict(unpack_minutes(pack_minutes(minutes))) == minutes


@given(st.lists(minutes_of_a_day, max_size=5))
def test_minutes_that_are_added_one_by_one_are_packed_as_if_at_once(parts: list[dict[int, int]]) -> None:
    packed, whole = b"", Counter[int]()
    for part in parts:
        packed = add_minutes(packed, part)
        whole.update(part)
    assert packed == pack_minutes(whole)
