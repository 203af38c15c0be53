"""What a job is: its states, and what is written of a new one.

    READY    may be claimed now; `due` is since when
    DELAYED  waits for `due`: a job for later, or one that failed
    RUNNING  claimed; `due` is until when the claim holds
    DONE     over since `due`; its document goes when `forget` has come
    DEAD     given up since `due`: listed, and done again by hand; it, too, goes one day

Pure. May import: msgspec.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

__all__ = ["PAYLOAD_BYTES_MAX", "JobState", "JobView", "NewJob", "order_of"]

PAYLOAD_BYTES_MAX = 256 * 1024  # a document of MongoDB holds 16 MB, and 500 of them are written at once


class JobState(StrEnum):
    """See above."""

    READY = "ready"
    DELAYED = "delayed"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"


def order_of(second: int, number: int = 0) -> int:
    """The place of what happened in a second of Unix time, as the `number`th in it."""
    return second << 31 | number  # until the year 2106 that are 63 bits


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be done.

    Attributes:
        id: made by whoever wants it; the same job asked for twice is one.
        lane: `group/name`: lanes take turns, so that a long one holds up no other.
        key: jobs with the same one are not done beside each other by one program; "": any may be.
        order: within a lane, the lowest first: of `order_of`.
    """

    id: str
    kind: str
    lane: str
    payload: msgspec.Struct
    order: int
    key: str = ""
    delay_s: float = 0.0

    def __post_init__(self) -> None:
        assert self.lane.count("/") == 1


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as it is stored, for whoever looks; `error` is why the last attempt failed, or the job was dropped."""

    id: str
    kind: str
    lane: str
    state: JobState
    attempts: int
    created: datetime
    due: datetime
    error: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    note: Mapping[str, Any] = field(default_factory=dict)
