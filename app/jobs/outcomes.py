"""How a job ends that is not done: what its work raises, one class for each thing that then happens.

Whatever else is raised counts as `RetryError`. May import: the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["DropError", "GiveUpError", "LostClaimError", "RetryError", "UndoneError"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class UndoneError(Exception):
    """An attempt did not do it; `note` is what the job keeps of the attempt."""

    def __init__(self, reason: str, note: Mapping[str, Any] = _NOTHING) -> None:
        super().__init__(reason)
        self.reason = reason
        self.note = note


class RetryError(UndoneError):
    """It may be done later: the job comes again, until it has been tried so often as its kind allows."""


class GiveUpError(UndoneError):
    """It never will be: the job is dead at once."""


class DropError(UndoneError):
    """Nobody wants it done any more: the job is over, and nothing is amiss."""


class LostClaimError(Exception):
    """The claim ran out, so another may be at it: whoever hears this has no further effect."""
