"""What a bucket is: the clicks of one link on one UTC day, and how two buckets become one.

In: counts of a batch (`Delta`), or another bucket. Out: documents of `clicks_node`, replaced as a whole.

    _id       "0123456789abcdef-20261124-1f2e3d4c-0"   link, day, node and aggregator: the link first, so ranges work
    link      Int64        day  20261124        rev  one more at each replacement
    clicks    people's; and what is no click: bots, heads, previews, prefetches, excluded (own addresses), misses (asked
              for and not redirected: expired, disabled); a count of nothing is left out
    minutes   binary: pairs of varints (minutes since the pair before, clicks), clicks by minute of the day
    visitors  binary: a sketch of the people among them (`app.analytics.visitors`)
    dims      binary: msgpack {dimension: {key: clicks}}; smaller and faster than a document, and any key is legal

Link 0 is nobody's: requests for slugs that do not exist, with the dimension `slug`.

A dimension holds KEYS_MAX keys; when there are more, the most counted stay and the others count as `other`, so that no
total is lost and a flood of made-up keys pushes out no real one. A key is at most KEY_BYTES long, so a document stays
below 64 KB whatever a client sends: 200 keys in every dimension, clicks in each quarter of a month and a full sketch.

Pure. May import: the standard library, bson's types, msgspec.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import msgspec
from bson.binary import Binary
from bson.int64 import Int64

from app.analytics.visitors import add_visitors, unite_visitors

__all__ = [
    "DIMENSIONS",
    "KEYS_MAX",
    "KEY_BYTES",
    "NO_LINK_ID",
    "OTHER",
    "TALLIES",
    "Bucket",
    "BucketKey",
    "Delta",
    "bucket_id",
    "day_number",
    "pack_minutes",
    "signed",
    "unpack_minutes",
]

EPOCH = date(1970, 1, 1)
NO_LINK_ID = 0
KEYS_MAX = 200
OTHER = "other"
#: Dimensions, and how long a key of each may be.
KEY_BYTES = {
    "referrer": 48,  # folding keeps the end of a longer host
    "country": 2,
    "device": 8,
    "os": 24,
    "browser": 28,
    "language": 3,
    "bot": 28,
    "variant": 5,
    "slug": 64,  # of link 0 alone, whose buckets have no other dimension but the referrer
}
KEY_BYTES_OTHERWISE = 28  # of a dimension that a later release knows
DIMENSIONS = tuple(KEY_BYTES)
TALLIES = ("clicks", "bots", "heads", "previews", "prefetches", "excluded", "misses")

#: (link id, UTC day as days since 1970)
BucketKey = tuple[int, int]

_Dims = dict[str, dict[str, int]]
_pack_dims = msgspec.msgpack.Encoder().encode
_unpack_dims = msgspec.msgpack.Decoder(_Dims).decode


class Delta:
    """Counts of one bucket in one batch: `dims` of what was seen only, `visitors` as ids, repeated or not."""

    __slots__ = ("dims", "minutes", "visitors", *TALLIES)

    def __init__(self) -> None:
        self.clicks = 0
        self.bots = 0
        self.heads = 0
        self.previews = 0
        self.prefetches = 0
        self.excluded = 0
        self.misses = 0
        self.minutes: dict[int, int] = {}
        self.dims: _Dims = {}
        self.visitors: list[int] = []


class Bucket:
    """A bucket as it is stored.

    Attributes:
        rev: of the stored document; 0: it was never stored.
        minutes: clicks by minute of the day, or by whatever unit and period a caller of `unite` chose.
        dims: clicks by dimension and key.
        visitors: a packed sketch, b"" for nobody.
    """

    __slots__ = ("dims", "minutes", "rev", "visitors", *TALLIES)

    def __init__(self) -> None:
        self.rev = 0
        self.clicks = 0
        self.bots = 0
        self.heads = 0
        self.previews = 0
        self.prefetches = 0
        self.excluded = 0
        self.misses = 0
        self.minutes: dict[int, int] = {}
        self.dims: _Dims = {}
        self.visitors = b""

    def add(self, delta: Delta) -> None:
        """Counts a batch's part in."""
        self._add_counts(delta, 0, 1)
        if delta.visitors:
            self.visitors = add_visitors(self.visitors, delta.visitors)

    def unite(self, other: Bucket, *, minute_offset: int = 0, minute_step: int = 1) -> None:
        """Counts another bucket in: of another node, or of a day into its month.

        Tallies and totals of dimensions are exact sums, in any order; visitors are united.

        Args:
            minute_offset: added to each of the other's minutes: 1440 * 4 for the fifth of the month.
            minute_step: how many minutes make one unit of this bucket; 15 gives months that are right in any time zone.
        """
        self._add_counts(other, minute_offset, minute_step)
        if other.visitors:
            self.visitors = unite_visitors((self.visitors, other.visitors))

    def fields(self) -> dict[str, Any]:
        """What it counts, as the fields of a document; what is empty is left out."""
        fields: dict[str, Any] = {name: count for name in TALLIES if (count := getattr(self, name))}
        if self.minutes:
            fields["minutes"] = Binary(pack_minutes(self.minutes))
        if self.visitors:
            fields["visitors"] = Binary(self.visitors)
        if self.dims:
            fields["dims"] = Binary(_pack_dims(self.dims))
        return fields

    def document(self, key: BucketKey, node: str) -> dict[str, Any]:
        """The document to store."""
        link, day = key
        head = {"_id": bucket_id(link, day, node), "link": signed(link), "day": day_number(day), "rev": self.rev}
        return head | self.fields()

    @classmethod
    def united(cls, parts: Sequence[Bucket]) -> Bucket:
        """Several buckets of one period as one; their sketches are united in one go."""
        if len(parts) == 1:
            return parts[0]
        whole = cls()
        for part in parts:
            whole._add_counts(part, 0, 1)
        whole.visitors = unite_visitors([part.visitors for part in parts])
        return whole

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Bucket:
        """The bucket of a stored document; what a projection left out counts as nothing."""
        bucket = cls()
        bucket.rev = document.get("rev", 0)
        for name in TALLIES:
            setattr(bucket, name, document.get(name, 0))
        bucket.minutes = dict(unpack_minutes(document.get("minutes", b"")))
        bucket.visitors = document.get("visitors", b"")
        if dims := document.get("dims"):
            bucket.dims = _unpack_dims(dims)
        return bucket

    def _add_counts(self, part: Delta | Bucket, minute_offset: int, minute_step: int) -> None:
        for name in TALLIES:
            if count := getattr(part, name):
                setattr(self, name, getattr(self, name) + count)
        minutes = self.minutes
        for minute, count in part.minutes.items():
            unit = (minute + minute_offset) // minute_step
            minutes[unit] = minutes.get(unit, 0) + count
        for name, keys in part.dims.items():
            add_capped(self.dims.setdefault(name, {}), keys, KEY_BYTES.get(name, KEY_BYTES_OTHERWISE))


def add_capped(into: dict[str, int], keys: Mapping[str, int], key_bytes: int) -> None:
    """Adds counts; keys that are too long or too many count as `other`, so the total is never lost."""
    for key, count in keys.items():
        before = into.get(key)
        if before is not None:
            into[key] = before + count
        elif _fits(key, key_bytes):
            into[key] = count
        else:
            into[OTHER] = into.get(OTHER, 0) + count
    if len(into) > KEYS_MAX:
        _keep_most_counted(into)


def _fits(key: str, key_bytes: int) -> bool:
    return key == OTHER or (len(key) <= key_bytes and (key.isascii() or len(key.encode()) <= key_bytes))


def _keep_most_counted(keys: dict[str, int]) -> None:
    """Leaves KEYS_MAX keys, `other` among them; of equals the older stay."""
    rest = keys.pop(OTHER, 0)
    ordered = sorted(keys.items(), key=lambda item: -item[1])
    for key, count in ordered[KEYS_MAX - 1 :]:
        rest += count
        del keys[key]
    keys[OTHER] = rest


def day_number(day: int) -> int:
    """Days since 1970 as a readable number: 20261124."""
    moment = EPOCH + timedelta(days=day)
    return moment.year * 10_000 + moment.month * 100 + moment.day


def signed(link: int) -> Int64:
    """An id of 64 bits as MongoDB's whole numbers hold it."""
    return Int64(link - (1 << 64) if link >> 63 else link)


def bucket_id(link: int, day: int, node: str) -> str:
    """The `_id` of a bucket; `day` in days since 1970, `node` "" for the lower end of a day's range."""
    return f"{link:016x}-{day_number(day)}-{node}"


def pack_minutes(minutes: Mapping[int, int]) -> bytes:
    """Clicks by minute (0 or more) as pairs of LEB128 varints, in order."""
    out = bytearray()
    before = 0
    for minute in sorted(minutes):
        for value in (minute - before, minutes[minute]):
            rest = value
            while rest > 0x7F:
                out.append(rest & 0x7F | 0x80)
                rest >>= 7
            out.append(rest)
        before = minute
    return bytes(out)


def unpack_minutes(packed: bytes) -> Iterator[tuple[int, int]]:
    """The reverse of `pack_minutes`."""
    values = []
    value = shift = 0
    for byte in packed:
        value |= (byte & 0x7F) << shift
        if byte & 0x80:
            shift += 7
        else:
            values.append(value)
            value = shift = 0
    minute = 0
    for step, count in zip(values[::2], values[1::2], strict=True):
        minute += step
        yield minute, count
