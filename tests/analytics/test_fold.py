"""Folding is a pure function of records: who counts as what, and where."""

from __future__ import annotations

import ipaddress
import random
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.agents import NOBODY, CountryFinder, TraitsReader
from app.analytics import Batch, Bucket, Delta, Folding, estimate_visitors
from app.analytics.bucket import KEY_BYTES, OTHER
from app.feed import Seen
from app.journal import NO_LINK, REDIRECT_GET, REDIRECT_HEAD, Outcome, Record, flags_of
from tests.agents.mmdb import write_mmdb

TRAITS = TraitsReader()
FIREFOX = b"Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0"
NOON_MS = 1_700_049_600_000  # 2023-11-15T12:00:00Z
DAY = 19_676
DAY_MS = 86_400_000
LINK = (7).to_bytes(8, "big")
SALTS = {DAY: b"s" * 32, DAY + 1: b"t" * 32}
NOWHERE = CountryFinder(None, lambda line: None)
FOLDING = Folding(traits=TRAITS, countries=NOWHERE)
NOT_FOUND = flags_of(Outcome.NOT_FOUND, is_head=False)
GONE = flags_of(Outcome.GONE, is_head=False)


def packed(text: str) -> bytes:
    if ":" in text:
        return socket.inet_pton(socket.AF_INET6, text)
    return bytes(10) + b"\xff\xff" + socket.inet_aton(text)


PEER = packed("192.0.2.1")


def record(
    *fields: bytes,
    flags: int = REDIRECT_GET,
    link: bytes = LINK,
    time_ms: int = NOON_MS,
    variant: int = 0,
    peer: bytes = PEER,
    path: bytes = b"/abc",
) -> Record:
    head = b"\r\n".join([b"GET " + path + b" HTTP/1.1", b"Host: h", *fields, b"", b""])
    return Record(0, time_ms, link, variant, flags, peer, head)


def batch_of(records: Sequence[Record], folding: Folding = FOLDING) -> Batch:
    batch = Batch()
    assert folding.add(batch, records, SALTS) == len(records)
    return batch


def folded(*records: Record, folding: Folding = FOLDING, link: bytes = LINK) -> Delta:
    batch = batch_of(records, folding)
    assert list(batch.deltas) == [(int.from_bytes(link, "big"), DAY)]
    return next(iter(batch.deltas.values()))


def dims_of(delta: Delta) -> dict[str, dict[str, int]]:
    bucket = Bucket()
    bucket.add(delta)
    return bucket.dims


def test_a_person_counts_with_what_the_head_says() -> None:
    fields = (b"User-Agent: " + FIREFOX, b"Referer: https://News.Example:8443/x?y", b"Accept-Language: de-DE,de;q=0.9")
    delta = folded(record(*fields, variant=2))
    assert (delta.clicks, delta.minutes, len(delta.visitors)) == (1, {720: 1}, 8)
    assert dims_of(delta) == {
        "referrer": {"news.example": 1},
        "device": {"desktop": 1},
        "os": {"Linux": 1},
        "browser": {"Firefox": 1},
        "language": {"de": 1},
        "variant": {"2": 1},
    }


def test_bots_previews_prefetches_and_heads_are_no_clicks() -> None:
    delta = folded(
        record(b"User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
        record(b"User-Agent: Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"),
        record(b"User-Agent: " + FIREFOX, b"Sec-Purpose: prefetch;prerender"),
        record(b"User-Agent: " + FIREFOX, b"X-Moz: prefetch"),
        record(b"User-Agent: " + FIREFOX, b"X-Purpose: preview"),
        record(b"User-Agent: " + FIREFOX, flags=REDIRECT_HEAD),
    )
    assert (delta.clicks, delta.bots, delta.previews, delta.prefetches, delta.heads) == (0, 1, 1, 3, 1)
    assert (delta.minutes, delta.visitors) == ({}, bytearray())
    assert dims_of(delta) == {"bot": {"Googlebot": 1, "Slackbot": 1}}


def test_a_program_that_fetches_for_its_user_is_a_person() -> None:
    for agent in (b"curl/8.5.0", b"python-httpx/0.28.1", b"Wget/1.21", b"Go-http-client/1.1", b""):
        assert folded(record(b"User-Agent: " + agent)).clicks == 1


def test_fields_are_found_in_any_case_and_the_first_one_counts() -> None:
    delta = folded(
        record(b"uSER-aGENT:\t" + FIREFOX + b" ", b"REFERER:http://one.example", b"Referer: http://two.example")
    )
    assert dims_of(delta)["referrer"] == {"one.example": 1}
    assert dims_of(delta)["browser"] == {"Firefox": 1}


def test_a_field_in_the_path_is_none() -> None:
    delta = folded(record(b"User-Agent: " + FIREFOX, path=b"/abc?referer:http://evil.example"))
    assert dims_of(delta)["referrer"] == {"": 1}


def test_link_variant_and_outcome_come_from_the_record_not_from_the_path() -> None:
    delta = folded(record(path=b"/somewhere/else?variant=9", variant=3))
    assert (delta.clicks, dims_of(delta)["variant"]) == (1, {"3": 1})


def test_what_did_not_lead_on_is_a_miss_of_its_link_and_no_click() -> None:
    records = [record(flags=NOT_FOUND), record(flags=GONE), record(flags=GONE)]
    delta = folded(*records, record(flags=flags_of(Outcome.UNAVAILABLE, is_head=False)))
    assert (delta.clicks, delta.misses, delta.visitors) == (0, 3, bytearray())


def test_what_could_not_be_known_is_in_no_bucket() -> None:
    records = [record(flags=flags_of(Outcome.UNAVAILABLE, is_head=is_head), link=NO_LINK) for is_head in (True, False)]
    batch = batch_of(records)
    assert (batch.deltas, batch.records) == ({}, 2)


def test_requests_for_unknown_slugs_are_orphans_of_no_link() -> None:
    bot = b"User-Agent: Googlebot/2.1"
    delta = folded(
        record(flags=NOT_FOUND, link=NO_LINK, path=b"/gone?x=1"),
        record(b"Referer: https://old.example/page", flags=NOT_FOUND, link=NO_LINK, path=b"/gone"),
        record(flags=NOT_FOUND, link=NO_LINK, path=b"/" + b"a" * 65),
        record(flags=NOT_FOUND, link=NO_LINK, path=b"/\xff"),
        record(bot, flags=NOT_FOUND, link=NO_LINK, path=b"/scan"),
        record(flags=flags_of(Outcome.NOT_FOUND, is_head=True), link=NO_LINK, path=b"/head"),
        link=NO_LINK,
    )
    assert (delta.clicks, delta.bots, delta.heads, delta.misses) == (4, 1, 1, 0)
    dims = dims_of(delta)
    assert dims["slug"] == {"gone": 2, OTHER: 2}
    assert dims["referrer"] == {"": 3, "old.example": 1}
    assert set(dims) == {"slug", "referrer", "bot"}


def test_a_batch_is_cut_where_the_next_bucket_would_be_too_many() -> None:
    records = [record(link=link.to_bytes(8, "big")) for link in (1, 2, 1, 3, 1)]
    batch = Batch()
    assert FOLDING.add(batch, records, SALTS, buckets_max=2) == 3
    assert (batch.records, batch.buckets) == (3, 2)
    assert sum(delta.clicks for delta in batch.deltas.values()) == 3
    rest = Batch()
    assert FOLDING.add(rest, records, SALTS, begin=3, buckets_max=2) == 5
    assert {key: delta.clicks for key, delta in rest.deltas.items()} == {(3, DAY): 1, (1, DAY): 1}


def test_a_batch_whose_clicks_share_buckets_may_have_twice_as_many() -> None:
    records = [record(link=link.to_bytes(8, "big")) for link in (1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 5)]
    batch = Batch()
    assert FOLDING.add(batch, records, SALTS, buckets_max=2) == 10
    assert (batch.records, batch.buckets) == (10, 4)


def test_folding_stops_where_a_days_salt_is_missing_and_goes_on_with_it() -> None:
    records = [record(), record(time_ms=NOON_MS + DAY_MS), record(time_ms=NOON_MS + 2 * DAY_MS), record()]
    batch = Batch()
    assert FOLDING.add(batch, records, SALTS) == 2
    assert (batch.missing_salt, batch.records) == (DAY + 2, 2)
    assert FOLDING.add(batch, records, {**SALTS, DAY + 2: b"u" * 32}, begin=2) == 4
    assert (batch.missing_salt, batch.records) == (None, 4)
    assert {key: delta.clicks for key, delta in batch.deltas.items()} == {(7, DAY): 2, (7, DAY + 1): 1, (7, DAY + 2): 1}


@pytest.mark.parametrize(
    ("time_ms", "day", "minute"),
    [
        (NOON_MS - 12 * 3_600_000, DAY, 0),
        (NOON_MS - 12 * 3_600_000 - 1, DAY - 1, 1439),
        (NOON_MS + 12 * 3_600_000 - 1, DAY, 1439),
        (NOON_MS + 12 * 3_600_000, DAY + 1, 0),
        (NOON_MS + 59_999, DAY, 720),
        (0, 0, 0),
    ],
)
def test_a_click_belongs_to_the_minute_and_utc_day_of_its_record(time_ms: int, day: int, minute: int) -> None:
    batch = Batch()
    FOLDING.add(batch, [record(time_ms=time_ms)], {day: b"s" * 32})
    assert {key: delta.minutes for key, delta in batch.deltas.items()} == {(7, day): {minute: 1}}


def visitors(*records: Record, folding: Folding = FOLDING, salts: dict[int, bytes] = SALTS) -> int:
    bucket, batch = Bucket(), Batch()
    folding.add(batch, records, salts)
    for delta in batch.deltas.values():
        bucket.add(delta)
    return estimate_visitors(bucket.visitors)


def test_a_visitor_is_an_address_and_an_agent_on_one_day() -> None:
    chrome = b"User-Agent: Chrome/125.0.0.0"
    firefox = b"User-Agent: " + FIREFOX
    one, other = packed("192.0.2.1"), packed("2001:db8::1")
    assert visitors(record(firefox, peer=one), record(firefox, b"Referer: http://x.example", peer=one)) == 1
    assert visitors(record(firefox, peer=one), record(firefox, peer=other)) == 2
    assert visitors(record(firefox, peer=one), record(chrome, peer=one)) == 2
    assert visitors(record(firefox), record(firefox, time_ms=NOON_MS + DAY_MS)) == 2


def test_a_visitor_id_says_nothing_without_the_salt() -> None:
    def ids(salt: bytes) -> bytearray:
        batch = Batch()
        FOLDING.add(batch, [record()], {DAY: salt})
        return batch.deltas[7, DAY].visitors

    assert ids(b"a" * 32) == ids(b"a" * 32) != ids(b"b" * 32)


PROXIED = Folding(
    traits=TRAITS,
    countries=NOWHERE,
    trusted=(ipaddress.ip_network("10.0.0.0/8"),),
    excluded=(ipaddress.ip_network("198.51.100.0/24"),),
    country_header="CF-IPCountry",
)
PROXY = packed("10.0.0.1")


def test_behind_a_trusted_proxy_the_client_is_whom_it_names() -> None:
    one, two = b"X-Forwarded-For: 6.6.6.6, 203.0.113.1", b"x-forwarded-for: 203.0.113.2"
    assert visitors(record(one, peer=PROXY), record(two, peer=PROXY), folding=PROXIED) == 2
    assert visitors(record(one, peer=PROXY), record(peer=packed("203.0.113.1")), folding=PROXIED) == 1
    assert visitors(record(one, peer=PEER), record(two, peer=PEER), folding=PROXIED) == 1
    assert visitors(record(one, peer=NOBODY), record(two, peer=NOBODY)) == 2
    assert visitors(record(b"Forwarded: for=203.0.113.9", peer=PROXY), record(one, peer=PROXY), folding=PROXIED) == 2


def test_the_country_header_is_believed_from_trusted_proxies_only() -> None:
    said = record(b"CF-IPCountry: de", b"X-Forwarded-For: 203.0.113.1", peer=PROXY)
    assert dims_of(folded(said, folding=PROXIED))["country"] == {"DE": 1}
    assert "country" not in dims_of(folded(record(b"CF-IPCountry: de"), folding=PROXIED))
    assert "country" not in dims_of(folded(record(b"CF-IPCountry: de", peer=NOBODY)))


def test_countries_are_those_of_the_client(tmp_path: Path) -> None:
    write_mmdb(tmp_path / "c.mmdb", {"203.0.113.0/24": {"country": {"iso_code": "SE"}}})
    countries = CountryFinder(tmp_path / "c.mmdb", lambda line: None)
    folding = Folding(traits=TRAITS, countries=countries, trusted=(ipaddress.ip_network("10.0.0.0/8"),))
    records = [
        record(peer=packed("203.0.113.5")),
        record(b"X-Forwarded-For: 203.0.113.7", peer=PROXY),
        record(peer=PEER),
    ]
    assert dims_of(folded(*records, folding=folding))["country"] == {"SE": 2, "": 1}


def test_excluded_addresses_are_counted_apart_bots_among_them() -> None:
    own = packed("198.51.100.4")
    delta = folded(
        record(peer=own),
        record(b"User-Agent: Googlebot/2.1", peer=own),
        record(b"X-Forwarded-For: 198.51.100.9", peer=PROXY),
        record(b"X-Forwarded-For: 198.51.100.9", peer=PEER),
        folding=PROXIED,
    )
    assert (delta.excluded, delta.bots, delta.clicks) == (3, 0, 1)


def test_a_referrer_that_is_none_counts_as_none() -> None:
    for value in (b"", b"about:blank", b"javascript:x", b"https://", b"https://a b/", b"\xff", b"http://" + b"a" * 300):
        assert dims_of(folded(record(b"Referer: " + value)))["referrer"] == {"": 1}


def test_of_a_long_host_the_last_labels_count() -> None:
    long = b"https://" + b"sub." * 30 + b"example.co.uk/"
    (key,) = dims_of(folded(record(b"Referer: " + long)))["referrer"]
    assert key.endswith(".example.co.uk")
    assert len(key) <= KEY_BYTES["referrer"]


@settings(deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=80), st.binary(max_size=40), st.binary(max_size=80))
def test_any_head_can_be_read(agent: bytes, referrer: bytes, language: bytes, client: bytes) -> None:
    fields = (b"User-Agent: " + agent, b"Referer: " + referrer, b"Accept-Language: " + language)
    head = record(*fields, b"X-Forwarded-For: " + client, peer=PROXY)
    delta = folded(head, record(*fields), folding=PROXIED)
    assert delta.clicks + delta.bots + delta.previews + delta.prefetches + delta.excluded == 2
    for name, keys in dims_of(delta).items():
        assert all(key == OTHER or len(key.encode()) <= KEY_BYTES[name] for key in keys)
        assert all(key.isprintable() and key.isascii() for key in keys)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_counts_are_the_same_however_a_batch_is_cut(seed: int, cuts: int) -> None:
    rng = random.Random(seed)
    flags = [flags_of(outcome, is_head=is_head) for outcome in Outcome for is_head in (True, False)]
    agents = (b"User-Agent: " + FIREFOX, b"User-Agent: Googlebot/2.1", b"User-Agent: curl/8")
    records = [
        record(
            rng.choice(agents),
            flags=rng.choice(flags),
            link=rng.choice((NO_LINK, LINK, (9).to_bytes(8, "big"))),
            time_ms=NOON_MS + rng.randrange(DAY_MS),
            peer=rng.choice((PEER, packed("192.0.2.2"))),
        )
        for _ in range(60)
    ]
    whole, parts = _buckets(records, 2_000), _buckets(records, cuts)
    assert whole == parts


def _buckets(records: list[Record], buckets_max: int) -> dict[tuple[int, int], dict[str, object]]:
    buckets: dict[tuple[int, int], Bucket] = {}
    begin = 0
    while begin < len(records):
        batch = Batch()
        begin = FOLDING.add(batch, records, SALTS, begin=begin, buckets_max=buckets_max)
        for key, delta in batch.deltas.items():
            buckets.setdefault(key, Bucket()).add(delta)
    return {key: {**bucket.fields(), "dims": bucket.dims} for key, bucket in buckets.items()}


def test_what_is_told_of_a_visit_is_what_is_counted_and_nothing_personal(tmp_path: Path) -> None:
    write_mmdb(tmp_path / "c.mmdb", {"192.0.2.0/24": {"country": {"iso_code": "DE"}}})
    folding = Folding(traits=TRAITS, countries=CountryFinder(tmp_path / "c.mmdb", print))
    fields = (b"User-Agent: " + FIREFOX, b"Referer: https://news.example/page?user=me")
    told = folding.describe(record(*fields, variant=2))
    assert told == Seen(7, NOON_MS, "person", 2, "DE", "desktop", "Firefox", "Linux", "news.example")
    bot = folding.describe(record(b"User-Agent: Googlebot/2.1"))
    assert bot is not None
    assert bot.kind == "bot"
    near, far = (ipaddress.ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24"))
    proxied = (*fields, b"X-Forwarded-For: 198.51.100.1")
    behind = Folding(traits=TRAITS, countries=NOWHERE, trusted=[near], excluded=[far])
    assert behind.describe(record(*proxied)) is None
    assert behind.describe(record(*fields)) is not None
