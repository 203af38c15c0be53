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
from app.api.fields import MomentField, shown
from app.api.handler import Handler
from app.api.operation import Answer, operation
from app.api.problems import Problem

__all__ = ["KeyHandler", "KeysHandler"]


class NewKey(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a POST."""

    name: Annotated[str, Meta(min_length=1, max_length=100, description="What it is for.", examples=["ci"])]


class KeyView(msgspec.Struct, kw_only=True):
    """A key as it is listed."""

    id: Annotated[str, Meta(description="The SHA-256 of the key.", pattern="^[0-9a-f]{64}$", examples=["5f" * 32])]
    name: str
    prefix: Annotated[str, shown("How the key begins.", "blk_Zk3v")]
    created_at: MomentField
    revoked_at: MomentField | None


class FreshKey(KeyView, kw_only=True):
    """A key that was just made."""

    key: Annotated[str, Meta(description="The key itself, shown this once.")]


class KeyList(msgspec.Struct):
    """All keys, the newest first, revoked ones included."""

    items: list[KeyView]


class KeysHandler(Handler):
    """The collection."""

    @operation({201: Answer(FreshKey, headers=("Location",))}, body=NewKey)
    async def post(self) -> None:
        """Make a key."""
        wish = self.decode(NewKey)
        key = make_key(self.services.token)
        stored = await self.services.keys.add(key, wish.name, self.author)
        self.set_header("Location", f"/api/v1/keys/{stored.id}")
        self.answer(FreshKey(**_view(stored), key=key), HTTPStatus.CREATED)

    @operation({200: Answer(KeyList)})
    async def get(self) -> None:
        """List all keys."""
        self.answer(KeyList([KeyView(**_view(key)) for key in await self.services.keys.list()]))


class KeyHandler(Handler):
    """One key."""

    @operation({204: Answer()}, refuses={404: "There is no such key, or it was revoked before."})
    async def delete(self, digest: str) -> None:
        """Revoke a key.

        It is refused everywhere within a second, and for ever.
        """
        if not await self.services.keys.revoke(digest, self.author):
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
