"""L1: what is kept, what goes first, what a change and a gap leave."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from app.links import CachedLink
from app.redirect import Table
from app.redirect.table import ABSENT_LIMIT, ABSENT_S, ENTRY_BYTES_MEAN, STALE_PART, Special


def entry(number: int, size: int = 30) -> bytes:
    return number.to_bytes(8, "big") + bytes(4) + b"x" * size


def special(number: int) -> Special:
    return Special(number.to_bytes(8, "big"), 0, b"https://a/", CachedLink(number, "active", "https://a/"))


def key(number: int) -> bytes:
    return b"k%d" % number


def test_what_was_put_is_found_until_it_is_forgotten() -> None:
    table = Table(100)
    table.put(b"a", entry(1))
    table.put(b"s", special(2))
    assert table.hot == {b"a": entry(1)}
    assert (table.find(b"a"), table.find(b"s")) == (entry(1), special(2))
    table.forget(b"a")
    table.forget(b"s")
    assert (table.find(b"a"), table.find(b"s"), len(table), table.size_bytes) == (None, None, 0, 0)


def test_a_new_value_replaces_one_of_another_kind() -> None:
    table = Table(100)
    for value in (entry(1), special(2), entry(3)):
        table.put(b"a", value)
        assert table.find(b"a") == value
        assert len(table) == 1
    table.put_absent(b"a", 10.0)
    assert table.find(b"a") is None
    assert table.is_absent(b"a", 10.0)
    table.put(b"a", entry(4))
    assert not table.is_absent(b"a", 10.0)


def test_an_absence_ends_by_itself() -> None:
    table = Table(100)
    table.put_absent(b"a", 10.0)
    assert table.is_absent(b"a", 10.0 + ABSENT_S - 0.01)
    assert not table.is_absent(b"a", 10.0 + ABSENT_S)


def test_unknown_slugs_are_bounded_and_push_out_no_link() -> None:
    table = Table(100)
    table.put(b"good", entry(1))
    for number in range(ABSENT_LIMIT + 50):
        table.put_absent(key(number), 1.0)
    assert not table.is_absent(key(0), 1.0)
    assert table.is_absent(key(ABSENT_LIMIT), 1.0)
    assert table.hot == {b"good": entry(1)}


def test_links_are_bounded_by_number_and_by_bytes() -> None:
    limit = 1_000
    table = Table(limit)
    for number in range(5 * limit):
        table.put(key(number), entry(number))
        table.put(b"s" + key(number), special(number))
        assert len(table) <= 2 * limit
    large = Table(limit)
    for number in range(5 * limit):
        large.put(key(number), entry(number, 8_000))
        large.find(key(number))
        assert large.size_bytes <= limit * ENTRY_BYTES_MEAN


def test_as_many_links_as_it_holds_all_stay_however_they_are_asked_for() -> None:
    limit = 1_000
    table = Table(limit)
    names = [key(number) for number in range(limit)]
    for number, name in enumerate(names):
        table.put(name, entry(number))
    rng = random.Random(1)
    for _ in range(5):
        rng.shuffle(names)
        assert all(table.find(name) is not None for name in names)
    assert (table.evicted, len(table.hot)) == (0, limit)


def test_what_is_asked_for_stays_through_a_scan_of_cold_links() -> None:
    limit = 1_000
    table = Table(limit)
    popular = [key(number) for number in range(200)]
    for number in range(limit):
        table.put(key(number), entry(number))
    rng = random.Random(1)
    for number in range(20 * limit):
        table.put(b"cold" + key(number), entry(number))
        table.find(rng.choice(popular))
    assert sum(table.find(name) is not None for name in popular) == len(popular)
    assert table.evicted > 10 * limit


def test_a_gap_keeps_everything_as_stale_and_nothing_as_valid() -> None:
    table = Table(1_000)
    table.put(b"a", entry(1))
    table.put(b"s", special(2))
    table.put_absent(b"u", 1.0)
    table.expire_all()
    assert (table.find(b"a"), table.find(b"s"), table.is_absent(b"u", 1.0), len(table)) == (None, None, False, 0)
    assert (table.find_stale(b"a"), table.find_stale(b"s")) == (entry(1), special(2))
    assert set(table.stale_keys(10) + table.stale_keys(10)) == {b"a", b"s"}  # each part of what was known in turn
    assert table.stale_keys(10) == []
    table.forget(b"a")
    assert table.find_stale(b"a") is None


def test_stale_links_are_bounded_and_the_newest_stay() -> None:
    limit = 1_000
    table = Table(limit)
    for gap in range(6):
        for number in range(limit):
            table.put(b"%d-%d" % (gap, number), entry(number))
        table.expire_all()
        for number in range(limit):
            table.put(b"new%d" % number, entry(number))
        held = sum(map(len, table._stale))
        assert held <= limit
        assert sum(table.find_stale(b"%d-%d" % (gap, number)) is not None for number in range(limit)) == held == limit
        for number in range(limit):
            table.forget(b"new%d" % number)


def test_gaps_one_after_the_other_leave_few_parts() -> None:
    table = Table(100_000)
    for number in range(STALE_PART * 3):
        table.put(key(number), entry(number))
        if number % 100 == 0:
            table.expire_all()
    table.expire_all()
    assert len(table._stale) <= 7
    assert all(table.find_stale(key(number)) == entry(number) for number in range(STALE_PART * 3))
    due = [name for _ in range(40) for name in table.stale_keys(1_000)]
    assert sorted(due) == sorted(key(number) for number in range(STALE_PART * 3))


def test_a_lent_entry_is_valid_until_the_next_gap_and_stays_stale() -> None:
    table = Table(1_000)
    table.put(b"a", entry(1))
    table.expire_all()
    table.lend_stale(b"a", entry(1))
    assert table.hot == {b"a": entry(1)}
    table.expire_all()
    assert table.hot == {}
    assert table.find_stale(b"a") == entry(1)


@given(
    st.lists(
        st.tuples(st.sampled_from("pPfaxel"), st.integers(0, 30)),
        max_size=200,
    )
)
def test_the_table_never_finds_what_is_not_the_last_word(steps: list[tuple[str, int]]) -> None:
    """A model with plain dictionaries: eviction may forget, but never answers with an older value."""
    table = Table(100)
    latest: dict[bytes, object] = {}
    for count, (step, number) in enumerate(steps):
        name = key(number)
        if step in "pP":
            value = entry(count) if step == "p" else special(count)
            table.put(name, value)
            latest[name] = value
        elif step == "f":
            table.forget(name)
            latest.pop(name, None)
        elif step == "a":
            table.put_absent(name, 0.0)
            latest.pop(name, None)
        elif step == "e":
            table.expire_all()
            latest.clear()
        found = table.find(name)
        assert found is None or found == latest.get(name)
