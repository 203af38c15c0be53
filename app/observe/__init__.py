"""Logs, metrics, health, ids of requests."""

from app.observe.health import Health
from app.observe.logs import RotatedLog, configure_logs, get_logger
from app.observe.metrics import REDIRECT_EDGES_S, Metrics
from app.observe.requests import REQUEST_ID_FIELD, bind_request, request_id_of

__all__ = [
    "REDIRECT_EDGES_S",
    "REQUEST_ID_FIELD",
    "Health",
    "Metrics",
    "RotatedLog",
    "bind_request",
    "configure_logs",
    "get_logger",
    "request_id_of",
]
