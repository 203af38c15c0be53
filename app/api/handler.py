"""What all handlers share: who is calling, bodies, answers, errors, and a line in the log for what failed.

In: requests from Tornado's Application. Out: JSON, or problem+json with a request id.
Every answer carries `X-Request-Id`; the same id stands in the log line of a failure.
May import: accounts, feed, links, observe, stores.
"""

from __future__ import annotations

import secrets
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from pymongo.errors import DuplicateKeyError, PyMongoError
from redis.exceptions import RedisError
from tornado import web

from app.accounts import ApiKey, KeyRing
from app.api.problems import FieldError, Problem, decode_body, decode_object, wrong_fields
from app.feed import Hub
from app.links import Catalog, DomainError, DomainWatch, LinkStore, PasswordHasher, normalise_domain
from app.observe import Health, get_logger
from app.settings import Settings
from app.stores import Database

__all__ = ["Handler", "Services"]

T = TypeVar("T", bound=msgspec.Struct)
RETRY_AFTER_S = 2
_NONE = web.RequestHandler.get  # what Tornado puts where a method is not defined


@dataclass(frozen=True)
class Services:
    """What handlers work with; made once by `app.main`."""

    settings: Settings
    database: Database
    catalog: Catalog
    links: LinkStore
    domains: DomainWatch
    hub: Hub
    hasher: PasswordHasher
    keys: KeyRing
    health: Health
    now_s: Callable[[], float]
    token: Callable[[int], str]


class Handler(web.RequestHandler):
    """Base of every handler. `services` comes from the routing table."""

    is_public = False
    key: ApiKey | None = None

    def initialize(self, services: Services) -> None:
        self.services = services
        self.request_id = secrets.token_hex(8)

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")

    async def prepare(self) -> None:
        """Lets nobody in without a key, except where the handler is public."""
        self.set_header("X-Request-Id", self.request_id)
        if not self.is_public:
            self.key = await self._caller()

    async def _caller(self) -> ApiKey:
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        challenge = {"WWW-Authenticate": 'Bearer realm="boltlink"'}
        if scheme.lower() != "bearer" or not token.strip():
            detail = "An API key is needed: Authorization: Bearer KEY."
            raise Problem(HTTPStatus.UNAUTHORIZED, detail, headers=challenge)
        found = await self.services.keys.find(token.strip())
        if found is None:
            raise Problem(HTTPStatus.UNAUTHORIZED, "This API key is not valid.", headers=challenge)
        return found

    def decode(self, kind: type[T]) -> T:
        """The body as `kind`; raises Problem."""
        self.check_media()
        return decode_body(self.request.body, kind)

    def decode_object(self) -> dict[str, Any]:
        """The JSON object of the body; raises Problem."""
        self.check_media()
        return decode_object(self.request.body)

    def check_media(self) -> None:
        """Refuses a body that is declared as something else than JSON; raises Problem."""
        media = self.request.headers.get("Content-Type", "application/json").partition(";")[0].strip().lower()
        # curl -d says "form" of whatever it sends; what counts is that the body is JSON.
        if media not in ("application/json", "application/x-www-form-urlencoded") and not media.endswith("+json"):
            raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must be application/json.")

    def domain_argument(self) -> str:
        """The domain that the query names; "" is the default one. Raises Problem."""
        text = self.get_query_argument("domain", "")
        try:
            return normalise_domain(text) if text else ""
        except DomainError as error:
            raise wrong_fields([FieldError("domain", str(error))]) from error

    def answer(self, body: Any, status: int = HTTPStatus.OK) -> None:
        """Sends a JSON body."""
        self.set_status(status)
        self.write(msgspec.json.encode(body) + b"\n")

    def whole_argument(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number from the query; raises Problem."""
        text = self.get_query_argument(name, str(default))
        if not text.isascii() or not text.isdigit() or not least <= int(text[:12]) <= most:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{name} must be a whole number from {least} to {most}.")
        return int(text)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Every failure becomes a problem document."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        problem = _problem_of(error, status_code)
        if problem.status is HTTPStatus.METHOD_NOT_ALLOWED:
            problem.headers["Allow"] = ", ".join(self._methods())
        for name, value in problem.headers.items():
            self.set_header(name, value)
        self.set_status(problem.status)
        self.set_header("X-Request-Id", self.request_id)
        self.set_header("Content-Type", "application/problem+json")
        self.finish(msgspec.json.encode(problem.document(self.request_id)) + b"\n")

    async def head(self, *path: str) -> None:
        """As GET; Tornado leaves the body out."""
        if "GET" not in self._methods():
            raise web.HTTPError(HTTPStatus.METHOD_NOT_ALLOWED)
        await getattr(self, "get")(*path)  # noqa: B009  defined by subclasses

    def _methods(self) -> list[str]:
        own = [m for m in ("GET", "POST", "PUT", "PATCH", "DELETE") if getattr(type(self), m.lower()) is not _NONE]
        return [*own, "HEAD"] if "GET" in own else own

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Only what is our fault, or a store's, is logged."""
        if isinstance(value, Problem | web.HTTPError):
            return
        fields: dict[str, Any] = {
            "request_id": self.request_id,
            "path": self.request.path,
            "reason": str(value),
        }
        if not isinstance(value, PyMongoError | RedisError):
            fields["exception"] = "".join(traceback.format_exception(typ, value, tb))
        get_logger().error("request failed", **fields)

    def on_finish(self) -> None:
        """Counts the request under its route's name."""
        count = self.application.settings["on_request"]
        count(
            type(self).__name__.removesuffix("Handler").lower(),
            self.get_status(),
            self.request.request_time(),
        )


def _problem_of(error: Any, status_code: int) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, PyMongoError | RedisError) and not isinstance(error, DuplicateKeyError):
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "A store does not answer right now.", headers=headers)
    if isinstance(error, web.HTTPError):
        detail = "There is nothing here." if status_code == HTTPStatus.NOT_FOUND else error.reason or ""
        return Problem(status_code, detail or HTTPStatus(status_code).phrase + ".")
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Something failed here; the log has it under this request id.")
