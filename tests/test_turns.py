"""Long work lets others run after each turn."""

from __future__ import annotations

import asyncio

from app.turns import TURN_S, Turn


def test_a_turn_is_over_after_its_time_and_then_others_run() -> None:
    now_s = 0.0
    events: list[str] = []

    async def work() -> None:
        nonlocal now_s
        turn = Turn(lambda: now_s)
        asyncio.get_running_loop().call_soon(events.append, "other")
        for step in range(4):
            assert turn.is_over == (step == 2)
            if turn.is_over:
                await turn.end()
            events.append(str(step))
            now_s += TURN_S / 2

    asyncio.run(work())
    assert events == ["0", "1", "other", "2", "3"]
