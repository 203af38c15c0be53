"""What a span is, whoever tells it.

In: a recorder, or none. Out: `Span`, and what requests and settings say of traces. May import: the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

__all__ = ["OFF", "TRACEPARENT", "Parent", "Recorder", "Span", "TraceWish", "Value"]

TRACEPARENT = "traceparent"
Value = str | int | float | bool


class Parent(NamedTuple):
    """What a request says it is a part of."""

    trace_id: int
    span_id: int
    is_sampled: bool


class TraceWish(NamedTuple):
    """What settings say of traces.

    Attributes:
        endpoint: where spans are posted to, whole; None: nowhere.
        headers: that go with them; they may hold a secret.
        sampler: a name of the standard's.
        share: of the samplers that take one.
    """

    endpoint: str | None
    headers: tuple[tuple[str, str], ...]
    sampler: str
    share: float


class Recorder(Protocol):
    """Who keeps what spans tell; `inner` is what it knows a span by."""

    def begin_part(self, whole: Any, name: str, attributes: Mapping[str, Value], *, is_question: bool) -> Span:
        """A part of a span."""
        ...

    def end(self, inner: Any, error: str | None) -> None:
        """A span is over."""
        ...


class Span:
    """One piece of work; `OFF` where nobody wants to know. Ended once, by whoever began it."""

    __slots__ = ("_inner", "_recorder")

    def __init__(self, recorder: Recorder | None, inner: Any) -> None:
        self._recorder = recorder
        self._inner = inner

    @property
    def is_on(self) -> bool:
        """Whether it is told to anybody."""
        return self._recorder is not None

    @property
    def trace_id(self) -> str:
        """32 hex digits; "" where nobody wants to know."""
        return "" if self._inner is None else f"{self._inner.get_span_context().trace_id:032x}"

    @property
    def fields(self) -> dict[str, str]:
        """Header fields that make a request to another machine a part of this."""
        if self._recorder is None:
            return {}
        context = self._inner.get_span_context()
        return {TRACEPARENT: f"00-{context.trace_id:032x}-{context.span_id:016x}-01"}

    def part(self, name: str, attributes: Mapping[str, Value], *, is_question: bool = False) -> Span:
        """A piece of this work, or a question to another program; it begins now."""
        if self._recorder is None:
            return OFF
        return self._recorder.begin_part(self._inner, name, attributes, is_question=is_question)

    def set(self, name: str, value: Value) -> None:
        """Adds an attribute."""
        if self._recorder is not None:
            self._inner.set_attribute(name, value)

    def end(self, error: BaseException | str | None = None) -> None:
        """It ends now; of an error, only its class is told."""
        if self._recorder is not None:
            self._recorder.end(self._inner, type(error).__name__ if isinstance(error, BaseException) else error)


OFF = Span(None, None)
