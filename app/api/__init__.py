"""`/api/v1`: handlers, one routing table, the error format."""

import re
from collections.abc import Callable

from tornado import web

from app.api.parameters import PATH_PARAMETERS
from app.api.reference import Reference
from app.api.repeats import INDEXES, REPEATS
from app.api.routes import NEEDS, ROUTES
from app.api.services import Services
from app.api.system import NotFoundHandler

__all__ = ["INDEXES", "NEEDS", "REPEATS", "ROUTES", "Services", "make_application"]


def make_application(services: Services, on_request: Callable[[str, int, float], None]) -> web.Application:
    """Tornado's Application; `on_request(route, status, seconds)` counts."""
    options = {"services": services}
    return web.Application(
        [(path_regex(path), handler, {**options, "needs": NEEDS[path]}) for path, handler in ROUTES],
        default_handler_class=NotFoundHandler,
        default_handler_args={**options, "needs": {}},
        log_function=lambda handler: None,
        on_request=on_request,
        reference=Reference(ROUTES),
        cors_origins=services.settings.cors_origins,
        compress_response=False,
    )


def path_regex(path: str) -> str:
    """What matches the paths of a route; each name in braces is a group."""
    return re.sub(r"\\{([a-z_]+)\\}", lambda match: f"({PATH_PARAMETERS[match[1]].pattern})", re.escape(path))
