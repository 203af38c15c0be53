"""`/api/v1/session/oidc`: signing in by an identity provider (OpenID Connect, authorization code with PKCE).

In: a browser that wants in, and later comes back from the provider. Out: the cookie of a session, as after a password,
and a page of this origin.

    GET /session/oidc             -> the provider, with a cookie of this flow for the way back (path: this route alone)
    GET /session/oidc/callback    state and cookie -> the flow, once; code -> ID token -> e-mail -> user -> session

Whoever comes back without the cookie that this browser got is refused, so nobody can be signed in as somebody else by a
URL that they follow. To come back is a try of the address, which a success gives back; to set out has its own limit.
May import: accounts, observe.
"""

from __future__ import annotations

import hashlib
import re
from http import HTTPStatus
from typing import Annotated

import msgspec
from msgspec import Meta

from app.accounts import (
    FLOW_S,
    FactorNeededError,
    Flow,
    NotLetInError,
    ProviderError,
    SignOn,
    TokenError,
    TooManyTriesError,
    User,
)
from app.api.fields import shown
from app.api.meter import too_many
from app.api.operation import Answer, operation
from app.api.problems import FieldError, Problem, wrong_fields
from app.api.session import REFUSALS, SessionBase
from app.observe import get_logger

__all__ = ["OidcCallbackHandler", "OidcHandler", "is_landing"]

COOKIE = "boltlink_oidc_"  # and a name of the flow: two windows may sign in at once
PATH = "/api/v1/session/oidc"
LANDING = "/api/v1/session"
#: First segments of pages of our own; a short link, which may lead anywhere, is none.
OWN_PAGES = (["api"], ["dashboard"], ["docs"])
VISIBLE = r"^[\x20-\x7e]*$"  # RFC 6749, appendix A; so that all of them, escaped, fit into a head
RETRY_AFTER_S = 5
OFF = "People sign in by password alone here: see BOLTLINK_OIDC_ISSUER."
STALE = "This browser did not begin this sign-in, or too long ago, or has ended it. Begin again."
NOT_LET_IN = "The identity provider vouches for nobody who may sign in here."
FACTOR = (
    "This account has a second factor, and the identity provider did not ask for one. Sign in by password and code."
)
FRAMED = "Not within another page."
AWAY = "The identity provider does not answer as it must."


class Start(msgspec.Struct):
    """Where to go at last."""

    return_to: Annotated[
        str, shown("A path of this instance: `/dashboard…`, `/docs…` or `/api…`.", LANDING, maxLength=1000)
    ] = LANDING


class ComeBack(msgspec.Struct):
    """What the provider sends a browser back with (RFC 6749, 4.1.2; RFC 9207)."""

    state: Annotated[str, Meta(description="Of the sign-in that was begun.", max_length=100, pattern=VISIBLE)] = ""
    code: Annotated[str, Meta(description="The provider gives tokens for it.", max_length=4_000, pattern=VISIBLE)] = ""
    error: Annotated[str, Meta(description="Why it gives none.", max_length=100, pattern=VISIBLE)] = ""
    iss: Annotated[str, Meta(description="Who sent the browser.", max_length=500, pattern=VISIBLE)] | None = None


class _OidcBase(SessionBase):
    """What both steps share."""

    @property
    def sign_on(self) -> SignOn:
        """How people sign in by the provider; raises Problem where they cannot."""
        if self.services.sign_on is None:
            raise Problem(HTTPStatus.NOT_FOUND, OFF)
        return self.services.sign_on

    def check_page(self) -> None:
        """Refuses what is not shown as a page of its own; raises Problem."""
        if self.request.headers.get("Sec-Fetch-Dest", "document") != "document":
            raise Problem(HTTPStatus.FORBIDDEN, FRAMED)

    def leave_for(self, url: str) -> None:
        """Sends the browser elsewhere, and tells nobody there where it was."""
        self.clear_header("Content-Type")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Location", url)
        self.set_status(HTTPStatus.FOUND)

    def away(self, error: ProviderError) -> Problem:
        """What a browser is told of a provider that fails; the reason is for the log."""
        get_logger().error("identity provider failed", reason=error.reason)
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, AWAY, headers={"Retry-After": str(RETRY_AFTER_S)})


class OidcHandler(_OidcBase):
    """A sign-in that is begun."""

    @operation(
        {302: Answer(says="To the identity provider.", headers=("Location", "Set-Cookie"))},
        query=Start,
        refuses={403: FRAMED, 404: OFF, 429: REFUSALS[429], 503: f"{AWAY} {REFUSALS[503]}"},
    )
    async def get(self) -> None:
        """Sign in by the identity provider.

        For browsers: they come back to `/api/v1/session/oidc/callback`, and then to `return_to`, with a session.
        """
        sign_on = self.sign_on
        landing = self.query(Start).return_to
        if not is_landing(landing):
            raise wrong_fields([FieldError("return_to", "must be a path of this instance, such as /dashboard")])
        self.check_page()
        try:
            await self.services.tries.begin(self.network)
            begun = await sign_on.flows.begin(landing)
            flow = begun.flow
            url = await sign_on.provider.sign_in_url(state=begun.state, nonce=flow.nonce, verifier=flow.verifier)
        except TooManyTriesError as error:
            raise too_many("Too many have begun to sign in from this address.", error.grant) from error
        except ProviderError as error:
            raise self.away(error) from error
        name, secret = cookie_of(begun.state), begun.secret
        self.set_cookie(name, secret, path=PATH, max_age=FLOW_S, httponly=True, secure=self.is_tls, samesite="Lax")
        self.leave_for(url)


class OidcCallbackHandler(_OidcBase):
    """A browser that comes back."""

    @operation(
        {302: Answer(says="To where it wanted to go, with a session.", headers=("Location", "Set-Cookie"))},
        query=ComeBack,
        refuses={
            401: f"{NOT_LET_IN} {STALE}",
            403: f"{FACTOR} {FRAMED}",
            404: OFF,
            429: REFUSALS[429],
            503: f"{AWAY} {REFUSALS[503]}",
        },
    )
    async def get(self) -> None:
        """Come back from the identity provider.

        The provider sends browsers here; each `state` is of use once, to the browser that began with it.
        """
        self.check_page()
        try:
            async with self.trying() as tried:
                flow, user = await self._arrive(self.sign_on, self.query(ComeBack))
                tried.is_right = True
        except ProviderError as error:
            raise self.away(error) from error
        await self.begin_session(user, "oidc")
        self.leave_for(flow.landing)

    async def _arrive(self, sign_on: SignOn, back: ComeBack) -> tuple[Flow, User]:
        """The flow that was begun, and whose account it leads to; raises Problem, ProviderError."""
        name = cookie_of(back.state)
        flow = await sign_on.flows.take(back.state, self.get_cookie(name, ""))
        if flow is None:
            raise Problem(HTTPStatus.UNAUTHORIZED, STALE)
        self.clear_cookie(name, path=PATH)
        if not back.code:
            raise await self._refused(f"provider: {_word(back.error)}")
        try:
            identity = await sign_on.provider.identify(
                back.code, verifier=flow.verifier, nonce=flow.nonce, issuer=back.iss
            )
            return flow, await sign_on.admit(identity, self.author_of(None))
        except TokenError as error:
            raise await self._refused(str(error)) from error
        except FactorNeededError as error:
            await self.note_failure(error.user, by="oidc", reason=error.reason)
            raise Problem(HTTPStatus.FORBIDDEN, FACTOR) from error
        except NotLetInError as error:
            raise await self._refused(error.reason, error.user) from error

    async def _refused(self, reason: str, user: User | None = None) -> Problem:
        """What a browser is told, with a note of why in the audit log."""
        await self.note_failure(user, by="oidc", reason=reason)
        return Problem(HTTPStatus.UNAUTHORIZED, NOT_LET_IN)


def is_landing(path: str) -> bool:
    """Whether a path leads to a page of our own in whatever way a browser reads it."""
    if not path.isascii() or not path.isprintable() or " " in path or "\\" in path:
        return False
    segments = re.sub("%2e", ".", re.split("[?#]", path)[0], flags=re.IGNORECASE).split("/")
    return segments[0] == "" and segments[1:2] in OWN_PAGES and not {".", ".."} & set(segments)


def cookie_of(state: str) -> str:
    """The name of the cookie of a flow."""
    return COOKIE + hashlib.sha256(state.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _word(error: str) -> str:
    """An error code of a provider (RFC 6749, 4.1.2.1), or that it is none."""
    return error if re.fullmatch(r"[a-z_]{1,64}", error) else "no code"
