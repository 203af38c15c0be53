"""Reads the title of a page, and calls its link by it: the kind of job `title`.

    200 and HTML           its title; a page without one leaves the link as it is
    another kind, 4xx,     the link stays as it is
    no public address
    429, 5xx, no answer    tried again, ATTEMPTS_MAX times within two hours; then the link stays as it is
    changed meanwhile      a link that has a title or is gone stays as it is
    titles are off         whatever was asked for before stays undone

The change is one as any other: a version, an entry of the system in the audit log, an event for webhooks.
May import: accounts, jobs, links, outbound.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from app.accounts import SYSTEM, AuditLog
from app.jobs import DropError, Kind, RetryError, Task
from app.links import Catalog, Link
from app.outbound import FetchError, Guard, PageReader, RefusedUrlError
from app.settings import Settings
from app.titles.asking import KIND, TitleJob
from app.titles.html import ends_title, title_of

__all__ = ["TitleReader", "make_page_reader"]

PAGE_S = 10.0
PAGE_BYTES_MAX = 512 * 1024  # pages whose styles stand before their title
ATTEMPTS_MAX = 6  # within one to two hours
NAMES_MAX = 32  # looked up at once: name servers that are silent leave threads for those of webhooks
MOST = 16  # at once: behind an import of a million links there is room for webhooks
TYPES = ("text/html", "application/xhtml+xml")


def make_page_reader(settings: Settings) -> PageReader:
    """What reads pages, whose URLs are anybody's."""
    guard = Guard(settings.webhook_networks, names_max=NAMES_MAX)
    return PageReader(guard, answer_s=PAGE_S, bytes_max=PAGE_BYTES_MAX)


class TitleReader:
    """Reads what one program claims."""

    def __init__(self, catalog: Catalog, audit: AuditLog, pages: PageReader, *, is_on: bool) -> None:
        self._catalog = catalog
        self._audit = audit
        self._pages = pages
        self._is_on = is_on

    def kind(self) -> Kind:
        """What a program registers."""
        return Kind(
            name=KIND,
            payload=TitleJob,
            work=self.read,
            attempts_max=ATTEMPTS_MAX,
            first_s=60.0,
            limit_s=2 * PAGE_S,
            lane_max=2,
            most=MOST,
            may_wait=True,
        )

    async def read(self, job: TitleJob, task: Task) -> Mapping[str, Any]:
        """One attempt; what it returns is the title."""
        if not self._is_on:
            raise DropError("titles are off")
        try:
            return await self._read(job, task)
        except RetryError as error:
            if task.job.attempts < ATTEMPTS_MAX:
                raise
            raise DropError(error.reason) from error  # a page that does not answer is nobody's to mend here

    async def _read(self, job: TitleJob, task: Task) -> Mapping[str, Any]:
        link = await self._link(job)
        title = await self._title(link.target)
        task.check()
        named = await self._catalog.change(link, {"title": title}, lambda now: self._note(now, title))
        if named is None:
            raise RetryError("the link was changed meanwhile")
        return {"title": title}

    async def _link(self, job: TitleJob) -> Link:
        """The link while it waits for a title; raises DropError."""
        link = await self._catalog.store.get(job.key)
        if link is None or link.link != job.link:
            raise DropError("the link is gone")
        if link.title:
            raise DropError("the link has a title")
        return link

    async def _title(self, url: str) -> str:
        try:
            page = await self._pages.read(url, ends_title)
        except RefusedUrlError as error:
            raise DropError(error.reason) from error
        except FetchError as error:
            raise RetryError(error.reason) from error
        if page.status == HTTPStatus.TOO_MANY_REQUESTS or page.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise RetryError(f"the page answered {page.status}")
        if page.status != HTTPStatus.OK:
            raise DropError(f"the page answered {page.status}")
        if page.type.partition(";")[0].strip().lower() not in TYPES:
            raise DropError("it is no HTML page")
        title = title_of(page.start, page.type)
        if not title:
            raise DropError("the page has no title")
        return title

    def _note(self, link: Link, title: str) -> Mapping[str, Any]:
        old, new = {"title": ""}, {"title": title}
        return self._audit.note(SYSTEM, "link.update", f"link:{link.key}", old=old, new=new, link=link)
