"""A collector of traces: an HTTP server that reads OTLP as the standard has it, and can be slow, refuse, or go away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

__all__ = ["Received", "Receiver", "receiving"]


@dataclass(frozen=True)
class Received:
    """One span as it came."""

    program: str
    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    attributes: dict[str, Any]
    is_error: bool
    seconds: float


class Receiver:
    """What came, with the header fields of each request.

    Attributes:
        is_hanging: requests are taken and not answered, until it is cleared.
        status: what they are answered.
    """

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.fields: list[dict[str, str]] = []
        self.raw: list[bytes] = []
        self.status = 200
        self.asked = 0
        self.goes_on = threading.Event()
        self.goes_on.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        """Goes away."""
        self.goes_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def named(self, name: str) -> list[Received]:
        return [span for span in self.spans if span.name == name]

    def parts_of(self, whole: Received) -> list[Received]:
        """In the order in which they ended."""
        return [span for span in self.spans if (span.trace_id, span.parent_id) == (whole.trace_id, whole.span_id)]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler) -> None:  # noqa: N805  `self` is the receiver
                body = handler.rfile.read(int(handler.headers["Content-Length"]))
                self.asked += 1
                self.fields.append(dict(handler.headers))
                self.goes_on.wait()
                if self.status == 200 and handler.path == "/v1/traces":
                    self._take(body)
                handler.send_response(self.status if handler.path == "/v1/traces" else 404)
                handler.send_header("Content-Length", "0")
                handler.end_headers()

            def log_message(handler, *_: object) -> None:  # noqa: N805
                pass

        return Handler

    def _take(self, body: bytes) -> None:
        self.raw.append(body)
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = {pair.key: value_of(pair.value) for pair in of_resource.resource.attributes}
            for span in (span for of_scope in of_resource.scope_spans for span in of_scope.spans):
                self.spans.append(
                    Received(
                        program=resource["service.instance.id"],
                        service=resource["service.name"],
                        name=span.name,
                        trace_id=span.trace_id.hex(),
                        span_id=span.span_id.hex(),
                        parent_id=span.parent_span_id.hex(),
                        kind=span.kind,
                        attributes={pair.key: value_of(pair.value) for pair in span.attributes},
                        is_error=span.status.code == span.status.STATUS_CODE_ERROR,
                        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                    )
                )


def value_of(value: AnyValue) -> Any:
    return getattr(value, value.WhichOneof("value") or "string_value")


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A collector on a free port."""
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.close()
