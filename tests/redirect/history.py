"""What a key ever was, and whether an answer agrees with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from app.redirect.table import Special

__all__ = ["TARGET", "Key", "State", "number_of"]

TARGET = "https://example.com/"


class State(NamedTuple):
    """One state of a key: its version, and the number in its target, None while it is no link."""

    version: int
    number: int | None


@dataclass
class Key:
    """One slug and everything that it ever was."""

    slug: str
    is_eternal: bool
    states: list[State] = field(default_factory=lambda: [State(0, None)])

    @property
    def name(self) -> str:
        return "/" + self.slug

    def allows(self, answer: Any, at_least: int) -> bool:
        """Whether the key was so in its state `at_least` or a later one."""
        if answer == 404:
            return not self.is_eternal and any(state.number is None for state in self.states[at_least:])
        return any(state.number == number_of(answer) for state in self.states[at_least:])


def number_of(entry: Any) -> int:
    """The number in an entry's target."""
    location = entry.location if isinstance(entry, Special) else entry[12:]
    return int(location.removeprefix(TARGET.encode()))
