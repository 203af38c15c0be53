"""Webhooks in MongoDB. Each change is written with its entry in the audit log, in one transaction.

    webhooks   as `Webhook`, `_id` is its id

An owner has at most `owner_max`, all together WEBHOOKS_MAX; a document that every transaction that adds one writes
makes two that add the last one wait for each other. May import: accounts, jobs, stores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from bson.int64 import Int64
from pymongo import ASCENDING, IndexModel, ReturnDocument

from app.accounts import SYSTEM, AuditLog, Note
from app.stores import Database, Session, transact
from app.webhooks.model import Secret, Webhook, WebhookState

__all__ = ["INDEXES", "WEBHOOKS", "WebhookError", "WebhookStore"]

WEBHOOKS = "webhooks"
INDEXES = {
    WEBHOOKS: [
        IndexModel([("owner", ASCENDING), ("_id", ASCENDING)]),
        IndexModel([("state", ASCENDING), ("_id", ASCENDING)]),
    ]
}
GUARD = "webhooks_guard"
WEBHOOKS_MAX = 1_000  # of one instance: all active ones are read for each batch of changes, in 4 ms
#: Makes the note of a change, of the webhook before and after it.
Tell = Callable[[Webhook, Webhook], Note]


class WebhookError(Exception):
    """There are too many; the text says of whom."""


class WebhookStore:
    """The webhooks of one database; raises `PyMongoError` when it does not answer."""

    def __init__(self, database: Database, audit: AuditLog, *, owner_max: int) -> None:
        self._database = database
        self._rows = database[WEBHOOKS]
        self._audit = audit
        self._owner_max = owner_max

    async def add(self, webhook: Webhook, note: Note) -> None:
        """Stores a new one; raises WebhookError."""

        async def work(session: Session) -> None:
            guard = self._database[GUARD]
            await guard.update_one({"_id": "add"}, {"$inc": {"count": 1}}, upsert=True, session=session)
            limits: tuple[tuple[int, dict[str, Any], str], ...] = (
                (self._owner_max, {"owner": webhook.owner}, "of yours"),
                (WEBHOOKS_MAX, {}, "of this instance"),
            )
            for most, query, whose in limits:
                if await self._rows.count_documents(query, limit=most, session=session) >= most:
                    raise WebhookError(f"there are {most} webhooks {whose} already")
            await self._rows.insert_one(_to_row(webhook), session=session)
            await self._audit.write([note], session)

        await transact(self._database, work)

    async def get(self, id_: str) -> Webhook | None:
        """One; None when there is none."""
        row = await self._rows.find_one({"_id": id_})
        return None if row is None else _from_row(row)

    async def page(self, owner: str | None, *, limit: int, after: str = "") -> tuple[list[Webhook], str | None]:
        """Those of an owner (None: of all) by id, and where the next page begins; None at the end."""
        query: dict[str, Any] = {"_id": {"$gt": after}} | ({} if owner is None else {"owner": owner})
        rows = await self._rows.find(query).sort("_id", ASCENDING).limit(limit + 1).to_list()
        return [_from_row(row) for row in rows[:limit]], rows[limit - 1]["_id"] if len(rows) > limit else None

    async def active(self) -> list[Webhook]:
        """All that are sent something, without their secrets."""
        query = {"state": WebhookState.ACTIVE.value}
        found = self._rows.find(query, {"secrets": 0}).sort("_id", ASCENDING).limit(WEBHOOKS_MAX)
        return [_from_row(row) async for row in found]

    async def change(self, old: Webhook, fields: Mapping[str, Any], tell: Tell) -> Webhook | None:
        """Sets fields of one that is at the version of `old`; None when it is not any more."""
        fresh = msgspec.structs.replace(old, **fields, version=old.version + 1)

        async def work(session: Session) -> Webhook | None:
            query = {"_id": old.id, "version": old.version}
            row = await self._rows.find_one_and_update(
                query,
                {"$set": {name: _to_row(fresh)[name] for name in (*fields, "version")}},
                return_document=ReturnDocument.AFTER,
                session=session,
            )
            if row is None:
                return None
            await self._audit.write([tell(old, fresh)], session)
            return _from_row(row)

        return await transact(self._database, work)

    async def remove(self, webhook: Webhook, note: Note) -> bool:
        """Removes one that is at this version; False when it is not any more."""

        async def work(session: Session) -> bool:
            query = {"_id": webhook.id, "version": webhook.version}
            if not (await self._rows.delete_one(query, session=session)).deleted_count:
                return False
            await self._audit.write([note], session)
            return True

        return await transact(self._database, work)

    async def note_success(self, webhook: Webhook) -> None:
        """It was sent something that it took."""
        if webhook.failing is not None:
            await self._rows.update_one({"_id": webhook.id}, {"$set": {"failing": None}})

    async def note_failure(self, webhook: Webhook, now_s: int) -> None:
        """It did not take what it was sent; `failing` is since when."""
        if webhook.failing is None:
            await self._rows.update_one({"_id": webhook.id, "failing": None}, {"$set": {"failing": now_s}})

    async def disable(self, webhook: Webhook, reason: str) -> bool:
        """Ends deliveries, because of what came of them; False when somebody changed it meanwhile."""

        def tell(old: Webhook, new: Webhook) -> Note:
            return self._audit.note(SYSTEM, "webhook.disable", f"webhook:{old.id}", new={"reason": new.reason})

        fields = {"state": WebhookState.DISABLED, "reason": reason}
        return await self.change(webhook, fields, tell) is not None


def _to_row(webhook: Webhook) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(webhook, builtin_types=(bytes, datetime))
    row["_id"] = row.pop("id")
    row["version"] = Int64(webhook.version)
    return row


def _from_row(row: Mapping[str, Any]) -> Webhook:
    secrets = tuple(Secret(one["key"], one["until"]) for one in row.get("secrets", ()))
    plain = {name: value for name, value in row.items() if name not in ("_id", "secrets")}
    return msgspec.structs.replace(msgspec.convert({**plain, "id": row["_id"]}, Webhook), secrets=secrets)
