"""What is told of folded records: only what somebody watches, never more than the limits, and how much was left out."""

from __future__ import annotations

from app.feed import ALL_LINKS, Glimpse, Seen, Tap
from app.feed.tap import ALL_MAX, LINK_MAX, WANTED_S, WATCHED_MAX, WISHES_MAX
from app.journal import NO_LINK, REDIRECT_GET, REDIRECT_HEAD, Outcome, RawRecord, flags_of

GONE = flags_of(Outcome.GONE, is_head=False)


def record(link: int, flags: int = REDIRECT_GET, peer: bytes = b"") -> RawRecord:
    return 0, 1_700_000_000_000, link.to_bytes(8, "big"), 0, flags, peer, b""


def describe(record: RawRecord) -> Seen | None:
    if record[5] == b"excluded":
        return None
    return Seen(int.from_bytes(record[2], "big"), record[1], "person", 0, "", "", "", "", "")


class Watch:
    """A tap with a clock that stands still, and what it has told."""

    def __init__(self, *wanted: int) -> None:
        self.now_s = 100.0
        self.tap = Tap(describe, monotonic=lambda: self.now_s)
        self.tap.want(wanted)

    def take(self, *records: RawRecord) -> Glimpse:
        glimpse = Glimpse()
        self.tap.take(records, len(records), glimpse)
        return glimpse


def links(glimpse: Glimpse) -> list[int]:
    return [seen.link for seen in glimpse.seen]


def test_nothing_is_told_to_nobody() -> None:
    watch = Watch()
    assert not watch.tap.is_wanted
    assert watch.take(record(1)) == Glimpse()


def test_only_watched_links_are_told_and_everything_to_who_watches_all() -> None:
    assert links(Watch(2).take(record(1), record(2), record(3))) == [2]
    assert links(Watch(ALL_LINKS).take(record(1), record(2))) == [1, 2]


def test_only_redirects_of_links_are_told_and_none_that_is_excluded() -> None:
    nobody = int.from_bytes(NO_LINK, "big")
    watch = Watch(1, ALL_LINKS)
    told = watch.take(record(1, REDIRECT_HEAD), record(1, GONE), record(nobody), record(1, peer=b"excluded"), record(1))
    assert (links(told), dict(told.left_out)) == ([1], {})


def test_only_what_was_folded_is_told() -> None:
    glimpse = Glimpse()
    Watch(1).tap.take([record(1), record(1), record(1)], 2, glimpse)
    assert links(glimpse) == [1, 1]


def test_much_of_a_link_is_sampled_and_the_rest_is_counted_until_the_next_second() -> None:
    watch = Watch(1, ALL_LINKS)
    told = watch.take(*[record(1)] * (LINK_MAX + 7), record(2))
    assert links(told) == [1] * LINK_MAX + [2]
    assert dict(told.left_out) == {1: 7, ALL_LINKS: 7}
    watch.now_s += 1
    assert links(watch.take(record(1))) == [1]


def test_a_link_that_is_watched_is_told_beside_the_flood_of_all_others() -> None:
    watch = Watch(1, ALL_LINKS)
    flood = watch.take(*(record(link) for link in range(2, ALL_MAX + 12)))
    assert (len(flood.seen), dict(flood.left_out)) == (ALL_MAX, {ALL_LINKS: 10})
    assert links(watch.take(record(1))) == [1]


def test_many_watched_links_have_a_limit_together() -> None:
    watch = Watch(*range(1, WATCHED_MAX // LINK_MAX + 2))
    told = watch.take(*(record(link) for link in range(1, WATCHED_MAX // LINK_MAX + 2) for _ in range(LINK_MAX)))
    assert (len(told.seen), dict(told.left_out)) == (WATCHED_MAX, {WATCHED_MAX // LINK_MAX + 1: LINK_MAX})


def test_a_wish_ends_unless_it_is_said_again() -> None:
    watch = Watch(1, 2)
    watch.now_s += WANTED_S - 1
    watch.tap.want([2])
    watch.now_s += 1
    assert links(watch.take(record(1), record(2))) == [2]
    watch.now_s += WANTED_S
    assert not watch.tap.is_wanted


def test_wishes_have_a_limit() -> None:
    watch = Watch(*range(1, WISHES_MAX + 1))
    watch.tap.want([WISHES_MAX + 1])
    assert links(watch.take(record(WISHES_MAX + 1), record(1))) == [1]
