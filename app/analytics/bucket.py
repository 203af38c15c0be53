"""What a bucket is: the clicks of one link on one UTC day, as one aggregator of one node counted them.

In: counts of a batch (`Delta`). Out: documents of `clicks_node`, replaced as a whole.

    _id       "0123456789abcdef-20261124-1f2e3d4c-0"   link, day, node and aggregator: the link first, so ranges work
    link      Int64        day  20261124        rev  1, 2, 3, … one more at each replacement
    clicks    people's     bots, heads, previews, prefetches, misses   those that are no clicks
    minutes   binary: pairs of varints (minutes since the pair before, clicks), clicks by minute of the day
    dims      {dimension: {key: clicks}}, at most KEYS_MAX keys each; what does not fit counts as `other`

Pure. May import: the standard library, bson's types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

from bson.binary import Binary
from bson.int64 import Int64

__all__ = [
    "DIMENSIONS",
    "OTHER",
    "Bucket",
    "BucketKey",
    "Delta",
    "bucket_id",
    "pack_minutes",
    "unpack_minutes",
]

EPOCH = date(1970, 1, 1)
KEYS_MAX = 200
OTHER = "other"
DIMENSIONS = ("referrer", "country", "device", "os", "browser", "language", "bot", "variant")
TALLIES = ("clicks", "bots", "heads", "previews", "prefetches")

#: (link id, UTC day as days since 1970)
BucketKey = tuple[int, int]


class Delta:
    """Counts of one bucket in one batch. `dims` holds only dimensions that were seen."""

    __slots__ = ("bots", "clicks", "dims", "heads", "minutes", "prefetches", "previews")

    def __init__(self) -> None:
        self.clicks = 0
        self.bots = 0
        self.heads = 0
        self.previews = 0
        self.prefetches = 0
        self.minutes: dict[int, int] = {}
        self.dims: dict[str, dict[str, int]] = {}


class Bucket(Delta):
    """A stored bucket; `rev` 0 means that it was never stored."""

    __slots__ = ("rev",)

    def __init__(self) -> None:
        super().__init__()
        self.rev = 0

    def merged(self, delta: Delta) -> Bucket:
        """A new bucket with the counts of both, one `rev` further; this one stays as it is."""
        new = Bucket()
        new.rev = self.rev + 1
        for name in TALLIES:
            setattr(new, name, getattr(self, name) + getattr(delta, name))
        new.minutes = dict(self.minutes)
        for minute, count in delta.minutes.items():
            new.minutes[minute] = new.minutes.get(minute, 0) + count
        new.dims = {name: dict(keys) for name, keys in self.dims.items()}
        for name, keys in delta.dims.items():
            add_capped(new.dims.setdefault(name, {}), keys)
        return new

    def document(self, key: BucketKey, node: str) -> dict[str, Any]:
        """The document to store."""
        link, day = key
        return {
            "_id": bucket_id(link, day, node),
            "link": Int64(link),
            "day": day_number(day),
            "rev": self.rev,
            **{name: getattr(self, name) for name in TALLIES},
            "minutes": Binary(pack_minutes(self.minutes)),
            "dims": self.dims,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Bucket:
        """The bucket of a stored document."""
        bucket = cls()
        bucket.rev = document["rev"]
        for name in TALLIES:
            setattr(bucket, name, document[name])
        bucket.minutes = dict(unpack_minutes(document["minutes"]))
        bucket.dims = {name: dict(keys) for name, keys in document["dims"].items()}
        return bucket


def add_capped(into: dict[str, int], keys: Mapping[str, int]) -> None:
    """Adds counts; a new key beyond KEYS_MAX counts as `other`, so the total is never lost."""
    for key, count in keys.items():
        if key not in into and len(into) >= KEYS_MAX - 1 and key != OTHER:
            key = OTHER  # noqa: PLW2901
        into[key] = into.get(key, 0) + count


def day_number(day: int) -> int:
    """Days since 1970 as a readable number: 20261124."""
    moment = EPOCH + timedelta(days=day)
    return moment.year * 10_000 + moment.month * 100 + moment.day


def bucket_id(link: int, day: int, node: str) -> str:
    """The `_id` of a bucket; `day` in days since 1970, `node` "" for the lower end of a day's range."""
    return f"{link:016x}-{day_number(day)}-{node}"


def pack_minutes(minutes: Mapping[int, int]) -> bytes:
    """Clicks by minute (0 to 1439) as pairs of LEB128 varints, in order."""
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
