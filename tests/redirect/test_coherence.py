"""Whatever happens in whatever order: nobody is told less than was heard, and in the end everyone is told the truth."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.redirect.world import READERS, Reader, World, run

EXAMPLES = int(os.environ.get("COHERENCE_EXAMPLES", "80"))
STEPS = 50

readers = st.integers(0, READERS - 1)
letters = st.sampled_from("ab")
picks = st.integers(0, 7)


class Coherence(RuleBasedStateMachine):
    """Steps of readers, writers, announcer and Redis in any order; `end` of each run asks for the truth.

    A step for which nothing is there does nothing. It has no precondition: real stores decide how many questions wait,
    and Hypothesis must draw the same whatever they do.
    """

    world: World
    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        super().__init__()
        self.do(self.world.begin())

    def do(self, step: Any) -> None:
        run(self.loop, step)

    def key(self, letter: str) -> Any:
        return self.world.keys[f"/{letter}{self.world.chapter}"]

    @rule(reader=readers, letter=letters)
    def ask(self, reader: int, letter: str) -> None:
        self.do(self.world.tell(reader, lambda it: it.ask(self.key(letter))))

    @rule(pick=picks, fail=st.sampled_from([False, False, False, True]))
    def go_on(self, pick: int, fail: bool) -> None:
        if self.world.gates:
            self.do(self.world.release(pick % len(self.world.gates), fail=fail))

    @rule(letter=letters, state=st.sampled_from(["active", "banned", "disabled", "deleted"]))
    def write(self, letter: str, state: str) -> None:
        key = self.key(letter)
        self.do(self.world.write(key, "banned" if key.is_eternal and state == "deleted" else state))

    @rule(letter=letters, state=st.sampled_from(["active", "banned"]))
    def change_and_tell_everyone(self, letter: str, state: str) -> None:
        self.do(self.world.write(self.key(letter), state))
        self.do(self.world.put_one(-1))
        self.do(self.world.publish_one(-1))
        self.do(self.world.announce())

    @rule(pick=picks)
    def put(self, pick: int) -> None:
        if self.world.written:
            self.do(self.world.put_one(pick % len(self.world.written)))

    @rule(pick=picks)
    def publish(self, pick: int) -> None:
        if self.world.put:
            self.do(self.world.publish_one(pick % len(self.world.put)))

    @rule(pick=picks)
    def writer_dies(self, pick: int) -> None:
        if self.world.written:
            self.world.written.pop(pick % len(self.world.written))

    @rule(reader=readers)
    def deliver(self, reader: int) -> None:
        self.do(self.world.tell(reader, Reader.deliver))

    @rule(reader=readers)
    def reconnect(self, reader: int) -> None:
        self.do(self.world.tell(reader, Reader.reconnect))

    @rule()
    def announce(self) -> None:
        self.do(self.world.announce())

    @rule()
    def announcer_dies(self) -> None:
        self.do(self.world.start_announcer())

    @rule()
    def pass_time(self) -> None:
        self.do(self.world.pass_time())

    @rule()
    def flush(self) -> None:
        self.do(self.world.stores.redis.flushall())

    @rule(letter=letters)
    def evict(self, letter: str) -> None:
        self.do(self.world.stores.redis.delete("l:" + self.key(letter).name))

    @rule()
    def save(self) -> None:
        self.do(self.world.save())

    @rule()
    def restore(self) -> None:
        if self.world.snapshot:
            self.do(self.world.restore())
            self.do(self.world.idle())

    @invariant()
    def nothing_known_is_older_than_what_was_heard(self) -> None:
        for reader in self.world.readers:
            reader.check()

    def teardown(self) -> None:
        self.do(self.world.end())


@pytest.fixture
def machine(connect: Callable[[], Any]) -> Iterator[type[Coherence]]:
    """The machine, on stores and a loop that all its runs share."""
    loop = asyncio.new_event_loop()
    manager = connect()
    stores = loop.run_until_complete(manager.__aenter__())
    world = World(stores)
    try:
        yield type("SharedCoherence", (Coherence,), {"world": world, "loop": loop})
    finally:
        loop.run_until_complete(world.close())
        loop.run_until_complete(manager.__aexit__(None, None, None))
        loop.close()


@pytest.mark.timeout(0)
def test_every_interleaving_ends_in_the_truth(machine: type[Coherence]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        ),
    )
