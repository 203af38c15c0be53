"""Users: people who sign in, what each may do, and that one who may do everything always stays.

In: e-mails, roles and passwords. Out: documents of `users`; a note of each change in the audit log.

    email      as typed; `folded`, its folded case, is unique
    password   bcrypt over the base64 of a SHA-256, so that long passwords are not cut
    epoch      raised when all sessions of the user shall end (`sessions`)
    factor     the second factor (`factors`); None: there is none

Who changes or removes an administrator also writes one row that all of them write (`user_guard`): of two that do so at
once MongoDB lets one go first, and the other one counts again. An account that does not exist costs a sign-in the same
time as one that does. May import: audit, callers, totp, links (the threads that hash), stores.
"""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import msgspec
from pymongo import ASCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from app.accounts.audit import AuditLog, Author
from app.accounts.callers import Caller, Scope
from app.accounts.totp import Factor
from app.links import PasswordHasher
from app.stores import Database, Session, transact

__all__ = [
    "USERS",
    "USER_INDEXES",
    "EmailTakenError",
    "LastAdminError",
    "Role",
    "User",
    "UserBook",
    "UserError",
    "fold_email",
]

USERS = "users"
GUARD = "user_guard"
USER_INDEXES = [IndexModel([("folded", ASCENDING)], unique=True)]
CACHE_S = 1.0  # what was changed holds everywhere within this time
CACHE_MAX = 1_000
EMAIL_MAX = 254  # RFC 5321, 4.5.3.1.3, without the brackets
PASSWORD_MIN, PASSWORD_MAX = 10, 1_000
_EMAIL = re.compile(r"[^\s@\x00-\x1f\x7f]{1,64}@[^\s@\x00-\x1f\x7f.]+(\.[^\s@\x00-\x1f\x7f.]+)+")


class UserError(ValueError):
    """A user that cannot be; `field` is what is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class EmailTakenError(UserError):
    """The e-mail is another user's."""

    def __init__(self) -> None:
        super().__init__("email", "belongs to another user")


class LastAdminError(Exception):
    """Nobody would be left who may do everything."""


class Role(StrEnum):
    """What a user may do."""

    ADMIN = "admin"
    EDITOR = "editor"
    VIEWER = "viewer"


_SCOPES = {
    Role.ADMIN: frozenset({Scope.ADMIN}),
    Role.EDITOR: frozenset({Scope.LINKS_WRITE, Scope.STATS_READ}),
    Role.VIEWER: frozenset({Scope.LINKS_READ, Scope.STATS_READ}),
}


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user as stored; `created` is Unix seconds."""

    id: str
    email: str
    folded: str
    role: Role
    password: bytes
    created: int
    disabled: bool = False
    epoch: int = 0
    factor: Factor | None = None

    @property
    def has_factor(self) -> bool:
        """Whether signing in asks for a code."""
        return self.factor is not None and self.factor.is_active

    def caller(self) -> Caller:
        """Who calls in a session of this user."""
        return Caller(who=f"user:{self.id}", owner=self.id, scopes=_SCOPES[self.role])


class UserBook:
    """The users of one database.

    Args:
        cost: of bcrypt.
        token_hex: `secrets.token_hex`.
    """

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        hasher: PasswordHasher,
        *,
        cost: int,
        monotonic: Callable[[], float],
        now_s: Callable[[], float],
        token_hex: Callable[[int], str],
    ) -> None:
        self._database = database
        self._users = database[USERS]
        self._audit = audit
        self._hasher = hasher
        self._cost = cost
        self._nobody = b"$2b$%02d$" % cost + b"." * 53  # no password has this hash; to compare takes as long
        self._monotonic = monotonic
        self._now_s = now_s
        self._token_hex = token_hex
        self._known: dict[str, tuple[float, User]] = {}

    async def find(self, id_: str) -> User | None:
        """A user; what was found is remembered for CACHE_S."""
        until_s, known = self._known.get(id_, (0.0, None))
        if known is not None and self._monotonic() < until_s:
            return known
        self._known.pop(id_, None)
        row = await self._users.find_one({"_id": id_})
        if row is None:
            return None
        found = _from_row(row)
        if len(self._known) >= CACHE_MAX:
            self._known.clear()
        self._known[id_] = (self._monotonic() + CACHE_S, found)
        return found

    async def named(self, email: str) -> User | None:
        """The user with this e-mail, in whatever case."""
        row = await self._users.find_one({"folded": fold_email(email)})
        return None if row is None else _from_row(row)

    async def page(self, after: str, limit: int) -> list[User]:
        """Users in the order of their folded e-mails, behind `after`."""
        rows = self._users.find({"folded": {"$gt": after}}).sort("folded", ASCENDING).limit(limit)
        return [_from_row(row) async for row in rows]

    async def is_right(self, user: User | None, password: str) -> bool:
        """Whether this is the user's password; takes as long for nobody. Raises HasherBusyError."""
        is_possible = user is not None and len(password) <= PASSWORD_MAX
        hashed = self._nobody if user is None else user.password
        return await self._hasher.is_right(_digest(password[:PASSWORD_MAX]), hashed) and is_possible

    async def add(self, email: str, role: Role, password: str, author: Author) -> User:
        """Makes a user.

        Raises:
            UserError: an e-mail or password that cannot be had.
            HasherBusyError: too many passwords are being hashed.
        """
        return await self._insert(check_email(email), role, await self._hash(password), author)

    async def add_without_password(self, email: str, role: Role, author: Author) -> User:
        """Makes a user who signs in by the identity provider alone, until an admin gives them a password.

        Raises:
            UserError: as `add`.
        """
        return await self._insert(check_email(email), role, self._nobody, author)

    async def _insert(self, email: str, role: Role, hashed: bytes, author: Author) -> User:
        user = User(
            id=self._token_hex(8),
            email=email,
            folded=fold_email(email),
            role=role,
            password=hashed,
            created=int(self._now_s()),
        )
        new = {"email": user.email, "role": role.value}
        note = self._audit.note(author, "user.create", f"user:{user.id}", new=new)

        async def work(session: Session) -> None:
            await self._users.insert_one({"_id": user.id, **_to_row(user)}, session=session)
            await self._audit.write([note], session)

        try:
            await transact(self._database, work)
        except DuplicateKeyError as error:
            raise EmailTakenError from error
        return user

    async def change(
        self, id_: str, author: Author, *, role: Role | None = None, disabled: bool | None = None, password: str = ""
    ) -> User | None:
        """Changes a user, and ends their sessions if they are disabled or have a new password; None for nobody.

        Raises:
            LastAdminError: nothing was changed.
            UserError, HasherBusyError: as `add`.
        """
        wanted = {"role": role, "disabled": disabled, "password": await self._hash(password) if password else None}
        fields = {name: value for name, value in wanted.items() if value is not None}

        async def work(session: Session) -> User | None:
            row = await self._users.find_one({"_id": id_}, session=session)
            if row is None:
                return None
            old = _from_row(row)
            ends = bool(password) or (disabled is True and not old.disabled)
            new = msgspec.structs.replace(old, **fields, epoch=old.epoch + ends)
            await self._write(old, new, author, session)
            return new

        changed = await transact(self._database, work)
        self._known.pop(id_, None)
        return changed

    async def end_sessions(self, id_: str, author: Author) -> bool:
        """Ends all sessions of a user; False for nobody."""
        note = self._audit.note(author, "user.logout", f"user:{id_}")

        async def work(session: Session) -> bool:
            update = {"$inc": {"epoch": 1}}
            if not (await self._users.update_one({"_id": id_}, update, session=session)).matched_count:
                return False
            await self._audit.write([note], session)
            return True

        is_done = await transact(self._database, work)
        self._known.pop(id_, None)
        return is_done

    async def remove(self, id_: str, author: Author) -> bool:
        """Removes a user; False for nobody. Raises LastAdminError."""

        async def work(session: Session) -> bool:
            row = await self._users.find_one({"_id": id_}, session=session)
            if row is None:
                return False
            user = _from_row(row)
            await self._users.delete_one({"_id": id_}, session=session)
            await self._guard(user, None, session)
            old = {"email": user.email, "role": user.role.value}
            await self._audit.write([self._audit.note(author, "user.delete", f"user:{id_}", old=old)], session)
            return True

        is_done = await transact(self._database, work)
        self._known.pop(id_, None)
        return is_done

    async def _write(self, old: User, new: User, author: Author, session: Session) -> None:
        await self._users.replace_one({"_id": old.id}, _to_row(new), session=session)
        await self._guard(old, new, session)
        before, after = ({"role": user.role.value, "disabled": user.disabled} for user in (old, new))
        changed = [name for name in before if before[name] != after[name]]
        told = {name: after[name] for name in changed} | ({"password": True} if old.password != new.password else {})
        shown = {name: before[name] for name in changed} | ({"password": True} if "password" in told else {})
        note = self._audit.note(author, "user.update", f"user:{old.id}", old=shown, new=told)
        await self._audit.write([note], session)

    async def _guard(self, old: User, new: User | None, session: Session) -> None:
        """Raises LastAdminError when an administrator is one no more and was the last."""
        if not _is_admin(old) or _is_admin(new):
            return
        await self._database[GUARD].update_one({"_id": "admins"}, {"$inc": {"rev": 1}}, upsert=True, session=session)
        left = {"role": Role.ADMIN.value, "disabled": False}
        if await self._users.find_one(left, {"_id": 1}, session=session) is None:
            raise LastAdminError

    async def _hash(self, password: str) -> bytes:
        if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
            raise UserError("password", f"must be {PASSWORD_MIN} to {PASSWORD_MAX} characters long")
        return await self._hasher.hash(_digest(password), self._cost)


def check_email(text: str) -> str:
    """An e-mail as it is stored; raises UserError."""
    if len(text) > EMAIL_MAX or _EMAIL.fullmatch(text) is None:
        raise UserError("email", "must be an address such as ada@example.com")
    return text


def fold_email(text: str) -> str:
    """What two e-mails that are the same have in common.

    Of one that is too long for anybody's only so much as shows that: to normalise 160 kB of accents takes 9 s.
    """
    return unicodedata.normalize("NFKC", text[: EMAIL_MAX + 1]).casefold()


def _is_admin(user: User | None) -> bool:
    return user is not None and user.role is Role.ADMIN and not user.disabled


def _digest(password: str) -> str:
    """44 characters of any password; keyboards differ in how they write an umlaut, so NFC first."""
    text = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
    return base64.b64encode(hashlib.sha256(text).digest()).decode()


def _to_row(user: User) -> dict[str, Any]:
    """A user as stored, but for the id."""
    row: dict[str, Any] = msgspec.to_builtins(user, builtin_types=(bytes,))
    del row["id"]
    return row


def _from_row(row: Mapping[str, Any]) -> User:
    return msgspec.convert({**row, "id": row["_id"]}, User)
