"""`/api/v1/session`: signing in, who is signed in, signing out, one's own password.

In: an e-mail, a password, and the code of a second factor. Out: a cookie that only the API gets (`Path=/api/v1`), never
a redirect or a script. Tries are limited (`app.accounts.tries`); nothing tells whether an account exists, by word or by
time. May import: accounts, agents.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated

import msgspec
from msgspec import Meta

from app.accounts import TooManyTriesError, Try, User
from app.agents import network_of
from app.api.fields import shown
from app.api.handler import COOKIE, Handler
from app.api.meter import too_many
from app.api.operation import Answer, operation
from app.api.problems import FieldError, Problem, wrong_fields
from app.api.users import NewPassword, UserView, judged, user_view

__all__ = [
    "ELSEWHERE",
    "NONE",
    "REFUSALS",
    "CodeField",
    "SessionBase",
    "SessionHandler",
    "SessionPasswordHandler",
]

PATH = "/api/v1"
WRONG = "The e-mail or the password is not right, or the account is disabled."
NONE = "Nobody is signed in."
ELSEWHERE = "A page of another origin asked."
REFUSALS = {429: "Too many tries.", 503: "A store does not answer."}
CODE = "The account has a second factor, and its code was left out, is not right, or was used."
CodeField = Annotated[
    str,
    shown("Six digits of the authenticator app, each used once, or a recovery code.", "287082", maxLength=64),
]


class Login(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a POST."""

    email: str
    password: str
    code: Annotated[CodeField, Meta(description="Of the second factor, for an account that has one.")] = ""


class PasswordChange(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a change of one's own password."""

    old: str
    new: NewPassword


class SessionBase(Handler):
    """What signing in and changing a password share."""

    is_public = True

    @asynccontextmanager
    async def trying(self, email: str = "") -> AsyncIterator[Try]:
        """A try of this address, at an account if there is an e-mail; raises Problem."""
        try:
            async with self.services.tries.one(self.network, email) as made:
                yield made
        except TooManyTriesError as error:
            detail = "Too many have tried to sign in to this account, or from this address."
            raise too_many(detail, error.grant) from error

    async def begin_session(self, user: User, by: str) -> None:
        """Signs somebody in: a cookie that is HttpOnly, and Secure wherever the client's end speaks TLS."""
        services = self.services
        token = await services.sessions.begin(user)
        note = services.audit.note(self.author_of(user), "login", _subject(user), new={"by": by})
        await services.audit.add(note)
        age_s = services.sessions.life_s
        self.set_cookie(COOKIE, token, path=PATH, max_age=age_s, httponly=True, secure=self.is_tls, samesite="Lax")

    async def note_failure(self, user: User | None, **why: str) -> None:
        """Has the audit log say that somebody was not let in."""
        audit = self.services.audit
        await audit.add(audit.note(self.author_of(None), "login.failed", _subject(user), new=why))

    @property
    def network(self) -> str:
        """Where tries are counted for."""
        return network_of(self.request.remote_ip or "")

    @property
    def is_tls(self) -> bool:
        """Whether cookies are for TLS alone."""
        return self.request.protocol == "https" or self.services.settings.public_url.startswith("https://")

    async def signed_in(self) -> User:
        """Who is signed in; raises Problem."""
        user = await self.find_user()
        if user is None:
            raise Problem(HTTPStatus.UNAUTHORIZED, NONE)
        return user


class SessionHandler(SessionBase):
    """The session of whoever calls."""

    @operation(
        {200: Answer(UserView, headers=("Set-Cookie",))},
        body=Login,
        refuses={**REFUSALS, 401: f"{WRONG} {CODE}", 403: ELSEWHERE},
    )
    async def post(self) -> None:
        """Sign in.

        Sets a cookie that the API alone gets, and no script. Of an account with a second factor, `errors` name `code`
        when the password is right and the code is missing or wrong.
        """
        self.check_origin_of_page(is_needed=False)
        wish = self.decode(Login)
        async with self.trying(wish.email) as tried:
            user = await self._find(wish)
            tried.is_right, tried.is_half = True, user.has_factor and not wish.code
        if tried.is_half:  # no guess: a page asks for the code when it knows that there is one
            raise Problem(HTTPStatus.UNAUTHORIZED, CODE, [FieldError("code", "is required")])
        await self.begin_session(user, "password")
        self.answer(user_view(user))

    async def _find(self, wish: Login) -> User:
        """Whose password, and code if there is one, these are; raises Problem."""
        services = self.services
        user = await services.users.named(wish.email)
        if not await judged(services.users.is_right(user, wish.password)) or user is None or user.disabled:
            await self.note_failure(user, by="password")
            raise Problem(HTTPStatus.UNAUTHORIZED, WRONG)
        if user.has_factor and wish.code and not await services.factors.use(user, wish.code):
            await self.note_failure(user, by="password", reason="code")
            raise Problem(HTTPStatus.UNAUTHORIZED, CODE, [FieldError("code", "is not right, or was used")])
        return user

    @operation({200: Answer(UserView)}, refuses={401: NONE, 503: REFUSALS[503]}, needs_session=True)
    async def get(self) -> None:
        """Show who is signed in."""
        self.answer(user_view(await self.signed_in()))

    @operation(
        {204: Answer(headers=("Set-Cookie",))},
        refuses={401: NONE, 403: ELSEWHERE, 503: REFUSALS[503]},
        needs_session=True,
    )
    async def delete(self) -> None:
        """Sign out."""
        user = await self.signed_in()
        self.check_origin_of_page(is_needed=True)
        await self.services.sessions.end(self.get_cookie(COOKIE, ""))
        await self.services.audit.add(self.services.audit.note(self.author_of(user), "logout", _subject(user)))
        self.clear_cookie(COOKIE, path=PATH)
        self.answer_nothing()


class SessionPasswordHandler(SessionBase):
    """The password of whoever is signed in."""

    @operation(
        {204: Answer()},
        body=PasswordChange,
        refuses={**REFUSALS, 401: NONE, 403: f"The old password is not right. {ELSEWHERE}"},
        needs_session=True,
    )
    async def post(self) -> None:
        """Change one's own password.

        It needs the old one, and ends all sessions, this one too.
        """
        user = await self.signed_in()
        self.check_origin_of_page(is_needed=True)
        wish = self.decode(PasswordChange)
        async with self.trying(user.email) as tried:
            if not await judged(self.services.users.is_right(user, wish.old)):
                raise Problem(HTTPStatus.FORBIDDEN, "The old password is not right.")
            tried.is_right = True
        if not wish.new:
            raise wrong_fields([FieldError("new", "must be 10 to 1000 characters long")])
        await judged(self.services.users.change(user.id, self.author_of(user), password=wish.new))
        self.answer_nothing()


def _subject(user: User | None) -> str:
    return f"user:{'' if user is None else user.id}"
