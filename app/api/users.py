"""`/api/v1/users`: people who sign in: made, listed, changed, removed. May import: accounts."""

from __future__ import annotations

import base64
from collections.abc import Awaitable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.accounts import EmailTakenError, LastAdminError, Role, User, UserError
from app.api.fields import MomentField, shown
from app.api.handler import Handler
from app.api.operation import Answer, operation
from app.api.parameters import CURSOR, PAGE_DEFAULT, page_limit, wrong_cursor
from app.api.problems import FieldError, Problem, wrong_fields

__all__ = [
    "NewPassword",
    "UserHandler",
    "UserSessionsHandler",
    "UserTotpHandler",
    "UserView",
    "UsersHandler",
    "judged",
    "user_view",
]

T = TypeVar("T")
NO_USER = "There is no such user."
OUTLIVES = "A key that expires makes no admin and changes none: a session of theirs would make keys that do not."
LAST = "Nobody would be left who may do everything."
NewPassword = Annotated[str, shown("10 to 1,000 characters.", "correct horse battery", minLength=10, maxLength=1000)]


class NewUser(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a POST."""

    email: Annotated[str, shown("Unique, whatever the case.", "ada@example.com", maxLength=254)]
    role: Annotated[Role, Meta(description="A viewer reads, an editor changes links, an admin does everything.")]
    password: NewPassword


class UserChange(msgspec.Struct, forbid_unknown_fields=True):
    """What shall be changed; what is left out stays."""

    role: Role | UnsetType = UNSET
    disabled: Annotated[bool, Meta(description="Whether they cannot sign in.")] | UnsetType = UNSET
    password: NewPassword | UnsetType = UNSET


class UserView(msgspec.Struct, kw_only=True):
    """A user; a password is never shown."""

    id: Annotated[str, shown("Never used again.", "1f0c5a2b3d4e5f60")]
    email: Annotated[str, shown("As it was typed.", "ada@example.com")]
    role: Role
    disabled: bool
    totp: Annotated[bool, Meta(description="Whether signing in asks for a second factor.")]
    created_at: MomentField


class UserPage(msgspec.Struct):
    """Users in the order of their e-mails."""

    items: list[UserView]
    next_cursor: str | None


class PageQuery(msgspec.Struct):
    """Which page."""

    limit: Annotated[int, page_limit()] = PAGE_DEFAULT
    cursor: Annotated[str, Meta(max_length=1500, description=CURSOR)] = ""


class UserQuery(PageQuery):
    """Which users."""

    email: Annotated[str, Meta(max_length=254, description="The one with this e-mail alone, in whatever case.")] = ""


class UserBase(Handler):
    """What making and changing users share."""

    def check_end(self, *roles: Role | None) -> None:
        """Refuses a caller whose rights end and who would give all rights to somebody; raises Problem."""
        if self.caller.expires is not None and Role.ADMIN in roles:
            raise Problem(HTTPStatus.FORBIDDEN, OUTLIVES)

    async def check_change(self, id_: str, role: Role | None = None) -> None:
        """As `check_end`, of who would change a user, perhaps into one of another role."""
        former = await self.services.users.find(id_)
        self.check_end(role, None if former is None else former.role)


class UsersHandler(UserBase):
    """The collection."""

    @operation(
        {201: Answer(UserView, headers=("Location",))},
        body=NewUser,
        refuses={403: f"The key lacks the right. {OUTLIVES}", 409: "The e-mail is taken."},
    )
    async def post(self) -> None:
        """Make a user."""
        wish = self.decode(NewUser)
        self.check_end(wish.role)
        user = await judged(self.services.users.add(wish.email, wish.role, wish.password, self.author))
        self.set_header("Location", f"/api/v1/users/{user.id}")
        self.answer(user_view(user), HTTPStatus.CREATED)

    @operation({200: Answer(UserPage)}, query=UserQuery)
    async def get(self) -> None:
        """List users."""
        query = self.query(UserQuery)
        if query.email:
            user = await self.services.users.named(query.email)
            self.answer(UserPage([] if user is None else [user_view(user)], None))
            return
        found = await self.services.users.page(_read_cursor(query.cursor), query.limit + 1)
        items = found[: query.limit]
        following = None
        if len(found) > query.limit:
            following = base64.urlsafe_b64encode(items[-1].folded.encode()).decode()
        self.answer(UserPage([user_view(user) for user in items], following))


class UserHandler(UserBase):
    """One user."""

    @operation({200: Answer(UserView)}, refuses={404: NO_USER})
    async def get(self, id_: str) -> None:
        """Show a user."""
        user = await self.services.users.find(id_)
        if user is None:
            raise Problem(HTTPStatus.NOT_FOUND, NO_USER)
        self.answer(user_view(user))

    @operation(
        {200: Answer(UserView)},
        body=UserChange,
        refuses={403: f"The key lacks the right. {OUTLIVES}", 404: NO_USER, 409: LAST},
    )
    async def patch(self, id_: str) -> None:
        """Change a user.

        A new password, and being disabled, end all of their sessions within a second.
        """
        wish = self.decode(UserChange)
        role = None if wish.role is UNSET else wish.role
        disabled = None if wish.disabled is UNSET else wish.disabled
        if wish.password == "":
            raise wrong_fields([FieldError("password", "must be 10 to 1000 characters long")])
        password = "" if wish.password is UNSET else wish.password
        await self.check_change(id_, role)
        change = self.services.users.change(id_, self.author, role=role, disabled=disabled, password=password)
        user = await judged(change)
        if user is None:
            raise Problem(HTTPStatus.NOT_FOUND, NO_USER)
        self.answer(user_view(user))

    @operation({204: Answer()}, refuses={404: NO_USER, 409: LAST})
    async def delete(self, id_: str) -> None:
        """Remove a user.

        Their links stay.
        """
        if not await judged(self.services.users.remove(id_, self.author)):
            raise Problem(HTTPStatus.NOT_FOUND, NO_USER)
        self.answer_nothing()


class UserSessionsHandler(Handler):
    """The sessions of one user."""

    @operation({204: Answer()}, refuses={404: NO_USER})
    async def delete(self, id_: str) -> None:
        """Sign a user out everywhere."""
        if not await self.services.users.end_sessions(id_, self.author):
            raise Problem(HTTPStatus.NOT_FOUND, NO_USER)
        self.answer_nothing()


class UserTotpHandler(UserBase):
    """The second factor of one user."""

    @operation(
        {204: Answer()},
        refuses={
            403: f"The key lacks the right. {OUTLIVES}",
            404: "There is no such user, or they have no second factor.",
        },
    )
    async def delete(self, id_: str) -> None:
        """Take a user's second factor away.

        For who has lost both the app and the recovery codes: their password alone signs them in again.
        """
        await self.check_change(id_)
        if not await self.services.factors.end(id_, self.author):
            raise Problem(HTTPStatus.NOT_FOUND, "There is no such user, or they have no second factor.")
        self.answer_nothing()


async def judged(work: Awaitable[T]) -> T:
    """What `work` gives; what is wrong with a user becomes a Problem."""
    try:
        return await work
    except EmailTakenError as error:
        errors = [FieldError(error.field, str(error))]
        raise Problem(HTTPStatus.CONFLICT, "The e-mail belongs to another user.", errors) from error
    except UserError as error:
        raise wrong_fields([FieldError(error.field, str(error))]) from error
    except LastAdminError as error:
        raise Problem(HTTPStatus.CONFLICT, LAST) from error


def user_view(user: User) -> UserView:
    """A user for showing."""
    created_at = datetime.fromtimestamp(user.created, UTC)
    return UserView(
        id=user.id,
        email=user.email,
        role=user.role,
        disabled=user.disabled,
        totp=user.has_factor,
        created_at=created_at,
    )


def _read_cursor(text: str) -> str:
    try:
        return base64.b64decode(text, b"-_", validate=True).decode()
    except ValueError:
        raise wrong_cursor() from None
