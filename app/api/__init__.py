"""`/api/v1`: handlers, one routing table, the error format."""

from collections.abc import Callable

from tornado import web

from app.api.handler import Services
from app.api.routes import ROUTES
from app.api.system import NotFoundHandler

__all__ = ["ROUTES", "Services", "make_application"]


def make_application(services: Services, on_request: Callable[[str, int, float], None]) -> web.Application:
    """Tornado's Application; `on_request(route, status, seconds)` counts."""
    options = {"services": services}
    return web.Application(
        [(pattern, handler, options) for pattern, handler in ROUTES],
        default_handler_class=NotFoundHandler,
        default_handler_args=options,
        log_function=lambda handler: None,
        on_request=on_request,
        cors_origins=services.settings.cors_origins,
        compress_response=False,
    )
