"""The aggregator counts each click once, goes on after every failure, and stops for nobody's damage."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pymongo.errors import AutoReconnect, PyMongoError

from app.analytics import CLICKS_NODE, SET_ASIDE, BucketKey, Ledger
from app.journal import REDIRECT_GET, Journal, create_source, list_sources
from tests.conftest import Stores
from tests.workers.node import HEAD, SEGMENT_BYTES, Node, drain
from workers.applying import Aggregator


def test_a_paused_aggregator_that_was_replaced_counts_nothing_twice(with_node: Callable[..., None]) -> None:
    async def scenario(node: Node, stores: Stores) -> None:
        node.append(30)
        await drain(node.aggregator)
        paused = node.aggregator
        node.append(30)
        node.aggregator = node.new_aggregator()
        await drain(node.aggregator)
        node.append(30)
        await drain(paused)  # goes on where it believed to be
        assert paused.counts.lost_races == 1
        await paused.close()

    with_node(scenario)


def test_a_paused_aggregator_whose_buckets_left_its_memory_counts_nothing_twice(
    with_node: Callable[..., None],
) -> None:
    async def scenario(node: Node, stores: Stores) -> None:
        ledger = Ledger(stores.database, "00000001-0")
        paused = node.new_aggregator(ledger)
        node.append(30)
        await drain(paused)
        node.append(30)
        await drain(node.aggregator)
        ledger.forget(list(ledger._known))  # so only the checkpoint can say that it is late
        node.append(30)
        await drain(paused)
        await paused.close()

    with_node(scenario)


def test_a_batch_in_flight_when_its_aggregator_is_replaced_counts_once(with_node: Callable[..., None]) -> None:
    async def scenario(node: Node, stores: Stores) -> None:
        for _ in range(6):
            node.append(20)
            assert await node.aggregator.loop(flush=True)  # its transaction runs now
            before, node.aggregator = node.aggregator, node.new_aggregator()
            await asyncio.gather(drain(node.aggregator), before.close())

    with_node(scenario)


def test_two_aggregators_of_one_slot_at_once_count_once(with_node: Callable[..., None]) -> None:
    async def scenario(node: Node, stores: Stores) -> None:
        other = node.new_aggregator()
        for _ in range(15):
            node.append(20)
            await asyncio.gather(node.aggregator.loop(flush=True), other.loop(flush=True))
        await other.close()

    with_node(scenario)


def test_a_lost_reply_is_found_out_by_the_checkpoint(with_node: Callable[..., None]) -> None:
    async def scenario(node: Node, stores: Stores) -> None:
        for step, applied in (("committed", 20), ("commit", 0)):
            lost = [step]

            def trace(name: str, lost: list[str] = lost) -> None:
                if [name] == lost:
                    lost.clear()
                    raise AutoReconnect("the connection is gone")

            ledger = Ledger(stores.database, "00000001-0", trace=trace)
            aggregator = node.new_aggregator(ledger, buckets_max=2_000)
            node.append(20)
            assert await aggregator.loop(flush=True)
            assert await aggregator.loop(flush=True)  # hears that nobody knows
            assert (aggregator.counts.applied, aggregator.counts.lost_races) == (0, 1)
            await aggregator._open()
            assert aggregator.counts.applied == applied
            await drain(aggregator)
            assert aggregator.counts.applied == 20
            await aggregator.close()

    with_node(scenario)


def test_a_source_that_a_restored_disk_brings_back_is_not_counted_again(
    tmp_path: Path, with_node: Callable[..., None]
) -> None:
    async def scenario(node: Node, stores: Stores) -> None:
        node.append(50)
        (source,) = node.sources()
        node.kill_writer()
        shutil.copytree(source.folder, tmp_path / "kept")
        await node.settle()
        assert node.sources() == []
        shutil.copytree(tmp_path / "kept", source.folder)

    with_node(scenario)


def test_a_journal_that_never_reached_its_checkpoint_is_given_up(with_node: Callable[..., None]) -> None:
    async def scenario(node: Node, stores: Stores) -> None:
        node.append(10)
        await drain(node.aggregator)
        (source,) = node.sources()
        ahead = {"$inc": {"applied": 4096}}
        await stores.database["checkpoints"].update_one({"_id": source.name}, ahead)
        after = node.new_aggregator()  # as after the machine was set back to an older state
        await drain(after)
        assert (after.intake.given_up, source.is_given_up()) == (1, True)
        await after.close()
        node.kill_writer()

    with_node(scenario)


def test_a_checkpoint_that_a_clone_moved_makes_the_source_be_given_up(with_node: Callable[..., None]) -> None:
    async def scenario(node: Node, stores: Stores) -> None:
        node.append(10)
        await drain(node.aggregator)
        clone = node.new_aggregator()
        node.append(10)
        await drain(clone)
        node.append(10)
        await drain(node.aggregator)
        assert node.aggregator.intake.given_up == 1
        assert [source.is_given_up() for source in node.sources()] == [True]
        await clone.close()

    with_node(scenario)


def test_a_new_aggregator_of_the_same_node_gives_nothing_up(with_node: Callable[..., None]) -> None:
    async def scenario(node: Node, stores: Stores) -> None:
        for _ in range(3):
            node.append(10)
            await drain(node.aggregator)
            await node.aggregator.close()
            node.aggregator = node.new_aggregator()
        assert [source.is_given_up() for source in node.sources()] == [False]

    with_node(scenario)


async def refuse(stores: Stores, links: list[int], collection: str = CLICKS_NODE) -> None:
    """MongoDB takes no bucket of these links any more."""
    validator = {"link": {"$nin": links}}
    await stores.database.command({"collMod": collection, "validator": validator})


def test_a_bucket_that_mongodb_refuses_is_set_aside_and_stops_no_other(with_node: Callable[..., None]) -> None:
    async def scenario(node: Node, stores: Stores) -> None:
        refused: list[BucketKey] = []
        ledger = Ledger(stores.database, "00000001-0", on_refused=lambda key, reason: refused.append(key))
        node.aggregator = node.new_aggregator(ledger)
        node.append(60)
        await drain(node.aggregator)
        bad = next(iter(node.expected))[0]
        await refuse(stores, [bad])
        for _ in range(4):
            node.append(40)
            await drain(node.aggregator)
        assert {link for link, _ in refused} == {bad}
        assert len(refused) == len(set(refused))
        aside = stores.database[SET_ASIDE]
        clicks = [row.get("clicks", 0) async for row in aside.find({"link": bad})]
        assert sum(clicks) > 0
        assert await aside.count_documents({"link": {"$ne": bad}}) == 0
        counted = await node.counted()
        counted.update({(bad, 0): sum(clicks)})
        assert counted.total() == node.expected.total()
        for key, found in (await node.counted()).items():
            node.expected[key] = found if key[0] == bad else node.expected[key]
        for key in [key for key in node.expected if key[0] == bad and key not in counted]:
            del node.expected[key]

    with_node(scenario)


def test_when_everything_is_refused_nothing_is_set_aside_and_it_goes_on_later(with_node: Callable[..., None]) -> None:
    async def scenario(node: Node, stores: Stores) -> None:
        node.append(1)
        await drain(node.aggregator)
        await stores.database.command({"collMod": CLICKS_NODE, "validator": {"link": {"$lt": 0}}})
        node.append(200)
        node.aggregator = Aggregator(intake=node.aggregator.intake, ledger=Ledger(stores.database, "00000001-0"))
        with pytest.raises(PyMongoError):
            await drain(node.aggregator)
        assert await stores.database[SET_ASIDE].count_documents({}) == 0
        await stores.database.command({"collMod": CLICKS_NODE, "validator": {}})

    with_node(scenario)


def test_more_buckets_than_a_batch_holds_are_cut_and_nothing_is_lost(
    tmp_path: Path, with_node: Callable[..., None]
) -> None:
    async def scenario(node: Node, stores: Stores) -> None:
        source, lock = create_source(tmp_path / "journal", "web_0", bytes(8))
        journal = Journal(source, lock, segment_bytes=SEGMENT_BYTES)
        for link in range(100, 600):
            assert journal.append(HEAD, 1_700_000_000_000, link.to_bytes(8, "big"), 0, REDIRECT_GET, bytes(16))
            journal.prepare()
        aggregator = Aggregator(intake=node.aggregator.intake, ledger=Ledger(stores.database, "n"), buckets_max=200)
        await drain(aggregator)
        assert await stores.database[CLICKS_NODE].count_documents({"clicks": 1}) == 500
        assert aggregator.counts.batches == 3
        journal.close()

    with_node(scenario)


def test_a_batch_whose_buckets_are_too_large_together_is_made_of_fewer(
    monkeypatch: pytest.MonkeyPatch, with_node: Callable[..., None]
) -> None:
    monkeypatch.setattr("app.analytics.ledger.BATCH_BYTES_MAX", 1_500)  # three small buckets

    async def scenario(node: Node, stores: Stores) -> None:
        for _ in range(3):
            node.append(60)
            await drain(node.aggregator)

    with_node(scenario)


def test_a_damaged_source_stops_no_other_and_is_counted_once(tmp_path: Path, with_node: Callable[..., None]) -> None:
    async def scenario(node: Node, stores: Stores) -> None:
        node.append(20)
        node.kill_writer()
        (source,) = node.sources()
        path = source.segment_path(0)
        whole = path.read_bytes()
        path.write_bytes(whole[:16] + b"\xff" * 100 + whole[116:])  # in the first record
        lost = next(iter(node.expected))
        node.expected[lost] -= 1
        node.append(20)
        await node.settle()
        assert node.aggregator.intake.damaged == 1

    with_node(scenario)


def test_what_is_none_of_ours_is_left_beside(tmp_path: Path, with_node: Callable[..., None]) -> None:
    async def scenario(node: Node, stores: Stores) -> None:
        journal = tmp_path / "journal"
        node.append(5)
        node.kill_writer()
        (source,) = node.sources()
        (source.folder / "notes.txt").write_text("of somebody")
        (source.folder / "00000009.seg").mkdir()
        (journal / "web_9-0123456789abcdef").write_text("a file where a folder should be")
        (journal / "lost+found").mkdir()
        await node.settle()
        assert {path.name for path in journal.iterdir()} == {
            "web_9-0123456789abcdef",
            "lost+found",
            f".left-{source.name}-0",
        }

    with_node(scenario)


def test_the_lock_of_a_living_writer_is_not_disturbed_by_readers(tmp_path: Path) -> None:
    source, lock = create_source(tmp_path, "web_0", bytes(8))
    assert all(source.is_live() for _ in range(3))
    os.close(lock)
    assert not any(source.is_live() for _ in range(3))
    assert [found.name for found in list_sources(tmp_path)] == [source.name]
