"""Second factors in MongoDB: begun, made active by a first code, used, taken away.

In: a user and a code. Out: whether it was right; a note of what was switched on or off in the audit log.

    none     -> pending   begin: a secret, which is shown this once and asks nobody for anything yet
    pending  -> pending   begin again: another secret
    pending  -> active    confirm: a code shows that the app has the secret; recovery codes are shown this once
    active   -> none      end: by their own password and a code, or by an administrator

A code is used by one conditional write: of sign-ins with the same code in parallel, on any nodes, MongoDB lets one
match. May import: audit, totp, users, stores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from app.accounts.audit import AuditLog, Author
from app.accounts.totp import Factor, hash_recovery, is_digits, make_recovery, make_secret, plain
from app.accounts.users import USERS, User
from app.stores import Database, Session, transact

__all__ = ["SecondFactors"]


class SecondFactors:
    """Second factors of the users of one database. `token_bytes` is `secrets.token_bytes`."""

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        *,
        now_s: Callable[[], float],
        token_bytes: Callable[[int], bytes],
    ) -> None:
        self._database = database
        self._users = database[USERS]
        self._audit = audit
        self._now_s = now_s
        self._token_bytes = token_bytes

    async def begin(self, user: User) -> Factor | None:
        """A new secret, pending; None when a factor is active, which stays."""
        factor = Factor(secret=make_secret(self._token_bytes))
        query = {"_id": user.id, "factor.is_active": {"$ne": True}}
        done = await self._users.update_one(
            query, {"$set": {"factor": msgspec.to_builtins(factor, builtin_types=(bytes,))}}
        )
        return factor if done.matched_count else None

    async def confirm(self, user: User, code: str, author: Author) -> list[str] | None:
        """Makes a pending factor active and gives its recovery codes; None for a wrong code."""
        pending = await self._of(user)
        step = None if pending is None or pending.is_active else pending.find_step(plain(code), self._now_s())
        if pending is None or step is None:
            return None
        codes = make_recovery(self._token_bytes)
        hashes = [hash_recovery(text) for text in codes]
        query = {"factor.secret": pending.secret, "factor.is_active": False}
        change = {"$set": {"factor.is_active": True, "factor.step": step, "factor.recovery": hashes}}
        return codes if await self._write(user.id, query, change, "totp.enable", author) else None

    async def use(self, user: User, code: str) -> bool:
        """Whether a code of the time, or a recovery code, is right; it is so once."""
        factor = await self._of(user)
        if factor is None or not factor.is_active:
            return False
        text = plain(code)
        query: dict[str, Any] = {"_id": user.id, "factor.secret": factor.secret}
        if not is_digits(text):
            hashed = hash_recovery(text)
            pull = {"$pull": {"factor.recovery": hashed}}
            done = await self._users.update_one({**query, "factor.recovery": hashed}, pull)
            return bool(done.modified_count)
        step = factor.find_step(text, self._now_s())
        if step is None:
            return False
        newer = {**query, "factor.step": {"$lt": step}}
        return bool((await self._users.update_one(newer, {"$set": {"factor.step": step}})).modified_count)

    async def end(self, id_: str, author: Author) -> bool:
        """Takes a factor away, pending or active; False when there is none."""
        return await self._write(id_, {"factor": {"$ne": None}}, {"$unset": {"factor": ""}}, "totp.disable", author)

    async def _of(self, user: User) -> Factor | None:
        row = await self._users.find_one({"_id": user.id}, {"factor": 1})
        return msgspec.convert(row["factor"], Factor) if row is not None and row.get("factor") else None

    async def _write(self, id_: str, query: dict[str, Any], change: dict[str, Any], what: str, author: Author) -> bool:
        """A change of what the query finds, with its note."""
        note = self._audit.note(author, what, f"user:{id_}")

        async def work(session: Session) -> bool:
            if not (await self._users.update_one({"_id": id_, **query}, change, session=session)).matched_count:
                return False
            await self._audit.write([note], session)
            return True

        return await transact(self._database, work)
