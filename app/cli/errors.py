"""How a command fails: one line on stderr, exit status 1."""

from __future__ import annotations

__all__ = ["CliError"]


class CliError(Exception):
    """What a person is told; the text says what was wrong, where, and what to do."""
