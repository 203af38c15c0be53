"""How a command fails: one line on stderr, exit status 1."""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["AwayError", "CliError", "RefusedError"]


class CliError(Exception):
    """What a person is told; the text says what was wrong, where, and what to do."""


class AwayError(CliError):
    """The instance does not answer; a moment later it may."""


class RefusedError(CliError):
    """The instance says no; `status` is HTTP's, `fields` are those that it finds wrong."""

    def __init__(self, reason: str, status: int, fields: Collection[str] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.fields = fields
