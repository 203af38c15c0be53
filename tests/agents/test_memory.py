"""A flood of one-time keys forgets no key that is in use."""

from __future__ import annotations

from app.agents.memory import Memory

SIZE = 100


def test_a_key_in_use_stays_under_a_flood() -> None:
    memory: Memory[int, str] = Memory(SIZE)
    memory.put(-1, "hot")
    for key in range(20 * SIZE):
        memory.put(key, "once")
        if key % (SIZE - 1) == 0:
            assert memory.get(-1) == "hot"
    assert memory.get(-1) == "hot"


def test_it_never_holds_more_than_two_generations() -> None:
    memory: Memory[int, str] = Memory(SIZE)
    sizes = []
    for key in range(10 * SIZE):
        memory.put(key, "once")
        sizes.append(len(memory))
    assert max(sizes) == 2 * SIZE


def test_what_is_not_used_is_forgotten() -> None:
    memory: Memory[int, str] = Memory(SIZE)
    memory.put(-1, "cold")
    for key in range(2 * SIZE):
        memory.put(key, "once")
    assert memory.get(-1) is None
    assert memory.get(2 * SIZE - 1) == "once"
    memory.clear()
    assert (len(memory), memory.get(2 * SIZE - 1)) == (0, None)
