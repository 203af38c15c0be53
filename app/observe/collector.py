"""Spans on their way to a collector: OpenTelemetry's SDK, and OTLP over HTTP.

In: spans of this process, as they end. Out: batches of them, posted by a thread, and counts of what was taken and what
was dropped. Nobody waits for the collector: what it does not take is dropped.

    QUEUE_SPANS_MAX  ended and not yet handed to the thread: 4 MB; one more is dropped
    BATCH_SPANS_MAX  encoded at once, which holds the interpreter for 3 ms
    ROOTS_S_MAX      spans without a parent of this process, in a second: whoever asks with a sampled `traceparent`
                     decides what is recorded; a look-up's two spans are 66 µs, so this is 1.3 % of a process
    FLUSH_S          for what is left when the program ends

A collector that fails is said once, with the SDK's own reason, and once more when it is back. Loaded by
`app.observe.traces` alone, and only where traces are wanted. May import: opentelemetry.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)

from app.observe.logs import get_logger
from app.observe.spans import Parent, Span, TraceWish, Value

__all__ = ["Collector"]

QUEUE_SPANS_MAX = 2048
BATCH_SPANS_MAX = 128
ROOTS_S_MAX = 200
FLUSH_S = 3.0
_SAMPLERS: dict[str, Callable[[float], Sampler]] = {
    "always_on": lambda share: ALWAYS_ON,
    "always_off": lambda share: ALWAYS_OFF,
    "traceidratio": TraceIdRatioBased,
    "parentbased_always_on": lambda share: ParentBased(ALWAYS_ON),
    "parentbased_always_off": lambda share: ParentBased(ALWAYS_OFF),
    "parentbased_traceidratio": lambda share: ParentBased(TraceIdRatioBased(share)),
}


class Collector:
    """The collector of one process.

    Args:
        program: its name under supervisord, which tells it from its siblings.

    Attributes:
        sent: spans that the collector took.
    """

    def __init__(self, program: str, wish: TraceWish) -> None:
        self._words = _LastWords()
        exporter = OTLPSpanExporter(endpoint=wish.endpoint, headers=dict(wish.headers))
        self._exporter = _Exporter(exporter, self._words)
        self._queue = _Queue(self._exporter)
        self._sampler = _Bounded(_SAMPLERS[wish.sampler](wish.share), time.monotonic)
        named = Resource({"service.name": "boltlink", "service.instance.id": program})
        self._provider = TracerProvider(
            sampler=self._sampler, resource=named.merge(OTELResourceDetector().detect()), shutdown_on_exit=False
        )
        self._provider.add_span_processor(self._queue)
        self._tracer = self._provider.get_tracer("boltlink")

    @property
    def sent(self) -> int:
        """Spans that the collector took."""
        return self._exporter.sent

    @property
    def dropped(self) -> int:
        """Spans that it did not take, or that there was no room for, and roots beyond their limit."""
        return self._exporter.failed + self._queue.dropped + self._sampler.dropped

    def begin(
        self,
        name: str,
        attributes: Mapping[str, Value],
        *,
        parent: Parent | None,
        is_request: bool,
        began_ns: int | None,
    ) -> Span:
        """A span without a parent in this process."""
        kind = SpanKind.SERVER if is_request else SpanKind.INTERNAL
        context = Context() if parent is None else set_span_in_context(_remote(parent), Context())
        return self._span(self._tracer.start_span(name, context, kind, dict(attributes), start_time=began_ns))

    def begin_part(self, whole: Any, name: str, attributes: Mapping[str, Value], *, is_question: bool) -> Span:
        """A part of a span of this process."""
        kind = SpanKind.CLIENT if is_question else SpanKind.INTERNAL
        return self._span(self._tracer.start_span(name, set_span_in_context(whole, Context()), kind, dict(attributes)))

    def end(self, inner: Any, error: str | None) -> None:
        """A span ends now."""
        if error is not None:
            inner.set_attribute("error.type", error)
            inner.set_status(StatusCode.ERROR)
        inner.end()

    def close(self) -> None:
        """Sends what is left, for FLUSH_S at most."""
        # The SDK's own shutdown waits for 30 s where a collector hangs; the thread dies with the process.
        closing = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(FLUSH_S)
        self._words.close()
        lost = self._queue.ended + self._queue.dropped - self._exporter.sent
        if lost or self._sampler.dropped:
            get_logger().warning("spans not sent", count=lost, roots_beyond_the_limit=self._sampler.dropped)

    def _span(self, inner: Any) -> Span:
        return Span(self if inner.is_recording() else None, inner)


class _Queue(BatchSpanProcessor):
    """The SDK's, which drops what is older and says nothing; this one drops what is newer, and counts it."""

    def __init__(self, exporter: _Exporter) -> None:
        super().__init__(exporter, max_queue_size=QUEUE_SPANS_MAX, max_export_batch_size=BATCH_SPANS_MAX)
        self.ended = 0
        self.dropped = 0
        self._taken = exporter

    def on_end(self, span: ReadableSpan) -> None:
        """A span, if there is room."""
        if self.ended - self._taken.taken >= QUEUE_SPANS_MAX:
            self.dropped += 1
            return
        self.ended += 1
        super().on_end(span)


class _Exporter(SpanExporter):
    """Posts batches in the processor's thread, and counts them."""

    def __init__(self, inner: SpanExporter, words: _LastWords) -> None:
        self.taken = self.sent = self.failed = 0
        self._inner = inner
        self._words = words
        self._is_failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """One batch; tried again by the SDK for ten seconds, unless the environment says otherwise."""
        self.taken += len(spans)
        result = self._inner.export(spans)
        if result is SpanExportResult.SUCCESS:
            if self._is_failing:
                get_logger().info("spans are sent again", dropped=self.failed)
            self.sent += len(spans)
        else:
            if not self._is_failing:
                get_logger().warning("spans are not sent", reason=self._words.said)
            self.failed += len(spans)
        self._is_failing = result is not SpanExportResult.SUCCESS
        return result

    def shutdown(self) -> None:
        """Ends a wait for another try."""
        self._inner.shutdown()


class _Bounded(Sampler):
    """What another sampler takes, but of roots no more than ROOTS_S_MAX in a second."""

    def __init__(self, inner: Sampler, monotonic: Callable[[], float]) -> None:
        self.dropped = 0
        self._inner = inner
        self._monotonic = monotonic
        self._second = -1
        self._roots = 0

    def should_sample(self, parent_context: Context | None, *args: Any, **kwargs: Any) -> SamplingResult:
        """As the SDK asks."""
        result = self._inner.should_sample(parent_context, *args, **kwargs)
        parent = get_current_span(parent_context).get_span_context()
        if result.decision is not Decision.RECORD_AND_SAMPLE or (parent.is_valid and not parent.is_remote):
            return result
        second = int(self._monotonic())
        if second != self._second:
            self._second, self._roots = second, 0
        self._roots += 1
        if self._roots <= ROOTS_S_MAX:
            return result
        self.dropped += 1
        return SamplingResult(Decision.DROP)

    def get_description(self) -> str:
        """For people."""
        return f"{self._inner.get_description()}, {ROOTS_S_MAX} roots a second"


class _LastWords(logging.Handler):
    """Keeps what the SDK said last, which it would say for every batch, and tells nobody."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said = ""
        self._logger = logging.getLogger("opentelemetry")
        self._logger.addHandler(self)
        self._logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        self.said = record.getMessage()[:300]

    def close(self) -> None:
        """Listens no more."""
        self._logger.removeHandler(self)
        super().close()


def _remote(parent: Parent) -> NonRecordingSpan:
    flags = TraceFlags(TraceFlags.SAMPLED if parent.is_sampled else TraceFlags.DEFAULT)
    return NonRecordingSpan(SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags))
