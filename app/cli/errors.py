"""How a command fails: one line on stderr, exit status 1."""

from __future__ import annotations

__all__ = ["AwayError", "CliError"]


class CliError(Exception):
    """What a person is told; the text says what was wrong, where, and what to do."""


class AwayError(CliError):
    """The instance does not answer; a moment later it may."""
