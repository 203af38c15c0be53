"""Folds journal records into the counts of buckets: a pure function of records, settings, lists and salts.

In: records in order. Out: a batch: one `Delta` for each bucket. It reads no clock, so a batch may be cut anywhere and
folded again by another process: each record lands in the same bucket as the same thing.

    what a record says           counts as
    HEAD                         heads; nothing else
    an excluded address          excluded; nothing else
    a redirect                   a click of a person, or a bot, preview, prefetch
    a link that did not lead on  misses of the link
    no link                      the same as a click, of link 0, by slug: an orphan
    503                          nothing: nobody could know

Link, variant and outcome come from the record, never from the path; only an orphan's slug, which no link has, is read
there. A click needs its day's salt: folding stops at a record whose salt is missing and says which.

Costs for each record: 2-3 µs when its head is known, 4-6 µs when it is not, `python -m bench.clicks`.
May import: journal, agents, feed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2s
from typing import Any

from app.agents import (
    NOBODY,
    VISITOR_FIELDS,
    CountryFinder,
    FieldFinder,
    Kind,
    Memory,
    Network,
    Networks,
    Traits,
    TraitsReader,
    address_text,
    forwarded_client,
)
from app.analytics.bucket import KEY_BYTES, OTHER, BucketKey, Delta
from app.feed import Seen
from app.journal import NO_LINK, REDIRECT_GET, Outcome, RawRecord

__all__ = ["BUCKETS_MAX", "Batch", "Folding", "slug_in"]

BUCKETS_MAX = 6_000  # of one transaction; twice as many when their clicks share them
SHARED = 2  # clicks for each bucket, from which more of them in a batch cost less
MINUTE_MS = 60_000
DAY_MS = 86_400_000
PEERS_MAX = 1_024  # in each generation: whether they are proxies
REQUEST_LINE_BYTES_MAX = 256
_TALLY_OF = {Kind.BOT: "bots", Kind.PREVIEW: "previews", Kind.PREFETCH: "prefetches"}
_SLUG = re.compile(rb"[!-~]{1,%d}" % KEY_BYTES["slug"])
_UNAVAILABLE = int(Outcome.UNAVAILABLE)


class Batch:
    """Counts of some records.

    Attributes:
        records: how many were folded, clicks or not.
        buckets: how many deltas there are.
        missing_salt: the day of the record that stopped folding for want of its salt; None when something else did.
    """

    __slots__ = ("_days", "buckets", "missing_salt", "records")

    def __init__(self) -> None:
        self.records = 0
        self.buckets = 0
        self.missing_salt: int | None = None
        self._days: dict[int, dict[bytes, Delta]] = {}

    @property
    def deltas(self) -> dict[BucketKey, Delta]:
        """By (link, day)."""
        days = self._days.items()
        return {(int.from_bytes(link, "big"), day): delta for day, links in days for link, delta in links.items()}

    def of_day(self, day: int) -> dict[bytes, Delta]:
        """Deltas of a day by link id; whoever adds one counts it in `buckets`."""
        links = self._days.get(day)
        if links is None:
            links = self._days[day] = {}
        return links


class Folding:
    """How records are folded, with what was remembered of heads and addresses.

    Args:
        traits: reads heads.
        countries: finds countries.
        trusted: proxies whose headers say who the client is.
        excluded: addresses whose requests are no clicks.
        country_header: the header in which a trusted proxy names the country; "" for none.
    """

    def __init__(
        self,
        *,
        traits: TraitsReader,
        countries: CountryFinder,
        trusted: Sequence[Network] = (),
        excluded: Sequence[Network] = (),
        country_header: str = "",
    ) -> None:
        self._traits = traits
        self._countries = countries
        self._trusted = Networks(trusted)
        self._excluded = Networks(excluded)
        self._country_field = country_header.lower().encode()
        named = {b"x-forwarded-for", b"forwarded", self._country_field} - {b""}
        self._finder = FieldFinder(VISITOR_FIELDS | named)
        self._proxies: Memory[bytes, bool] = Memory(PEERS_MAX)

    def add(
        self,
        batch: Batch,
        records: Sequence[RawRecord],
        salts: Mapping[int, bytes],
        *,
        begin: int = 0,
        buckets_max: int = BUCKETS_MAX,
    ) -> int:
        """Folds records into a batch, in order, until it is full.

        Args:
            begin: index of the first record to fold.

        Returns:
            The index of the first record that was not folded: there were `buckets_max` buckets (twice as many, if they
            are shared) and it needs another, or the salt of its day is missing (`batch.missing_salt`).
        """
        batch.missing_salt = None
        day, first_ms, behind_ms = -1, 0, 0
        index = begin
        for index in range(begin, len(records)):
            _, time_ms, link, variant, flags, peer, head = records[index]
            if flags >> 1 & 3 == _UNAVAILABLE:
                continue
            if not first_ms <= time_ms < behind_ms:
                day = time_ms // DAY_MS
                if day not in salts:
                    batch.missing_salt = day
                    break
                first_ms, behind_ms = day * DAY_MS, (day + 1) * DAY_MS
                links = batch.of_day(day)
                ids = blake2s(key=salts[day], digest_size=8)
            delta = links.get(link)
            if delta is None:
                clicks = batch.records + index - begin
                if batch.buckets >= buckets_max * (2 if clicks >= SHARED * batch.buckets else 1):
                    break
                batch.buckets += 1
                delta = links[link] = Delta()
            if flags & 1:
                delta.heads += 1
            elif flags == REDIRECT_GET or link == NO_LINK:
                self._count(delta, head, peer, (time_ms - first_ms) // MINUTE_MS, variant, ids, link != NO_LINK)
            else:
                delta.misses += 1
        else:
            index = len(records)
        batch.records += index - begin
        return index

    def describe(self, record: RawRecord) -> Seen | None:
        """What may be told of a redirect to whoever watches; None of one from an excluded address."""
        found = self.describe_with_address(record)
        return None if found is None else found[0]

    def describe_with_address(self, record: RawRecord) -> tuple[Seen, bytes] | None:
        """As `describe`, with the client's address, which is nothing that anybody is told."""
        _, time_ms, link, variant, _, peer, head = record
        if peer == NOBODY or (self._trusted and self._is_proxy(peer)):
            traits, address, claimed = self._behind_proxy(head, peer)
        else:
            traits, address, claimed = self._traits.read(head), peer, b""
        if self._excluded and address in self._excluded:
            return None
        is_placed = self._countries.is_known or claimed
        seen = Seen(
            link=int.from_bytes(link, "big"),
            time_ms=time_ms,
            kind=traits.kind.value,
            variant=variant,
            country=self._countries.find(address_text(address), claimed) if is_placed else "",
            device=traits.device,
            browser=traits.browser,
            os=traits.os,
            referrer=traits.referrer,
        )
        return seen, address

    def _count(
        self, delta: Delta, head: bytes, peer: bytes, minute: int, variant: int, ids: Any, is_known: bool
    ) -> None:
        """Counts a GET: of a person who was redirected, or of anybody else."""
        if peer == NOBODY or (self._trusted and self._is_proxy(peer)):
            traits, address, claimed = self._behind_proxy(head, peer)
        else:
            traits, address, claimed = self._traits.read(head), peer, b""
        if self._excluded and address in self._excluded:
            delta.excluded += 1
            return
        if traits.kind is not Kind.PERSON:
            tally = _TALLY_OF[traits.kind]
            setattr(delta, tally, getattr(delta, tally) + 1)
            if traits.bot:
                _add(delta.dims, "bot", traits.bot)
            return
        delta.clicks += 1
        delta.minutes[minute] = delta.minutes.get(minute, 0) + 1
        if not is_known:
            _add(delta.dims, "slug", slug_in(head))
            _add(delta.dims, "referrer", traits.keys[0])
            return
        keys = traits.keys
        delta.profiles[keys] = delta.profiles.get(keys, 0) + 1
        visitor = ids.copy()
        visitor.update(address + traits.agent)
        delta.visitors += visitor.digest()
        if variant:
            _add(delta.dims, "variant", str(variant))
        if self._countries.is_known or claimed:
            _add(delta.dims, "country", self._countries.find(address_text(address), claimed))

    def _is_proxy(self, peer: bytes) -> bool:
        known = self._proxies.get(peer)
        if known is None:
            known = peer in self._trusted
            self._proxies.put(peer, known)
        return known

    def _behind_proxy(self, head: bytes, peer: bytes) -> tuple[Traits, bytes, bytes]:
        """(traits, client's address, country that the proxy names). Such heads name the client: each is another."""
        fields = self._finder.find(head)
        get = fields.get
        address = forwarded_client(peer, get(b"x-forwarded-for", b""), get(b"forwarded", b""), self._trusted)
        return self._traits.read_fields(fields), address, get(self._country_field, b"")


def slug_in(head: bytes) -> str:
    """The path of a request for no link, as far as it may be a slug: visible ASCII, not too long; else `other`."""
    path = head[:REQUEST_LINE_BYTES_MAX].split(b" ", 2)[1:2]
    slug = path[0].partition(b"?")[0].strip(b"/") if path else b""
    return slug.decode("ascii") if _SLUG.fullmatch(slug) else OTHER


def _add(dims: dict[str, dict[str, int]], dimension: str, key: str) -> None:
    keys = dims.get(dimension)
    if keys is None:
        keys = dims[dimension] = {}
    keys[key] = keys.get(key, 0) + 1
