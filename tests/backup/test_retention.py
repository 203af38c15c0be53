"""Which backups stay: the newest of each day, week and month, as many as the rule says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from app.backup import Keep, backup_name, moment_of, parse_keep, to_remove

END = datetime(2026, 11, 25, 3, tzinfo=UTC)


def names(count: int, every: timedelta) -> list[str]:
    """The newest first."""
    return [backup_name(END - every * number) for number in range(count)]


def test_a_count_keeps_the_newest() -> None:
    found = names(5, timedelta(hours=6))
    assert to_remove(found, parse_keep("2")) == [found[4], found[3], found[2]]
    assert to_remove(found, parse_keep("9")) == []


def test_days_weeks_and_months_keep_the_newest_of_each() -> None:
    found = names(400, timedelta(days=1))
    left = [name for name in found if name not in to_remove(found, parse_keep("3d 2w 3m"))]
    days = [moment.date().isoformat() for name in left if (moment := moment_of(name))]
    # Three days; this week's newest and last Sunday's; this month's newest, the end of October and of September.
    assert days == ["2026-11-25", "2026-11-24", "2026-11-23", "2026-11-22", "2026-10-31", "2026-09-30"]


def test_the_newest_is_kept_whatever_the_rule() -> None:
    assert to_remove(names(1, timedelta(days=1)), Keep(1)) == []


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60), st.integers(1, 40), st.integers(0, 10), st.integers(0, 10))
def test_what_is_made_every_day_and_pruned_every_day_reaches_back(
    count: int, days: int, weeks: int, months: int
) -> None:
    keep, kept = Keep(1, days, weeks, months), list[str]()
    for number in range(count):
        kept.append(backup_name(END + timedelta(days=number)))
        kept = [name for name in kept if name not in to_remove(kept, keep)]
    assert len(kept) <= days + weeks + months
    assert len(kept) >= min(days, count)
    assert kept[-1] == backup_name(END + timedelta(days=count - 1))


def test_foreign_files_are_left_alone() -> None:
    foreign = ["notes.txt", "boltlink-2026.backup", "boltlink-20269999T999999Z.backup", f".{backup_name(END)}.part"]
    assert to_remove([*foreign, *names(3, timedelta(days=1))], Keep(1)) == names(3, timedelta(days=1))[:0:-1]
    assert [moment_of(name) for name in foreign] == [None] * 4


def test_rules_are_read() -> None:
    assert parse_keep("14") == Keep(14)
    assert parse_keep("3w") == Keep(1, 0, 3, 0)
    assert parse_keep("7d 4w 12m") == Keep(1, 7, 4, 12)
