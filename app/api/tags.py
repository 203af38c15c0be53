"""`/api/v1/tags`: which there are, and renaming, merging and ending one.

In: names. Out: names with the number of their links. What takes longer than WORK_S goes on in rollup, and is answered
202. May import: links.
"""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Annotated

import msgspec
from msgspec import Meta

from app.api.fields import shown
from app.api.handler import Handler
from app.api.operation import Answer, operation
from app.api.parameters import CURSOR, PAGE_DEFAULT, page_limit
from app.api.problems import FieldError, Problem
from app.links import TAGS_COUNT_MAX, TagBusyError, Tags, TagTakenError

__all__ = ["TagHandler", "TagsHandler"]

WORK_S = 2.0
NO_TAG = "No link has this tag."
PAGE_MAX = 200
TagName = Annotated[str, Meta(min_length=1, max_length=64, examples=["rfc"])]


class TagView(msgspec.Struct):
    """A tag that links have."""

    name: TagName
    links: Annotated[int | str, shown(f"How many: a number up to {TAGS_COUNT_MAX}, or `{TAGS_COUNT_MAX}+`.", 42)]


class TagPage(msgspec.Struct):
    """Some tags by name; `next_cursor` is null on the last page."""

    items: list[TagView]
    next_cursor: str | None


class TagsQuery(msgspec.Struct):
    """Which part of all tags."""

    limit: Annotated[int, page_limit(PAGE_MAX)] = PAGE_DEFAULT
    cursor: Annotated[str, Meta(description=CURSOR)] = ""


class TagChange(msgspec.Struct, forbid_unknown_fields=True):
    """What a tag shall be called."""

    name: TagName
    merge: Annotated[bool, Meta(description="Whether the name may be another tag's: the two become one.")] = False


class Moved(msgspec.Struct):
    """How far it went: `is_done` is false when the rest follows in the background."""

    is_done: bool


class TagBase(Handler):
    """What handlers of tags share."""

    def tags(self) -> Tags:
        """The tags of this instance; raises Problem for a caller who sees some links alone."""
        if not self.caller.bounds.is_wide:
            raise Problem(HTTPStatus.FORBIDDEN, "Tags are those of all links, and this key may see some alone.")
        return Tags(self.services.database, self.services.audit.write)

    async def move(self, name: str, into: str | None, *, may_merge: bool) -> bool:
        """Renames or ends a tag for WORK_S; whether all of it is done. Raises Problem."""
        what = "tag.delete" if into is None else "tag.rename"
        new = None if into is None else {"name": into}
        note = self.services.audit.note(self.author, what, f"tag:{name}", new=new)
        tags = self.tags()
        try:
            if not await tags.start(name, into, note, may_merge=may_merge):
                raise Problem(HTTPStatus.NOT_FOUND, NO_TAG)
        except TagTakenError as error:
            taken = [FieldError("name", "is another tag's: say merge to make them one")]
            raise Problem(HTTPStatus.CONFLICT, "The name is another tag's.", taken) from error
        except TagBusyError as error:
            raise Problem(HTTPStatus.CONFLICT, f"The tag {error}.") from error
        end_s = time.monotonic() + WORK_S
        while await tags.step(name):
            if time.monotonic() >= end_s:
                return False
        return True


class TagsHandler(TagBase):
    """All tags."""

    cost = 5

    @operation({200: Answer(TagPage)}, query=TagsQuery)
    async def get(self) -> None:
        """List the tags of living links."""
        query = self.query(TagsQuery)
        found, following = await self.tags().page(limit=query.limit, after=query.cursor)
        items = [TagView(name, count if count <= TAGS_COUNT_MAX else f"{TAGS_COUNT_MAX}+") for name, count in found]
        self.answer(TagPage(items, following))


class TagHandler(TagBase):
    """One tag."""

    cost = 10

    @operation(
        {200: Answer(Moved), 202: Answer(Moved, says="The rest follows in the background.")},
        body=TagChange,
        refuses={404: NO_TAG, 409: "The name is another tag's, or the tag is being renamed or ended already."},
    )
    async def patch(self, name: str) -> None:
        """Rename a tag, or merge it into another.

        The version of each of its links rises. The same request again goes on where it stopped.
        """
        wish = self.decode(TagChange)
        is_done = wish.name == name or await self.move(name, wish.name, may_merge=wish.merge)
        self.answer(Moved(is_done), HTTPStatus.OK if is_done else HTTPStatus.ACCEPTED)

    @operation(
        {200: Answer(Moved), 202: Answer(Moved, says="The rest follows in the background.")},
        refuses={404: NO_TAG, 409: "The tag is being renamed."},
    )
    async def delete(self, name: str) -> None:
        """Take a tag from all links.

        The links stay; the version of each rises.
        """
        is_done = await self.move(name, None, may_merge=True)
        self.answer(Moved(is_done), HTTPStatus.OK if is_done else HTTPStatus.ACCEPTED)
