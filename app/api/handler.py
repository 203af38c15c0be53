"""What all handlers share: who is calling, bodies, answers, errors, and a line in the log for what failed.

In: requests from Tornado's Application. Out: JSON, or problem+json with a request id.
Every answer carries `X-Request-Id`; the same id stands in the log line of a failure.

    before a handler runs    a preflight is answered; a key is asked for, of an address that has not failed too often;
                             the right that the routing table names is asked for;
                             the request is charged for (`app.api.meter`)

May import: accounts, agents, feed, limits, links, observe, redirect, stores.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from pymongo.errors import DuplicateKeyError, PyMongoError
from redis.exceptions import RedisError
from tornado import web

from app.accounts import NOBODY, ApiKey, Author, Caller, Scope, User
from app.agents import network_of
from app.api.cors import allowed_origin, cors_fields, preflight_fields
from app.api.headers import COOKIE
from app.api.meter import charges_of_address, charges_of_caller, pay, too_many
from app.api.operation import operation_of
from app.api.parameters import NoQuery, read_query
from app.api.problems import PROBLEM_MEDIA, FieldError, Problem, decode_body, decode_object, phrase_of, wrong_fields
from app.api.repeats import Claim, Repeats, Said
from app.api.services import Services
from app.limits import Bucket, Rate
from app.links import DomainError, HasherBusyError, Link, join_key, normalise_domain, split_key
from app.observe import (
    OFF,
    REQUEST_ID_FIELD,
    TRACEPARENT,
    begin,
    bind_request,
    enter,
    get_logger,
    is_tracing,
    parent_of,
    request_id_of,
)

__all__ = ["COOKIE", "Handler"]

T = TypeVar("T", bound=msgspec.Struct)
RETRY_AFTER_S = 2
FAILURES = Rate(burst=30, every_s=2.0)  # calls without a valid key, of one address
_REPEATED = ("Content-Type", "Location", "ETag")
_OUR_FAULT = HTTPStatus.INTERNAL_SERVER_ERROR
_NONE = web.RequestHandler.get  # what Tornado puts where a method is not defined


class Handler(web.RequestHandler):
    """Base of every handler. `services` comes from the routing table.

    Attributes:
        seed: of a request that may come again: what is made at random is made of it.
        answered: the JSON body that was sent.
        is_unfinished: a part of the request failed and might not if it came again.
        is_public: whether everyone is served; then `is_metered` says whether an address may do so only so often.
        cost: of what a key may do at all.
        kind: of calls that are limited together; "": a read or a write, as the method says.
    """

    is_public = False
    is_metered = True
    is_traced = True
    cost = 1
    kind = ""
    caller: Caller = NOBODY
    span = OFF
    seed: bytes | None = None
    answered = b""
    is_unfinished = False
    _query: msgspec.Struct = NoQuery()

    def initialize(self, services: Services, needs: Mapping[str, Scope]) -> None:
        self.services = services
        self._needs = needs
        self.request_id = request_id_of(self.request.headers.get(REQUEST_ID_FIELD))

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        for name, value in cors_fields(self.request.headers.get("Origin"), self._origins):
            self.set_header(name, value)
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")

    @property
    def _origins(self) -> tuple[str, ...]:
        """Origins that may call; Tornado wants headers before `initialize` has run."""
        origins: tuple[str, ...] = self.application.settings["cors_origins"]
        return origins

    async def prepare(self) -> None:
        """Lets nobody in without a key, except where the handler is public, and nobody too often."""
        bind_request(self.request_id)
        if self.is_traced and is_tracing():
            self._begin_span()
        self.set_header(REQUEST_ID_FIELD, self.request_id)
        if self.request.method == "OPTIONS":
            self._answer_preflight()
            return
        if not self.is_public:
            await self.identify()
            await self._pay()
            self._check_right()
        elif self.is_metered:
            await self._pay_as_address()
        declared = operation_of(type(self), self.request.method)
        if declared is not None:
            self._query = read_query(self.request.query_arguments, declared.query, is_strict=not self.is_public)

    def _begin_span(self) -> None:
        """Everything that this request asks of stores is a part of it, and its log lines hold its trace's id."""
        method = self.request.method or ""
        attributes = {"http.request.method": method, "http.route": self.route, "boltlink.request_id": self.request_id}
        parent = parent_of(self.request.headers.get(TRACEPARENT))
        self.span = begin(f"{method} {self.route}", attributes, parent=parent, is_request=True)
        enter(self.span)

    @property
    def route(self) -> str:
        """Its name in metrics and traces."""
        return type(self).__name__.removesuffix("Handler").lower()

    def _answer_preflight(self) -> None:
        headers = self.request.headers
        if not self._origins or "Access-Control-Request-Method" not in headers:
            raise web.HTTPError(HTTPStatus.METHOD_NOT_ALLOWED)
        if allowed_origin(headers.get("Origin"), self._origins) is None:
            raise Problem(HTTPStatus.FORBIDDEN, "Pages of this origin may not call: see BOLTLINK_CORS_ORIGINS.")
        for name, value in preflight_fields(self._methods()):
            self.set_header(name, value)
        self.answer_nothing()
        self.finish()

    async def identify(self) -> None:
        """Finds out who calls: by a key, or by a session of a page of this origin. Raises Problem."""
        if "Authorization" not in self.request.headers and (user := await self.find_user()) is not None:
            if self.request.method not in ("GET", "HEAD"):
                self.check_origin_of_page(is_needed=True)
            self.caller = user.caller()
            return
        key = await self._find_key()
        self.caller = key.caller()
        self.services.keys.note_use(key)

    async def find_user(self) -> User | None:
        """Who is signed in."""
        token = self.get_cookie(COOKIE, "")
        return await self.services.sessions.find(token) if token else None

    def check_origin_of_page(self, *, is_needed: bool) -> None:
        """Refuses a page of another origin, and with `is_needed` whoever does not say of which; raises Problem."""
        headers = self.request.headers
        site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
        own = (f"{self.request.protocol}://{self.request.host}", self.services.settings.public_url)
        is_same = site == "same-origin" if site is not None else origin in own
        if not is_same and (is_needed or site is not None or origin is not None):
            raise Problem(HTTPStatus.FORBIDDEN, "A page of another origin asked.")

    async def _find_key(self) -> ApiKey:
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
        if not token:
            await self._pay_as_address()
        found = (self.services.keys.recall(token) or await self._look_up(token)) if token else None
        if found is None:
            detail = "This API key is not valid." if token else "An API key is needed: Authorization: Bearer KEY."
            headers = {"WWW-Authenticate": 'Bearer realm="boltlink"'}
            raise Problem(HTTPStatus.UNAUTHORIZED, detail, headers=headers)
        return found

    async def _look_up(self, token: str) -> ApiKey | None:
        """Asks the database for a key, unless too many from this address were not valid."""
        bucket = Bucket(f"fail:{network_of(self.request.remote_ip or '')}", FAILURES)
        has_paid = False

        async def admit() -> None:
            nonlocal has_paid
            grant = await self.services.limiter.take(bucket)
            if not grant.taken:
                raise too_many("Too many keys that are not valid came from this address.", grant)
            has_paid = True

        found = await self.services.keys.find(token, admit)
        if found is not None and has_paid:  # a valid key is no failure
            await self.services.limiter.give_back(bucket)
        return found

    def _check_right(self) -> None:
        """Refuses who lacks the right that the routing table names for this method (RFC 6750, 3.1)."""
        need = self._needs.get("GET" if self.request.method == "HEAD" else self.request.method or "")
        if need is not None and not self.caller.may(need):
            headers = {"WWW-Authenticate": f'Bearer realm="boltlink", error="insufficient_scope", scope="{need}"'}
            raise Problem(HTTPStatus.FORBIDDEN, f"There is no right to this: it needs {need}.", headers=headers)

    async def _pay(self) -> None:
        """Charges who calls, and says what is left."""
        kind = self.kind or ("read" if self.request.method in ("GET", "HEAD") else "write")
        charges = charges_of_caller(self.services.settings, self.caller.who, kind, self.cost)
        self._say(await pay(self.services.quota, charges))

    async def _pay_as_address(self) -> None:
        """Charges an address that calls without a key, and says what is left."""
        charges = charges_of_address(self.services.settings, self.request.remote_ip or "")
        self._say(await pay(self.services.quota, charges))

    def _say(self, fields: Mapping[str, str]) -> None:
        for name, value in fields.items():
            self.set_header(name, value)

    @property
    def author(self) -> Author:
        """Who the audit log names for what this request changes."""
        return self._author_named(self.caller.who)

    def author_of(self, user: User | None) -> Author:
        """As `author`, for a user who signs in or out; None: nobody in particular."""
        return self._author_named("system" if user is None else f"user:{user.id}")

    def _author_named(self, who: str) -> Author:
        address = self.request.remote_ip or "" if self.services.settings.audit_addresses == "on" else ""
        return Author(who, self.request_id, address)

    def decode(self, kind: type[T]) -> T:
        """The body as `kind`; raises Problem."""
        self.check_media()
        return decode_body(self.request.body, kind)

    def decode_object(self) -> dict[str, Any]:
        """The JSON object of the body; raises Problem."""
        self.check_media()
        return decode_object(self.request.body)

    async def once(self, work: Callable[[], Awaitable[None]]) -> None:
        """Does a request, or with an `Idempotency-Key` that was used gives the answer that it had."""
        key = self.request.headers.get("Idempotency-Key")
        if key is None:
            await work()
            return
        repeats = Repeats(self.services.database)
        request = f"{self.request.method} {self.request.uri}\n".encode() + self.body()
        claim = await repeats.claim(self.caller.who, key, request)
        if isinstance(claim, Said):
            self._repeat(claim)
            return
        self.seed = claim.seed
        try:
            await work()
        except BaseException as error:
            await self._give_up(
                repeats, claim, is_nothing_done=isinstance(error, Problem) and error.status < _OUR_FAULT
            )
            raise
        if self.is_unfinished:
            await self._give_up(repeats, claim, is_nothing_done=False)
            return
        headers = {name: self._headers[name] for name in _REPEATED if name in self._headers}
        with suppress(PyMongoError):  # then a repetition does it again, and finds what this one made
            await repeats.finish(claim, Said(self.get_status(), headers, self.answered))

    def _repeat(self, said: Said) -> None:
        for name, value in said.headers.items():
            self.set_header(name, value)
        self.set_status(said.status)
        self.write(said.body)

    async def _give_up(self, repeats: Repeats, claim: Claim, *, is_nothing_done: bool) -> None:
        with suppress(PyMongoError):  # then the next one waits for LEASE_S
            await repeats.give_up(claim, is_nothing_done=is_nothing_done)

    def body(self) -> bytes:
        """The whole body of the request."""
        return self.request.body

    def check_media(self) -> None:
        """Refuses a body that is declared as something else than JSON; raises Problem."""
        media = self.request.headers.get("Content-Type", "application/json").partition(";")[0].strip().lower()
        # curl -d says "form" of whatever it sends; what counts is that the body is JSON.
        if media not in ("application/json", "application/x-www-form-urlencoded") and not media.endswith("+json"):
            raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must be application/json.")

    def query(self, kind: type[T]) -> T:
        """The parameters of the query, as the method declares them."""
        assert isinstance(self._query, kind)
        return self._query

    def domain_named(self, text: str) -> str:
        """A domain of a query as links have it; "" is the default one. Raises Problem."""
        try:
            return normalise_domain(text) if text else ""
        except DomainError as error:
            raise wrong_fields([FieldError("domain", str(error))]) from error

    def key_of(self, slug: str, domain: str) -> str:
        """The key of a link, of the slug and domain of a request; raises Problem."""
        return join_key(self.domain_named(domain), slug)

    async def find_link(self, key: str) -> Link:
        """The living link of a key, if it is the caller's to see; raises Problem."""
        for spelling in self.spellings(key):
            if (link := await self.services.links.get(spelling)) is not None and self.caller.sees(link):
                return link
        raise Problem(HTTPStatus.NOT_FOUND, "There is no such link.")

    def spellings(self, key: str) -> Sequence[str]:
        """Keys of which the first that a link has is meant: as it is, then as its domain folds slugs."""
        domain, slug = split_key(key)
        folded = join_key(domain, self.services.domains.options_of(domain).fold(slug))
        return (key,) if folded == key else (key, folded)

    def answer(self, body: Any, status: int = HTTPStatus.OK) -> None:
        """Sends a JSON body."""
        self.answer_encoded(msgspec.json.encode(body) + b"\n", status)

    def answer_encoded(self, body: bytes, status: int = HTTPStatus.OK) -> None:
        """Sends a body that is JSON already."""
        self.set_status(status)
        self.write(body)
        self.answered = body
        self.spare_known()

    def answer_nothing(self) -> None:
        """Sends 204."""
        self.clear_header("Content-Type")
        self.set_status(HTTPStatus.NO_CONTENT)

    def spare_known(self) -> None:
        """Says 304 instead of what `If-None-Match` says is known; without an ETag, Tornado makes one in time."""
        is_read = self.request.method in ("GET", "HEAD") and self.get_status() == HTTPStatus.OK
        if is_read and self.check_etag_header():
            self._write_buffer = []
            self.set_status(HTTPStatus.NOT_MODIFIED)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Every failure becomes a problem document."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        problem = _problem_of(error, status_code)
        if problem.status is HTTPStatus.METHOD_NOT_ALLOWED:
            problem.headers["Allow"] = ", ".join(self._methods())
        for name, value in problem.headers.items():
            self.set_header(name, value)
        self.set_status(problem.status)
        self.set_header(REQUEST_ID_FIELD, self.request_id)
        self.set_header("Content-Type", PROBLEM_MEDIA)
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
        if isinstance(value, Problem | HasherBusyError | web.HTTPError):
            return
        fields = {"path": self.request.path, "reason": str(value)}
        if not isinstance(value, PyMongoError | RedisError):
            fields["exception"] = "".join(traceback.format_exception(typ, value, tb))
        get_logger().error("request failed", **fields)

    def on_finish(self) -> None:
        """Counts the request under its route's name."""
        count = self.application.settings["on_request"]
        status = self.get_status()
        count(self.route, status, self.request.request_time())
        self.span.set("http.response.status_code", status)
        self.span.end(str(status) if status >= _OUR_FAULT else None)


def _problem_of(error: Any, status_code: int) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, PyMongoError | RedisError) and not isinstance(error, DuplicateKeyError):
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "A store does not answer right now.", headers=headers)
    if isinstance(error, HasherBusyError):
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        detail = "Too many passwords are being hashed right now."
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers)
    if isinstance(error, web.HTTPError):
        detail = "There is nothing here." if status_code == HTTPStatus.NOT_FOUND else error.reason or ""
        return Problem(status_code, detail or phrase_of(status_code) + ".")
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Something failed here; the log has it under this request id.")
