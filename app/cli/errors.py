"""How a command fails: one line on stderr, exit status 1."""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus

__all__ = ["AwayError", "CliError", "RefusedError"]

PASSING = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


class CliError(Exception):
    """What a person is told; the text says what was wrong, where, and what to do."""


class AwayError(CliError):
    """The instance does not answer; a moment later it may."""

    is_passing = True


class RefusedError(CliError):
    """The instance says no; `status` is HTTP's, `fields` are those that it finds wrong."""

    def __init__(self, reason: str, status: int, fields: Collection[str] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.fields = fields

    @property
    def is_passing(self) -> bool:
        """Whether the same may succeed a moment later."""
        return self.status in PASSING
