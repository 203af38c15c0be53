"""What a process says of itself: `/health` and `/ready`.

In: probes that ask one part each. Out: a report. Health is "this process works", with the state of each part;
readiness is "send me traffic": both stores answer and the process is not draining, or, where asked with
`degraded=ok`, redirects can be served at all. May import: the standard library.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

__all__ = ["Health"]

PROBE_S = 1.0


class Health:
    """Parts of one process. A probe returns when its part works and raises when it does not.

    Attributes:
        is_prepared: what the API needs in the stores, such as the first key, is there; redirects go without.
    """

    def __init__(self, facts: Callable[[], Mapping[str, Any]]) -> None:
        self.is_draining = False
        self.is_serving = False
        self.is_prepared = True
        self._probes: dict[str, Callable[[], Awaitable[Any]]] = {}
        self._facts = facts

    def add(self, part: str, probe: Callable[[], Awaitable[Any]]) -> None:
        """A part whose failure makes the process not ready."""
        self._probes[part] = probe

    async def parts(self) -> dict[str, str]:
        """Each part: "ok", or why not; never longer than PROBE_S."""
        states = await asyncio.gather(*(self._ask(probe) for probe in self._probes.values()))
        return dict(zip(self._probes, states, strict=True))

    async def report(self) -> dict[str, Any]:
        """The body of `/health`."""
        return {
            "status": "draining" if self.is_draining else "ok",
            "parts": await self.parts(),
            **self._facts(),
        }

    async def ready(self, *, degraded_ok: bool) -> tuple[bool, dict[str, Any]]:
        """Whether to send traffic here, and the body of `/ready`."""
        if self.is_draining:
            return False, {"ready": False, "reason": "draining"}
        if not self.is_serving:
            return False, {"ready": False, "reason": "starting"}
        if degraded_ok:
            return True, {"ready": True}
        if not self.is_prepared:
            return False, {"ready": False, "reason": "preparing the database"}
        down = {part: state for part, state in (await self.parts()).items() if state != "ok"}
        if down:
            return False, {
                "ready": False,
                "reason": "; ".join(f"{part}: {why}" for part, why in down.items()),
            }
        return True, {"ready": True}

    async def _ask(self, probe: Callable[[], Awaitable[Any]]) -> str:
        try:
            async with asyncio.timeout(PROBE_S):
                await probe()
        except TimeoutError:
            return f"no answer within {PROBE_S:g} s"
        except Exception as error:
            return f"does not answer ({type(error).__name__})"  # its text names hosts and paths; this page is public
        return "ok"
