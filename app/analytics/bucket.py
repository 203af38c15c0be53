"""What a bucket is: the clicks of one link on one UTC day, and how two buckets become one.

In: counts of a batch (`Delta`), or another bucket. Out: documents of `clicks_node`, replaced as a whole.

    _id       "0123456789abcdef-20261124-1f2e3d4c-0"   link, day, node and aggregator: the link first, so ranges work
    link      Int64        day  20261124        rev  one more at each replacement
    clicks    people's; and what is no click: bots, heads, previews, prefetches, excluded (own addresses), misses (asked
              for and not redirected: expired, disabled); a count of nothing is left out
    minutes   binary: clicks by minute of the day, as varints, the last minute first (`pack_minutes`)
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
from bson.int64 import Int64

from app.analytics.visitors import add_visitors, unite_visitors

__all__ = [
    "DIMENSIONS",
    "EPOCH",
    "KEYS_MAX",
    "KEY_BYTES",
    "NO_LINK_ID",
    "OTHER",
    "OVERHEAD_BYTES",
    "PROFILE",
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
OVERHEAD_BYTES = 400  # of a bucket in memory, whatever it counts
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
PROFILE = ("referrer", "device", "os", "browser", "language")
TALLIES = ("clicks", "bots", "heads", "previews", "prefetches", "excluded", "misses")

#: (link id, UTC day as days since 1970)
BucketKey = tuple[int, int]

_Dims = dict[str, dict[str, int]]
_pack_dims = msgspec.msgpack.Encoder().encode
_unpack_dims = msgspec.msgpack.Decoder(_Dims).decode


class Delta:
    """Counts of one bucket in one batch.

    Attributes:
        minutes: clicks by minute of the day.
        profiles: clicks by what belongs together, the keys of PROFILE; one count for each click instead of five.
        dims: clicks by dimension and key; only what was seen, and not what `profiles` counts.
        visitors: ids of 8 bytes, one behind the other, repeated or not.
    """

    __slots__ = ("dims", "minutes", "profiles", "visitors", *TALLIES)

    def __init__(self) -> None:
        self.clicks = 0
        self.bots = 0
        self.heads = 0
        self.previews = 0
        self.prefetches = 0
        self.excluded = 0
        self.misses = 0
        self.minutes: dict[int, int] = {}
        self.profiles: dict[tuple[str, ...], int] = {}
        self.dims: _Dims = {}
        self.visitors = bytearray()


class Bucket:
    """A bucket as it is stored, its larger parts packed until somebody looks into them.

    Attributes:
        rev: of the stored document; 0: it was never stored.
        visitors: a packed sketch, b"" for nobody.
    """

    __slots__ = ("_dims", "_minutes", "rev", "visitors", *TALLIES)

    def __init__(self) -> None:
        self.rev = 0
        self.clicks = 0
        self.bots = 0
        self.heads = 0
        self.previews = 0
        self.prefetches = 0
        self.excluded = 0
        self.misses = 0
        self._minutes = b""
        self._dims = b""
        self.visitors = b""

    @property
    def minutes(self) -> dict[int, int]:
        """Clicks by minute of the day, or by whatever unit and period a caller of `unite` chose."""
        return dict(unpack_minutes(self._minutes))

    @minutes.setter
    def minutes(self, minutes: Mapping[int, int]) -> None:
        self._minutes = pack_minutes(minutes)

    @property
    def dims(self) -> dict[str, dict[str, int]]:
        """Clicks by dimension and key."""
        return _unpack_dims(self._dims) if self._dims else {}

    @dims.setter
    def dims(self, dims: dict[str, dict[str, int]]) -> None:
        self._dims = _pack_dims(dims) if dims else b""

    @property
    def size_bytes(self) -> int:
        """About what it takes in memory and as a document."""
        return OVERHEAD_BYTES + len(self._minutes) + len(self._dims) + len(self.visitors)

    def add(self, delta: Delta) -> None:
        """Counts a batch's part in."""
        self._add_tallies(delta)
        if delta.minutes:
            self._minutes = add_minutes(self._minutes, delta.minutes)
        if delta.dims or delta.profiles:
            dims = self.dims
            for name, keys in delta.dims.items():
                add_capped(dims.setdefault(name, {}), keys, KEY_BYTES.get(name, KEY_BYTES_OTHERWISE))
            if delta.profiles:
                add_profiles(dims, delta.profiles)
            self._dims = _pack_dims(dims)
        if delta.visitors:
            self.visitors = add_visitors(self.visitors, memoryview(delta.visitors).cast("q"))

    def unite(self, other: Bucket, *, minute_offset: int = 0, minute_step: int = 1) -> None:
        """Counts another bucket in: of another node, or of a day into its month.

        Tallies and totals of dimensions are exact sums, in any order; visitors are united.

        Args:
            minute_offset: added to each of the other's minutes: 1440 * 4 for the fifth of the month.
            minute_step: how many minutes make one unit of this bucket; 15 gives months that are right in any time zone.
        """
        self._merge(other, minute_offset, minute_step)
        if other.visitors:
            self.visitors = unite_visitors((self.visitors, other.visitors))

    def fields(self) -> dict[str, Any]:
        """What it counts, as the fields of a document; what is empty is left out."""
        fields: dict[str, Any] = {name: count for name in TALLIES if (count := getattr(self, name))}
        if self._minutes:
            fields["minutes"] = self._minutes
        if self.visitors:
            fields["visitors"] = self.visitors
        if self._dims:
            fields["dims"] = self._dims
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
            whole._merge(part, 0, 1)
        whole.visitors = unite_visitors([part.visitors for part in parts])
        return whole

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Bucket:
        """The bucket of a stored document; what a projection left out counts as nothing."""
        bucket = cls()
        get = document.get
        bucket.rev = get("rev", 0)
        for name in TALLIES:
            if count := get(name):
                setattr(bucket, name, count)
        bucket._minutes = get("minutes", b"")
        bucket.visitors = get("visitors", b"")
        bucket._dims = get("dims", b"")
        return bucket

    def _merge(self, other: Bucket, minute_offset: int, minute_step: int) -> None:
        """Counts another bucket in, but for its visitors."""
        self._add_tallies(other)
        units: dict[int, int] = {}
        for minute, count in unpack_minutes(other._minutes):
            unit = (minute + minute_offset) // minute_step
            units[unit] = units.get(unit, 0) + count
        if units:
            self._minutes = add_minutes(self._minutes, units)
        if other._dims:
            dims = self.dims
            for name, keys in other.dims.items():
                add_capped(dims.setdefault(name, {}), keys, KEY_BYTES.get(name, KEY_BYTES_OTHERWISE))
            self.dims = dims

    def _add_tallies(self, part: Delta | Bucket) -> None:
        for name in TALLIES:
            if count := getattr(part, name):
                setattr(self, name, getattr(self, name) + count)


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


def add_profiles(dims: _Dims, profiles: Mapping[tuple[str, ...], int]) -> None:
    """Adds clicks by the keys of PROFILE to each of its dimensions, as `add_capped` does."""
    for position, name in enumerate(PROFILE):
        into = dims.get(name)
        if into is None:
            into = dims[name] = {}
        key_bytes = KEY_BYTES[name]
        for keys, count in profiles.items():
            key = keys[position]
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
    """Clicks by minute (0 or more) as LEB128 varints, the last minute first: minute, clicks, then step back and clicks.

    So a click in the last minute or a later one changes the front alone.
    """
    out = bytearray()
    before = 0
    for minute in sorted(minutes, reverse=True):
        _pack_varint(out, before - minute if out else minute)
        _pack_varint(out, minutes[minute])
        before = minute
    return bytes(out)


def add_minutes(packed: bytes, minutes: Mapping[int, int]) -> bytes:
    """Packed minutes with more clicks; costs only what is new as long as time goes on, whatever the day held before."""
    if not packed:
        return pack_minutes(minutes)
    last, at = _unpack_varint(packed, 0)
    if min(minutes, default=0) < last:
        whole = dict(unpack_minutes(packed))
        for minute, count in minutes.items():
            whole[minute] = whole.get(minute, 0) + count
        return pack_minutes(whole)
    count, at = _unpack_varint(packed, at)
    return pack_minutes({**minutes, last: count + minutes.get(last, 0)}) + packed[at:]


def unpack_minutes(packed: bytes) -> Iterator[tuple[int, int]]:
    """The reverse of `pack_minutes`: minutes and clicks, the last minute first."""
    values = []
    value = shift = 0
    for byte in packed:
        value |= (byte & 0x7F) << shift
        if byte & 0x80:
            shift += 7
        else:
            values.append(value)
            value = shift = 0
    minute = 2 * values[0] if values else 0
    for step, count in zip(values[::2], values[1::2], strict=True):
        minute -= step
        yield minute, count


def _pack_varint(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _unpack_varint(packed: bytes, at: int) -> tuple[int, int]:
    """(value, where the next one begins)."""
    value = shift = 0
    while packed[at] & 0x80:
        value |= (packed[at] & 0x7F) << shift
        shift += 7
        at += 1
    return value | packed[at] << shift, at + 1
