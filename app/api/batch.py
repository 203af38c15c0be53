"""`/api/v1/links/batch`: many links in one request, each with a result of its own.

In: `{"links": [...]}`, up to ROWS_MAX bodies as a POST to `/api/v1/links` has them. Out: `{"results": [...]}` in that
order. A body of BODY_BYTES_MAX is read only after the key was checked. Rows are worked on STEP_ROWS at a time, so that
redirects of the same process wait for no more than that. May import: links.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType
from tornado import web

from app.api.links import LinkBase, LinkView, view
from app.api.notes import tell_created
from app.api.operation import Answer, operation
from app.api.problems import FieldError, decode_object, wrong_fields
from app.api.wishes import NewLink, Reading, read_link
from app.links import Link, SlugTakenError

__all__ = ["BatchHandler"]

ROWS_MAX = 1_000
BODY_BYTES_MAX = 8 * 1024 * 1024
STEP_ROWS = 50  # 2 ms of the loop
PASSWORDS_MAX = 50  # of one batch: 1.3 s in the threads that hash


class NewLinks(msgspec.Struct):
    """Bodies as for one link; every row is judged by itself."""

    links: Annotated[list[NewLink], Meta(min_length=1, max_length=ROWS_MAX)]


class RowResult(msgspec.Struct, kw_only=True):
    """What became of a row: 201 and the link, or 409, 422 or 503 and why it was not made."""

    status: int
    link: LinkView | UnsetType = UNSET
    errors: list[FieldError] | UnsetType = UNSET


class RowResults(msgspec.Struct):
    """In the order of the rows."""

    results: list[RowResult]


@web.stream_request_body
class BatchHandler(LinkBase):
    """Makes links."""

    cost = 10

    async def prepare(self) -> None:
        """Lets nobody in without a key; then, and only then, a longer body may come."""
        self._chunks: list[bytes] = []
        await super().prepare()
        if self.key is not None:
            self.request.connection.set_max_body_size(BODY_BYTES_MAX)  # type: ignore[union-attr]

    def data_received(self, chunk: bytes) -> None:
        """A part of the body."""
        self._chunks.append(chunk)

    @operation({200: Answer(RowResults)}, body=NewLinks)
    async def post(self) -> None:
        """Make many links.

        Each row has a result of its own. The body may have 8 MiB, and at most 50 rows a password.
        """
        rows = self._rows()
        self._passwords_left = PASSWORDS_MAX
        results: list[RowResult] = []
        for start in range(0, len(rows), STEP_ROWS):
            results += await self._make(rows[start : start + STEP_ROWS])
        self.answer(RowResults(results))

    def _rows(self) -> list[Any]:
        self.check_media()
        body, self._chunks = b"".join(self._chunks), []
        rows = decode_object(body).get("links")
        if not isinstance(rows, list) or not 0 < len(rows) <= ROWS_MAX:
            raise wrong_fields([FieldError("links", f"must be an array of 1 to {ROWS_MAX} links")])
        return rows

    async def _make(self, rows: list[Any]) -> list[RowResult]:
        catalog = self.services.catalog
        drafts: list[Link] = []
        may_rename: list[bool] = []
        results: list[RowResult | None] = []
        for row in rows:
            reading = read_link(row, catalog.check_target)
            draft = await self._draft(reading)
            if draft is not None:
                drafts.append(draft)
                may_rename.append(reading.slug is None)
            results.append(None if draft is not None else _refusal(reading.errors))
        await asyncio.sleep(0)
        made = iter(await catalog.create_many(drafts, may_rename, tell_created(self.services.audit, self.author)))
        public_url = self.services.settings.public_url
        return [_result(next(made), public_url) if result is None else result for result in results]

    async def _draft(self, reading: Reading) -> Link | None:
        """The link of a row; None when it has errors, which it may get here."""
        assert self.key is not None
        await self.check_domain(reading)
        if isinstance(reading.password, str) and not reading.errors:
            self._passwords_left -= 1
            if self._passwords_left < 0:
                reading.errors.append(FieldError("password", f"only {PASSWORDS_MAX} of a batch may have one"))
        if reading.errors:
            return None
        assert reading.target is not None
        password = await self.hash_password(reading.password)
        fields = {**reading.fields, **password, "owner": self.key.id}
        return self.services.catalog.draft(target=reading.target, slug=reading.slug, domain=reading.domain, **fields)


def _refusal(errors: list[FieldError]) -> RowResult:
    return RowResult(status=HTTPStatus.UNPROCESSABLE_ENTITY, errors=errors)


def _result(made: Link | Exception, public_url: str) -> RowResult:
    if isinstance(made, Link):
        return RowResult(status=HTTPStatus.CREATED, link=view(made, public_url))
    if isinstance(made, SlugTakenError):
        return RowResult(status=HTTPStatus.CONFLICT, errors=[FieldError("slug", "is taken")])
    # A store that failed in the middle: rows before are made, and a retry finds chosen slugs taken.
    away = [FieldError("", "a store does not answer right now")]
    return RowResult(status=HTTPStatus.SERVICE_UNAVAILABLE, errors=away)
