"""`/api/v1/session/totp`: one's own second factor: begun, confirmed by a first code, taken away.

In: one's own password, and codes. Out: the secret and the recovery codes, each shown once. Tries are limited as those
of signing in. A session alone, which somebody may have found open, neither begins nor ends a factor: that takes the
password. May import: accounts.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import msgspec
from msgspec import Meta

from app.accounts import User
from app.api.fields import shown
from app.api.operation import Answer, operation
from app.api.problems import Problem
from app.api.session import ELSEWHERE, NONE, REFUSALS, CodeField, SessionBase
from app.api.users import judged

__all__ = ["SessionTotpConfirmHandler", "SessionTotpDeleteHandler", "SessionTotpHandler"]

WRONG = "The password or the code is not right."
ACTIVE = "There is a second factor already."


class Password(msgspec.Struct, forbid_unknown_fields=True):
    """The body that begins a second factor."""

    password: Annotated[str, Meta(description="One's own.")]


class Code(msgspec.Struct, forbid_unknown_fields=True):
    """The body that confirms a second factor."""

    code: CodeField


class PasswordAndCode(msgspec.Struct, forbid_unknown_fields=True):
    """The body that takes a second factor away."""

    password: Annotated[str, Meta(description="One's own.")]
    code: CodeField


class TotpSecret(msgspec.Struct):
    """What an authenticator app needs; shown this once."""

    secret: Annotated[str, shown("In base32.", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")]
    uri: Annotated[
        str,
        shown(
            "The same as a URI, to be shown as a QR code.",
            "otpauth://totp/BoltLink:ada%40example.com?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=BoltLink",
        ),
    ]


class RecoveryCodes(msgspec.Struct):
    """Recovery codes; shown this once."""

    recovery_codes: Annotated[
        list[str], Meta(description="Each signs in once, in place of a code.", examples=[["k3xq-7vd2-mmaz-p4ht"]])
    ]


class _TotpBase(SessionBase):
    """Whoever is signed in, and their tries."""

    async def owner(self) -> User:
        """Who is signed in and asks from a page of this origin; raises Problem."""
        user = await self.signed_in()
        self.check_origin_of_page(is_needed=True)
        return user

    async def is_password(self, user: User, password: str) -> bool:
        """Whether it is their password; raises Problem."""
        return await judged(self.services.users.is_right(user, password))


class SessionTotpHandler(_TotpBase):
    """A factor that is begun."""

    @operation(
        {200: Answer(TotpSecret)},
        body=Password,
        refuses={**REFUSALS, 401: NONE, 403: f"{WRONG} {ELSEWHERE}", 409: ACTIVE},
        needs_session=True,
    )
    async def post(self) -> None:
        """Begin a second factor.

        Nothing asks for it before a code of it has confirmed it. Begun again, the earlier secret is worth nothing.
        """
        user = await self.owner()
        wish = self.decode(Password)
        async with self.trying(user.email) as tried:
            if not await self.is_password(user, wish.password):
                raise Problem(HTTPStatus.FORBIDDEN, WRONG)
            tried.is_right = True
        factor = await self.services.factors.begin(user)
        if factor is None:
            raise Problem(HTTPStatus.CONFLICT, ACTIVE)
        self.answer(TotpSecret(factor.secret, factor.uri(user.email)))


class SessionTotpConfirmHandler(_TotpBase):
    """A factor that becomes active."""

    @operation(
        {200: Answer(RecoveryCodes)},
        body=Code,
        refuses={**REFUSALS, 401: NONE, 403: f"{WRONG} {ELSEWHERE}"},
        needs_session=True,
    )
    async def post(self) -> None:
        """Confirm a second factor by its first code.

        From now on signing in asks for a code. The ten recovery codes are shown this once.
        """
        user = await self.owner()
        wish = self.decode(Code)
        async with self.trying(user.email) as tried:
            codes = await self.services.factors.confirm(user, wish.code, self.author_of(user))
            if codes is None:
                raise Problem(HTTPStatus.FORBIDDEN, WRONG)
            tried.is_right = True
        self.answer(RecoveryCodes(codes))


class SessionTotpDeleteHandler(_TotpBase):
    """A factor that is taken away."""

    @operation(
        {204: Answer()},
        body=PasswordAndCode,
        refuses={**REFUSALS, 401: NONE, 403: f"{WRONG} {ELSEWHERE}"},
        needs_session=True,
    )
    async def post(self) -> None:
        """Take one's own second factor away, by password and code."""
        user = await self.owner()
        wish = self.decode(PasswordAndCode)
        factors = self.services.factors
        async with self.trying(user.email) as tried:
            if not await self.is_password(user, wish.password) or not await factors.use(user, wish.code):
                raise Problem(HTTPStatus.FORBIDDEN, WRONG)
            tried.is_right = True
        await factors.end(user.id, self.author_of(user))
        self.answer_nothing()
