"""Where long work with a file stands: kept beside it after each step, so that the next run goes on there.

    FILE.progress   one JSON object, whole or not at all, on disk before the next step begins; removed at the end

May import: the standard library.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["Bookmark"]


class Bookmark:
    """Where work with a file stands; of None, a file that nobody can come back to such as stdin, nothing is kept."""

    def __init__(self, file: Path | None) -> None:
        self.path = None if file is None else file.with_name(f"{file.name}.progress")

    def read(self) -> dict[str, Any] | None:
        """What the last run left; None when it ended, or there was none."""
        try:
            found = None if self.path is None else json.loads(self.path.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def keep(self, standing: dict[str, Any]) -> None:
        """Notes where it stands."""
        if self.path is None:
            return
        draft = self.path.with_name(f"{self.path.name}.new")
        with draft.open("w") as file:
            json.dump(standing, file)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self.path)

    def end(self) -> None:
        """Nothing is left to do."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
