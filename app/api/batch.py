"""`/api/v1/links/batch`: many links in one request, each with a result of its own.

In: `{"links": [...]}`, up to ROWS_MAX rows: bodies as a POST to `/api/v1/links` has them, changes, or what to delete.
Out: `{"results": [...]}` in that order. A body of BODY_BYTES_MAX is read only after the key was checked. Rows are
worked on in turns (`app.turns`), so that redirects of the same process wait for no more than that.

A change of many links reads them in one query and writes them in one; a link that others changed in between is tried
again as a single change would be, all of those together. May import: links, turns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType
from tornado import web

from app.accounts import NOBODY
from app.api.fields import DomainField, SlugField
from app.api.links import CHANGES_MAX, NO_LINK, UNDER_WAY, LinkBase, LinkView, view
from app.api.notes import tell_changed, tell_created, tell_deleted
from app.api.operation import Answer, operation
from app.api.problems import FieldError, field_errors
from app.api.rows import ROWS_MAX, read_rows, write_results
from app.api.versions import INT64_MAX
from app.api.wishes import LinkChange, NewLink, Reading, read_change, read_link
from app.links import DomainError, Existing, Link, SlugTakenError, join_key, normalise_domain
from app.turns import Turn

__all__ = ["BatchDeleteHandler", "BatchHandler"]

BODY_BYTES_MAX = 8 * 1024 * 1024
STEP_ROWS = 500  # made in one transaction
PASSWORDS_MAX = 50  # of one batch: 1.3 s in the threads that hash
_WHICH = ("slug", "domain", "version")  # what names a link in a row
VersionField = Annotated[int, Meta(ge=0, le=INT64_MAX, description="As If-Match: 412 at another one.")]


class NewLinks(msgspec.Struct):
    """Bodies as for one link; every row is judged by itself."""

    links: Annotated[list[NewLink], Meta(min_length=1, max_length=ROWS_MAX)]


class Which(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A link, perhaps only at one version."""

    slug: SlugField
    domain: DomainField = ""
    version: VersionField | None = None


class RowChange(LinkChange, kw_only=True):
    """A change of one link, perhaps only at one version."""

    slug: SlugField
    domain: DomainField = ""
    version: VersionField | None = None


class LinkChanges(msgspec.Struct):
    """Changes of different links; every row is judged by itself."""

    links: Annotated[list[RowChange], Meta(min_length=1, max_length=ROWS_MAX)]


class Deletions(msgspec.Struct):
    """Different links."""

    links: Annotated[list[Which], Meta(min_length=1, max_length=ROWS_MAX)]


class RowResult(msgspec.Struct, kw_only=True, gc=False):
    """What became of a row: 200, 201 or 204, or 404, 409, 412, 422 or 503 and why nothing was done."""

    status: int
    link: LinkView | UnsetType = UNSET
    errors: list[FieldError] | UnsetType = UNSET


class RowResults(msgspec.Struct):
    """In the order of the rows."""

    results: list[RowResult]


@web.stream_request_body
class BatchBase(LinkBase):
    """What reads many rows."""

    cost = 10
    kind = "batch"

    async def prepare(self) -> None:
        """Lets nobody in without a key; then, and only then, a longer body may come."""
        self._chunks: list[bytes] = []
        self._passwords_left = PASSWORDS_MAX
        await super().prepare()
        if self.caller is not NOBODY:
            self.request.connection.set_max_body_size(BODY_BYTES_MAX)  # type: ignore[union-attr]

    def data_received(self, chunk: bytes) -> None:
        """A part of the body."""
        self._chunks.append(chunk)

    def body(self) -> bytes:
        """All parts together."""
        self._chunks = [b"".join(self._chunks)]
        return self._chunks[0]

    async def rows(self) -> list[Any]:
        """The rows of the body; raises Problem."""
        self.check_media()
        return await read_rows(self.body())

    async def read_which(
        self, rows: list[Any], results: dict[int, RowResult], kind: type[Which | RowChange]
    ) -> dict[int, tuple[str, int | None]]:
        """The key and version of each row that names a link, by its number; refusals of the others go to `results`."""
        wanted: dict[int, tuple[str, int | None]] = {}
        seen: set[str] = set()
        turn = Turn()
        for n, row in enumerate(rows):
            if turn.is_over:
                await turn.end()
            if not isinstance(row, dict):
                results[n] = _refusal([FieldError("", "must be a JSON object")])
                continue
            named = row if kind is Which else {name: row[name] for name in _WHICH if name in row}
            errors = field_errors(named, Which)
            try:
                domain = normalise_domain(row["domain"]) if not errors and row.get("domain") else ""
            except DomainError as error:
                errors.append(FieldError("domain", str(error)))
            if not errors and (key := self.spellings(join_key(domain, row["slug"]))[-1]) in seen:
                errors.append(FieldError("slug", "stands in another row, too"))
            if errors:
                results[n] = _refusal(errors)
                continue
            seen.add(key)
            wanted[n] = key, row.get("version")
        return wanted

    async def find_links(self, wanted: Mapping[int, tuple[str, int | None]]) -> dict[str, Link]:
        """Those of the named links that are the caller's to see, by key."""
        found = await self.services.links.get_many([key for key, _ in wanted.values()])
        return {key: link for key, link in found.items() if self.caller.sees(link)}

    def judge_password(self, reading: Reading) -> None:
        """Adds an error when too many rows have one."""
        if isinstance(reading.password, str) and not reading.errors:
            self._passwords_left -= 1
            if self._passwords_left < 0:
                reading.errors.append(FieldError("password", f"only {PASSWORDS_MAX} of a batch may have one"))

    async def answer_rows(self, results: Sequence[RowResult | None]) -> None:
        """Sends the results; every row has one by now."""
        found = [result for result in results if result is not None]
        assert len(found) == len(results)
        self.is_unfinished = any(result.status == HTTPStatus.SERVICE_UNAVAILABLE for result in found)
        self.answer_encoded(await write_results(found))


class BatchHandler(BatchBase):
    """Makes and changes links."""

    @operation({200: Answer(RowResults)}, body=NewLinks, refuses={409: UNDER_WAY}, is_repeatable=True)
    async def post(self) -> None:
        """Make many links.

        Each row has a result of its own. The body may have 8 MiB, and at most 50 rows a password.
        """
        await self.once(self._make_all)

    @operation({200: Answer(RowResults)}, body=LinkChanges)
    async def patch(self) -> None:
        """Change many links.

        Each row names a link, perhaps its version, and holds what shall change of it; each has a result of its own.
        """
        rows, results = await self.rows(), dict[int, RowResult]()
        wanted = await self.read_which(rows, results, RowChange)
        turn = Turn()
        for _ in range(CHANGES_MAX):
            found = await self.find_links(wanted)
            changes: dict[int, tuple[Link, dict[str, Any]]] = {}
            for n, link in _at_version(wanted, found, results):
                fields = await self._read_change(rows[n], link, n, results)
                if fields is not None:
                    changes[n] = link, fields
                if turn.is_over:
                    await turn.end()
            tells = [tell_changed(self.services.audit, self.author, link, fields) for link, fields in changes.values()]
            changed = await self.services.catalog.change_many(list(changes.values()), tells)
            self._tell(changes, changed, HTTPStatus.OK, results)
            wanted = {n: which for n, which in wanted.items() if n not in results}
            if not wanted:
                break
        await self.answer_rows([results.get(n) or _contended() for n in range(len(rows))])

    async def _read_change(
        self, row: dict[str, Any], link: Link, n: int, results: dict[int, RowResult]
    ) -> dict[str, Any] | None:
        wish = {name: value for name, value in row.items() if name not in _WHICH}
        reading = read_change(wish, link, self.services.catalog.check_target)
        self.judge_change(reading, link)
        self.judge_password(reading)
        if reading.errors:
            results[n] = _refusal(reading.errors)
            return None
        return {**reading.fields, **await self.hash_password(reading.password)}

    def _tell(self, asked: Iterable[int], done: list[Link | None], status: int, results: dict[int, RowResult]) -> None:
        """The results of what was done; what was not is left open."""
        public_url = self.services.settings.public_url
        for n, link in zip(asked, done, strict=True):
            if link is not None:
                results[n] = RowResult(status=status, link=view(link, public_url))

    async def _make_all(self) -> None:
        rows = await self.rows()
        results: list[RowResult] = []
        for start in range(0, len(rows), STEP_ROWS):
            results += await self._make(rows[start : start + STEP_ROWS], start)
        await self.answer_rows(results)

    async def _make(self, rows: list[Any], first: int) -> list[RowResult]:
        catalog = self.services.catalog
        drafts: list[Link] = []
        may_rename: list[bool] = []
        results: list[RowResult | None] = []
        turn = Turn()
        for n, row in enumerate(rows, first):
            if turn.is_over:
                await turn.end()
            reading = read_link(row, catalog.check_target)
            await self.judge_new(reading)
            self.judge_password(reading)
            if reading.errors:
                results.append(_refusal(reading.errors))
                continue
            results.append(None)
            password = {} if reading.password is UNSET else await self.hash_password(reading.password)
            drafts.append(self.draft_of(reading, password, n))
            may_rename.append(reading.slug is None)
        await turn.end()
        tell = tell_created(self.services.audit, self.author)
        made = iter(await catalog.create_many(drafts, may_rename, tell, self.caller.sees))
        public_url = self.services.settings.public_url
        return [_result(next(made), public_url) if result is None else result for result in results]


class BatchDeleteHandler(BatchBase):
    """Deletes links."""

    @operation({200: Answer(RowResults)}, body=Deletions)
    async def post(self) -> None:
        """Delete many links.

        Each row names a link, perhaps its version, and has a result of its own. DELETE has no body (RFC 9110, 9.3.5).
        """
        rows, results = await self.rows(), dict[int, RowResult]()
        wanted = await self.read_which(rows, results, Which)
        for _ in range(CHANGES_MAX):
            found = await self.find_links(wanted)
            links = dict(_at_version(wanted, found, results))
            tell = tell_deleted(self.services.audit, self.author)
            done = await self.services.catalog.delete_many(list(links.values()), tell)
            for n, link in zip(links, done, strict=True):
                if link is not None:
                    results[n] = RowResult(status=HTTPStatus.NO_CONTENT)
            wanted = {n: which for n, which in wanted.items() if n not in results}
            if not wanted:
                break
        await self.answer_rows([results.get(n) or _contended() for n in range(len(rows))])


def _at_version(
    wanted: dict[int, tuple[str, int | None]], found: dict[str, Link], results: dict[int, RowResult]
) -> list[tuple[int, Link]]:
    """The links that are to be changed; refusals of the others go to `results`."""
    links = []
    for n, (key, version) in wanted.items():
        link = found.get(key)
        if link is None:
            results[n] = RowResult(status=HTTPStatus.NOT_FOUND, errors=[FieldError("slug", NO_LINK)])
        elif version not in (None, link.version):
            outdated = [FieldError("version", f"the link is at version {link.version}")]
            results[n] = RowResult(status=HTTPStatus.PRECONDITION_FAILED, errors=outdated)
        else:
            links.append((n, link))
    return links


def _refusal(errors: list[FieldError]) -> RowResult:
    return RowResult(status=HTTPStatus.UNPROCESSABLE_ENTITY, errors=errors)


def _contended() -> RowResult:
    return RowResult(status=HTTPStatus.CONFLICT, errors=[FieldError("slug", "others are changing this link right now")])


def _result(made: Link | Existing | Exception, public_url: str) -> RowResult:
    if isinstance(made, Link):
        return RowResult(status=HTTPStatus.CREATED, link=view(made, public_url))
    if isinstance(made, Existing):
        return RowResult(status=HTTPStatus.OK, link=view(made.link, public_url))
    if isinstance(made, SlugTakenError):
        return RowResult(status=HTTPStatus.CONFLICT, errors=[FieldError("slug", "is taken")])
    # A store that failed in the middle: rows before are made, and a retry finds chosen slugs taken.
    away = [FieldError("", "a store does not answer right now")]
    return RowResult(status=HTTPStatus.SERVICE_UNAVAILABLE, errors=away)
