"""Logs, metrics, health, ids of requests, traces."""

from app.observe.beats import SILENT_S, Beat, LastBeat, last_beat
from app.observe.health import Health
from app.observe.logs import RotatedLog, configure_logs, get_logger, reason_of
from app.observe.metrics import REDIRECT_EDGES_S, Metrics, expect_programs
from app.observe.requests import REQUEST_ID_FIELD, bind_request, request_id_of
from app.observe.traces import (
    OFF,
    TRACEPARENT,
    Span,
    TraceWish,
    asking,
    begin,
    begin_question,
    enter,
    fetching,
    is_tracing,
    parent_in,
    parent_of,
    start_traces,
    stop_traces,
    traced,
    within,
)

__all__ = [
    "OFF",
    "REDIRECT_EDGES_S",
    "REQUEST_ID_FIELD",
    "SILENT_S",
    "TRACEPARENT",
    "Beat",
    "Health",
    "LastBeat",
    "Metrics",
    "RotatedLog",
    "Span",
    "TraceWish",
    "asking",
    "begin",
    "begin_question",
    "bind_request",
    "configure_logs",
    "enter",
    "expect_programs",
    "fetching",
    "get_logger",
    "is_tracing",
    "last_beat",
    "parent_in",
    "parent_of",
    "reason_of",
    "request_id_of",
    "start_traces",
    "stop_traces",
    "traced",
    "within",
]
