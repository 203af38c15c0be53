"""Logs, metrics, health."""

from app.observe.health import Health
from app.observe.logs import configure_logs, get_logger
from app.observe.metrics import REDIRECT_EDGES_S, Metrics

__all__ = ["REDIRECT_EDGES_S", "Health", "Metrics", "configure_logs", "get_logger"]
