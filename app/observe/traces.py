"""Traces: how long a request, a batch or a step of a job took, and each question to a store within it.

In: names of work, and the `traceparent` of a request (W3C Trace Context). Out: spans, to the collector of this process
(`app.observe.collector`), which `start_traces` loads where a setting names one. Where none does, every span is `OFF`,
which takes nothing and tells nothing, and what sends spans is not loaded. Redirects that memory answers know nothing of
it in any case.

    begin     a span of its own, whose parent is what the request says, or nobody
    within    makes a span the present one of a task and of those that it starts; log lines then hold its trace's id
    traced    both, until the block ends, below the present span
    asking    a question to a store, below the present span; without one it is not told. So is one that is not ended
    fetching  the same of another machine, which is told whose part it is

What is told of a span is what its caller says: names, counts, classes of errors. No address, no query, no key, no text
of an error goes in, as any of these may hold what nobody else shall see. May import: structlog, spans, collector.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING

import structlog

from app.observe.logs import get_logger
from app.observe.spans import OFF, TRACEPARENT, Parent, Span, TraceWish, Value

if TYPE_CHECKING:
    from app.observe.collector import Collector

__all__ = [
    "OFF",
    "TRACEPARENT",
    "Parent",
    "Span",
    "TraceWish",
    "asking",
    "begin",
    "begin_question",
    "enter",
    "fetching",
    "is_tracing",
    "parent_in",
    "parent_of",
    "start_traces",
    "stop_traces",
    "trace_counts",
    "traced",
    "within",
]

#: Version, trace, parent, flags. A later version may append to it; ff is none (W3C Trace Context, 3.2.2).
_FIELD = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.{0,450})?")
_IN_HEAD = re.compile(rb"\r\n[Tt][Rr][Aa][Cc][Ee][Pp][Aa][Rr][Ee][Nn][Tt]:[ \t]*([^\r\n]{0,513})")
_SAMPLED = 1

_present: ContextVar[Span] = ContextVar("span", default=OFF)
_collector: Collector | None = None


def start_traces(program: str, wish: TraceWish) -> None:
    """Tells spans to a collector from now on, where one is named; says so in the log if that cannot be done."""
    global _collector  # noqa: PLW0603  one for each process, as its log is
    if wish.endpoint is None:
        return
    try:
        # Here and not above: the libraries are an extra, and take a third of a second that only this use may cost.
        from app.observe.collector import Collector  # noqa: PLC0415

        _collector = Collector(program, wish)
    except ImportError as error:
        get_logger().error("no traces are sent", reason=str(error), do="pip install 'boltlink[tracing]'")
    except (ValueError, RuntimeError) as error:  # an OTEL_* variable that only the SDK reads
        get_logger().error("no traces are sent", reason=str(error))


def stop_traces() -> None:
    """Sends what is left, for FLUSH_S at most, and ends."""
    global _collector
    collector, _collector = _collector, None
    if collector is not None:
        collector.close()


def trace_counts() -> tuple[int, int]:
    """Spans that the collector took, and those that were dropped on the way to it, since the start."""
    return (0, 0) if _collector is None else (_collector.sent, _collector.dropped)


def is_tracing() -> bool:
    """Whether anybody wants to know."""
    return _collector is not None


def begin(
    name: str,
    attributes: Mapping[str, Value],
    *,
    parent: Parent | None = None,
    is_request: bool = False,
    began_s: float | None = None,
) -> Span:
    """A span of its own; `began_s` is Unix time, None is now."""
    if _collector is None:
        return OFF
    began_ns = None if began_s is None else int(began_s * 1e9)
    return _collector.begin(name, attributes, parent=parent, is_request=is_request, began_ns=began_ns)


def within(span: Span) -> AbstractContextManager[None]:
    """Makes `span` the present one."""
    return nullcontext() if span is OFF else _within(span)


@contextmanager
def _within(span: Span) -> Iterator[None]:
    token = _present.set(span)
    try:
        with structlog.contextvars.bound_contextvars(trace_id=span.trace_id):
            yield
    finally:
        _present.reset(token)


def enter(span: Span) -> None:
    """Makes `span` the present one of this task for good."""
    if span is not OFF:
        _present.set(span)
        structlog.contextvars.bind_contextvars(trace_id=span.trace_id)


@contextmanager
def traced(name: str, attributes: Mapping[str, Value] = MappingProxyType({})) -> Iterator[Span]:
    """Tells of a block."""
    present = _present.get()
    span = present.part(name, attributes) if present is not OFF else begin(name, attributes)
    with _ended(span), within(span):
        yield span


def begin_question(store: str, operation: str, about: Mapping[str, Value] = MappingProxyType({})) -> Span:
    """A question to a store, which whoever asks it ends; `OFF` where no span is present."""
    present = _present.get()
    if not present.is_on:
        return OFF
    attributes = {"db.system.name": store, "db.operation.name": operation, **about}
    return present.part(f"{store} {operation}", attributes, is_question=True)


@contextmanager
def asking(store: str, operation: str) -> Iterator[None]:
    """Tells of a block that asks a store."""
    with _ended(begin_question(store, operation)):
        yield


@contextmanager
def fetching(method: str) -> Iterator[Span]:
    """Tells of a block that asks another machine over HTTP; the span's `fields` go with the request."""
    span = _present.get().part(f"fetch {method}", {"http.request.method": method}, is_question=True)
    with _ended(span):
        yield span


@contextmanager
def _ended(span: Span) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        span.end(error)
        raise
    span.end()


def parent_of(field: str | None) -> Parent | None:
    """What a `traceparent` says; None where it says nothing that can be believed."""
    found = None if field is None else _FIELD.fullmatch(field.strip(" \t"))
    if found is None or (found[1] == "00" and found[5]):
        return None
    trace_id, span_id = int(found[2], 16), int(found[3], 16)
    return Parent(trace_id, span_id, bool(int(found[4], 16) & _SAMPLED)) if trace_id and span_id else None


def parent_in(head: bytes) -> Parent | None:
    """As `parent_of`, of a raw head; who sends two of them is believed neither."""
    fields = _IN_HEAD.findall(head)
    return parent_of(fields[0].decode("latin-1")) if len(fields) == 1 else None
