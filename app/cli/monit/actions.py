"""What `boltlink monit` does to programs: restarts, one at a time, in a thread, so that the page goes on.

In: names of programs. Out: one line on how it goes. May import: rolling, tree.
"""

from __future__ import annotations

import threading

from app.rolling import BusyError, RestartError, only_one, restart
from app.tree import Tree

__all__ = ["Actions"]


class Actions:
    """At most one action at a time.

    Attributes:
        message: how the last one went, or goes; "" when there was none.
    """

    def __init__(self, tree: Tree) -> None:
        self.message = ""
        self._tree = tree
        self._thread: threading.Thread | None = None

    @property
    def is_busy(self) -> bool:
        """Whether one is under way."""
        return self._thread is not None and self._thread.is_alive()

    def restart(self, names: list[str]) -> None:
        """Restarts programs one after another, each when the last one serves; says so when one is under way."""
        if self.is_busy:
            self.message = "wait: a restart is under way"
            return
        self.message = f"{names[0]} ends what it was asked…"
        self._thread = threading.Thread(target=self._restart, args=(names,), name="restart", daemon=True)
        self._thread.start()

    def _restart(self, names: list[str]) -> None:
        try:
            with only_one(self._tree):
                for number, name in enumerate(names, 1):
                    self.message = f"[{number}/{len(names)}] {name} ends what it was asked…"
                    away_s = restart(self._tree, name)
                    self.message = f"[{number}/{len(names)}] {name} serves again, {away_s:.2f} s after its end"
        except RestartError as error:
            self.message = str(error)
        except BusyError:
            self.message = "somebody else restarts programs of this tree"
