"""`/api/v1/keys`: API keys are made, listed and revoked. A key itself is shown once, when it is made.

May import: accounts.
"""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from app.accounts import ApiKey, make_key
from app.api.handler import Handler
from app.api.problems import Problem

__all__ = ["KeyHandler", "KeysHandler"]


class NewKey(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a POST."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]


class KeysHandler(Handler):
    """The collection."""

    async def post(self) -> None:
        """Makes a key."""
        wish = self.decode(NewKey)
        key = make_key(self.services.token)
        stored = await self.services.keys.add(key, wish.name)
        self.set_header("Location", f"/api/v1/keys/{stored.id}")
        self.answer({**_view(stored), "key": key}, HTTPStatus.CREATED)

    async def get(self) -> None:
        """All keys, the newest first."""
        self.answer({"items": [_view(key) for key in await self.services.keys.list()]})


class KeyHandler(Handler):
    """One key."""

    async def delete(self, digest: str) -> None:
        """Revokes it."""
        if not await self.services.keys.revoke(digest):
            raise Problem(HTTPStatus.NOT_FOUND, "There is no such key.")
        self.clear_header("Content-Type")
        self.set_status(HTTPStatus.NO_CONTENT)


def _view(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "created_at": datetime.fromtimestamp(key.created, UTC),
        "revoked_at": None if key.revoked is None else datetime.fromtimestamp(key.revoked, UTC),
    }
