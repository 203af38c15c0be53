"""Folding is a pure function of records: who counts as what, and where."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from app.agents import TraitsReader
from app.analytics import Delta, fold
from app.journal import REDIRECT_GET, REDIRECT_HEAD, Outcome, Record, flags_of

TRAITS = TraitsReader()
FIREFOX = b"Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0"
NOON_MS = 1_700_049_600_000  # 2023-11-15T12:00:00Z
DAY = 19_676


def record(
    *fields: bytes, flags: int = REDIRECT_GET, link: int = 7, time_ms: int = NOON_MS, variant: int = 0
) -> Record:
    head = b"\r\n".join([b"GET /abc HTTP/1.1", b"Host: h", *fields, b"", b""])
    return Record(0, time_ms, link, variant, flags, bytes(16), head)


def folded(*records: Record) -> Delta:
    batch = fold(records, TRAITS)
    assert list(batch.deltas) == [(7, DAY)]
    return batch.deltas[7, DAY]


def test_a_person_counts_with_what_the_head_says() -> None:
    fields = (b"User-Agent: " + FIREFOX, b"Referer: https://News.Example:8443/x?y", b"Accept-Language: de-DE,de;q=0.9")
    delta = folded(record(*fields, variant=2))
    assert (delta.clicks, delta.minutes) == (1, {720: 1})
    assert delta.dims == {
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
        record(b"User-Agent: " + FIREFOX, flags=REDIRECT_HEAD),
    )
    assert (delta.clicks, delta.bots, delta.previews, delta.prefetches, delta.heads) == (0, 1, 1, 1, 1)
    assert delta.minutes == {}


def test_a_program_that_fetches_for_its_user_is_a_person() -> None:
    for agent in (b"curl/8.5.0", b"python-httpx/0.28.1", b"Wget/1.21", b"Go-http-client/1.1", b""):
        assert folded(record(b"User-Agent: " + agent)).clicks == 1


def test_what_was_no_redirect_is_in_no_bucket() -> None:
    records = [record(flags=flags_of(outcome, is_head=False)) for outcome in Outcome if outcome is not Outcome.REDIRECT]
    batch = fold([*records, record(link=0)], TRAITS)
    assert (batch.deltas, batch.records) == ({}, 4)


def test_a_batch_is_cut_where_the_next_bucket_would_be_too_many() -> None:
    records = [record(link=link) for link in (1, 2, 1, 3, 1)]
    batch = fold(records, TRAITS, buckets_max=2)
    assert (batch.following, sum(delta.clicks for delta in batch.deltas.values())) == (3, 3)


def test_a_referrer_that_is_none_counts_as_none() -> None:
    for value in (b"", b"about:blank", b"javascript:x", b"https://", b"https://a b/", b"\xff", b"http://" + b"a" * 300):
        assert folded(record(b"Referer: " + value)).dims["referrer"] == {"": 1}


@settings(deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=80))
def test_any_head_can_be_read(agent: bytes, referrer: bytes) -> None:
    delta = folded(record(b"User-Agent: " + agent, b"Referer: " + referrer))
    assert delta.clicks + delta.bots + delta.previews + delta.prefetches == 1
    for keys in delta.dims.values():
        assert all(len(key) <= 253 and key.isprintable() for key in keys)
