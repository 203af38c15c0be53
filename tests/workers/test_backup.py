"""Backups on a schedule: when one is due, what failure and an end leave, which stay."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.backup import BACKUPS, BackupFolder, FolderAwayError, Keep, backup_name, verify
from app.stores import RESTORE_ID, SCHEMA, Database
from tests.backup.data import fill
from tests.conftest import Stores
from workers.backup import RETRY_S, Backups

With = Callable[[Callable[[Stores], Awaitable[None]]], None]
START_S = datetime(2026, 11, 20, 3, tzinfo=UTC).timestamp()
DAY_S = 86_400.0


class Clock:
    """Wall and monotonic time, set by a test; each look at it takes a little."""

    def __init__(self) -> None:
        self.s = START_S

    def __call__(self) -> float:
        self.s += 0.001
        return self.s


def make(database: Database, folder: Path, clock: Clock, keep: Keep = Keep(3)) -> Backups:  # noqa: B008
    there = BackupFolder(folder, note_of(folder))
    return Backups(database=database, folder=there, every_s=DAY_S, keep=keep, wall=clock, monotonic=clock)


def note_of(folder: Path) -> Path:
    """What this node remembers of a folder, beside it."""
    return folder.parent / f"{folder.name}-note"


async def work(backups: Backups) -> None:
    """Until there is nothing to do now."""
    while await backups.loop():
        pass


def name_of(clock: Clock) -> str:
    return backup_name(datetime.fromtimestamp(clock.s, UTC))


def listing(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_one_is_made_at_once_then_when_it_is_due(with_stores: With, tmp_path: Path) -> None:
    async def scenario(stores: Stores) -> None:
        await fill(stores.database, 100)
        clock, folder = Clock(), tmp_path / "made" / "by it"
        backups = make(stores.database, folder, clock)
        await backups.open()
        first = name_of(clock)
        await work(backups)
        assert listing(folder) == [first]
        with (folder / first).open("rb") as file:
            assert sum(verify(file).documents) == 151
        assert (folder.stat().st_mode & 0o777, (folder / first).stat().st_mode & 0o777) == (0o700, 0o600)
        clock.s += DAY_S - 60
        await work(backups)
        assert listing(folder) == [first]
        assert backups.age_s is not None
        assert DAY_S - 61 < backups.age_s < DAY_S
        clock.s += 61
        second = name_of(clock)
        await work(backups)
        assert listing(folder) == [first, second]
        assert (backups.counts.made, backups.counts.has_failed) == (2, False)
        assert await stores.database[BACKUPS].count_documents({}) == 0

    with_stores(scenario)


def test_the_next_holder_goes_on_with_the_schedule_of_the_folder(with_stores: With, tmp_path: Path) -> None:
    async def scenario(stores: Stores) -> None:
        clock = Clock()
        await work(make(stores.database, tmp_path, clock))
        clock.s += 60
        other = make(stores.database, tmp_path, clock)
        await work(other)
        assert len(listing(tmp_path)) == 1
        assert other.age_s is not None
        assert 59 < other.age_s < 62

    with_stores(scenario)


def test_old_ones_go_and_what_is_not_ours_stays(with_stores: With, tmp_path: Path) -> None:
    async def scenario(stores: Stores) -> None:
        clock = Clock()
        backups = make(stores.database, tmp_path, clock)
        (tmp_path / "notes").touch()
        made = []
        for _ in range(5):
            made.append(name_of(clock))
            await work(backups)
            clock.s += DAY_S
        assert listing(tmp_path) == sorted([*made[2:], "notes"])

    with_stores(scenario)


def test_a_backup_of_the_future_neither_delays_nor_displaces_one(with_stores: With, tmp_path: Path) -> None:
    """A clock that was years ahead for a while."""

    async def scenario(stores: Stores) -> None:
        clock = Clock()
        ahead = "boltlink-20300101T030000Z.backup"
        (tmp_path / ahead).touch()
        backups = make(stores.database, tmp_path, clock, Keep(1))
        assert (backups.age_s, backups.counts.made) == (None, 0)
        made = []
        for _ in range(2):
            made.append(name_of(clock))
            await work(backups)
            assert backups.age_s is not None
            assert backups.age_s < 60
            clock.s += DAY_S
        assert backups.age_s is not None
        assert backups.age_s > DAY_S - 60
        assert listing(tmp_path) == [made[-1], ahead]

    with_stores(scenario)


def test_a_folder_without_a_backup_has_no_age_however_often_its_program_starts(tmp_path: Path) -> None:
    """Else a node that stands by would hide from the alert, which takes the least, how old another's backup is."""
    folder = BackupFolder(tmp_path, note_of(tmp_path))
    assert folder.newest(datetime.now(UTC)) is None
    assert not note_of(tmp_path).exists()


@pytest.mark.parametrize("leaves", ["nothing", "the folder that it was mounted on"])
def test_a_folder_whose_disk_is_away_is_not_made_anew(with_stores: With, tmp_path: Path, leaves: str) -> None:
    async def scenario(stores: Stores) -> None:
        clock, folder, disk = Clock(), tmp_path / "backups", tmp_path / "elsewhere"
        backups = make(stores.database, folder, clock)
        await work(backups)
        folder.rename(disk)
        if leaves != "nothing":
            folder.mkdir()
        before = listing(tmp_path)
        clock.s += DAY_S
        await work(backups)
        assert (backups.counts.made, backups.counts.has_failed) == (1, True)
        assert backups.age_s is not None
        assert backups.age_s >= DAY_S  # it grows older meanwhile
        await work(make(stores.database, folder, clock))  # nor by a program that is started now
        assert listing(tmp_path) == before
        assert leaves == "nothing" or listing(folder) == []
        with pytest.raises(FolderAwayError, match=f"rm {note_of(folder)}$"):
            BackupFolder(folder, note_of(folder)).prepare()
        if leaves != "nothing":
            folder.rmdir()
        disk.rename(folder)
        clock.s += RETRY_S
        await work(backups)
        assert (backups.counts.made, backups.counts.has_failed) == (2, False)

    with_stores(scenario)


def test_a_node_that_only_saw_backups_of_others_knows_the_folder_and_may_be_told_to_begin_anew(
    with_stores: With, tmp_path: Path
) -> None:
    async def scenario(stores: Stores) -> None:
        clock, folder = Clock(), tmp_path / "shared"
        folder.mkdir()
        (folder / name_of(clock)).touch()
        assert make(stores.database, folder, clock).age_s is not None
        (folder / name_of(clock)).unlink()
        late = make(stores.database, folder, clock)
        await work(late)
        assert late.counts.has_failed
        note_of(folder).unlink()
        clock.s += RETRY_S
        await work(late)
        assert len(listing(folder)) == 1
        assert note_of(folder).read_text() == f"{folder}\n"
        other = make(stores.database, tmp_path / "another", clock)
        other._folder = BackupFolder(tmp_path / "another", note_of(folder))  # another setting: it begins anew
        await work(other)
        assert not other.counts.has_failed

    with_stores(scenario)


def test_failure_leaves_nothing_and_is_tried_again(with_stores: With, tmp_path: Path) -> None:
    async def scenario(stores: Stores) -> None:
        clock = Clock()
        backups = make(stores.database, tmp_path, clock)
        await stores.database[SCHEMA].insert_one({"_id": RESTORE_ID, "file": "x"})
        await work(backups)
        assert backups.counts.has_failed
        assert listing(tmp_path) == []
        await stores.database[SCHEMA].delete_one({})
        await work(backups)
        assert listing(tmp_path) == []  # not at once
        clock.s += RETRY_S
        await work(backups)
        assert len(listing(tmp_path)) == 1
        assert not backups.counts.has_failed

    with_stores(scenario)


def test_the_old_one_stays_while_new_ones_fail(with_stores: With, tmp_path: Path) -> None:
    async def scenario(stores: Stores) -> None:
        clock = Clock()
        backups = make(stores.database, tmp_path, clock, Keep(1))
        await work(backups)
        before = listing(tmp_path)
        await stores.database[SCHEMA].insert_one({"_id": RESTORE_ID, "file": "x"})
        for _ in range(3):
            clock.s += DAY_S
            await work(backups)
        assert listing(tmp_path) == before
        assert backups.age_s is not None
        assert backups.age_s > 3 * DAY_S

    with_stores(scenario)


def test_an_end_in_the_middle_leaves_no_part(with_stores: With, tmp_path: Path) -> None:
    async def scenario(stores: Stores) -> None:
        await fill(stores.database, 3_000)
        clock = Clock()
        clock_of_steps = iter(range(1_000_000))
        backups = make(stores.database, tmp_path, clock)
        backups._monotonic = lambda: float(next(clock_of_steps))  # each look is a second: one batch a step
        assert await backups.loop()
        assert listing(tmp_path) == [f".{name_of(clock)}.part"]
        await backups.drain()
        assert listing(tmp_path) == []
        assert await stores.database[BACKUPS].count_documents({}) == 0

    with_stores(scenario)


def test_parts_of_killed_runs_are_removed(with_stores: With, tmp_path: Path) -> None:
    async def scenario(stores: Stores) -> None:
        (tmp_path / ".boltlink-20261101T030000Z.backup.part").write_bytes(b"half")
        await work(make(stores.database, tmp_path, Clock()))
        assert [name for name in listing(tmp_path) if name.startswith(".")] == []

    with_stores(scenario)
