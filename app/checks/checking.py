"""Looks at the page of a link, and says of the link what came of it: the kind of job `check`.

    a look      a GET, redirects and all, of which the head alone is waited for
    again       the queue has it done again, ATTEMPTS_MAX times within three days at most; the job keeps how many looks
                failed, and since when (`judging` says how many it takes)
    broken,     one change as any other: a version, an entry of the system in the audit log, an event for webhooks.
      mended    Nothing is written where nothing changes
    meanwhile   a link that was changed while it was looked at stays as it is, and so does one that is gone, stopped
                or leads elsewhere since the round met it
    checks are  whatever was asked for before stays undone
      off

kill -9 anywhere: the look is done again. The change is written at the version that was read, so two programs that look
at once make one of it. May import: accounts, jobs, links, outbound.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from app.accounts import SYSTEM, AuditLog
from app.checks.judging import Finding, Outcome, Verdict, is_looked_at, judge, outcome_of
from app.checks.outage import Outlook
from app.jobs import DropError, Kind, RetryError, Task
from app.links import Broken, Catalog, Link
from app.outbound import FetchError, Guard, PageReader
from app.settings import Settings

__all__ = ["KIND", "CheckJob", "Checker", "make_page_reader", "mark_of"]

KIND = "check"
PAGE_S = 10.0  # a visitor would not wait for longer
ATTEMPTS_MAX = 12  # more than it takes to call a link broken, as one may be killed and count as no look
FIRST_S, FACTOR, MOST_S = 600.0, 3.0, 8 * 3600.0  # 10 and 30 minutes, 1.5 and 4.5 hours, then 8; half of it is chance
NAMES_MAX = 32  # looked up at once: name servers that are silent leave threads for those of webhooks
MOST = 16  # at once: there is room for webhooks
KEPT_S = 3_600.0  # a week's ten million that are done would be gigabytes; a batch written again comes within seconds


class CheckJob(msgspec.Struct, frozen=True):
    """The payload: a link by its key and its id, as a slug may be another link's by then, and where it led."""

    key: str
    link: int
    target: int


def mark_of(target: str) -> int:
    """Equal for equal targets, which may be long: 63 bits of a hash."""
    return int.from_bytes(hashlib.blake2b(target.encode(), digest_size=8).digest()) >> 1


def make_page_reader(settings: Settings) -> PageReader:
    """What asks for pages, whose URLs are anybody's."""
    guard = Guard(settings.webhook_networks, names_max=NAMES_MAX)
    return PageReader(guard, answer_s=PAGE_S, bytes_max=0, accept="*/*")


class Checker:
    """Looks at what one program claims. `now_s` is Unix time in seconds."""

    def __init__(
        self,
        catalog: Catalog,
        audit: AuditLog,
        pages: PageReader,
        *,
        is_on: bool,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._catalog = catalog
        self._audit = audit
        self._pages = pages
        self._is_on = is_on
        self._now_s = now_s
        self._outlook = Outlook()

    def kind(self) -> Kind:
        """What a program registers."""
        return Kind(
            name=KIND,
            payload=CheckJob,
            work=self.check,
            attempts_max=ATTEMPTS_MAX,
            first_s=FIRST_S,
            factor=FACTOR,
            most_s=MOST_S,
            limit_s=2 * PAGE_S,
            lane_max=2,
            most=MOST,
            may_wait=True,
            kept_s=KEPT_S,
        )

    async def check(self, job: CheckJob, task: Task) -> Mapping[str, Any]:
        """One attempt; what it returns or raises keeps what was found."""
        if not self._is_on:
            raise DropError("checks are off")
        link = await self._link(job)
        finding = self._outlook.weigh(link.target, await self._look(link.target))
        note = self._note_of(finding, task.job.note)
        outcome = outcome_of(finding, gone=note["gone"], failures=note["failures"], is_broken=link.broken is not None)
        if outcome is Outcome.AGAIN:
            raise (DropError if task.job.attempts >= ATTEMPTS_MAX else RetryError)(finding.reason, note)
        if outcome is not Outcome.LEAVE:
            task.check()
            broken = Broken(note["since"], finding.reason) if outcome is Outcome.BREAK else None
            if await self.call(link, broken) is None:
                raise DropError("the link was changed meanwhile", note)
        return note

    async def call(self, link: Link, broken: Broken | None) -> Link | None:
        """Calls a link broken, or mended; None when it is not at its version any more."""
        return await self._catalog.change(link, {"broken": broken}, lambda now: self._entry(link, now))

    async def _link(self, job: CheckJob) -> Link:
        """The link, if it is to be looked at as when the round met it; raises DropError."""
        link = await self._catalog.store.get(job.key)
        if link is None or link.link != job.link:
            raise DropError("the link is gone")
        if mark_of(link.target) != job.target:
            raise DropError("the link leads elsewhere")
        if not is_looked_at(link, self._now_s()):
            raise DropError("the link leads nowhere now")
        return link

    async def _look(self, url: str) -> Finding:
        try:
            return judge((await self._pages.read(url, lambda start, new: True)).status)
        except FetchError as error:
            return judge(error)

    def _note_of(self, finding: Finding, before: Mapping[str, Any]) -> dict[str, Any]:
        """What the job keeps: how many looks failed, how many of them GONE, and since when, behind those `before`."""
        gone, failures, since = before.get("gone", 0), before.get("failures", 0), before.get("since")
        if finding.is_failure:
            gone, failures = gone + (finding.verdict is Verdict.GONE), failures + 1
            since = since or int(self._now_s())
        elif finding.verdict is Verdict.FINE:  # who has the job done again by hand begins anew
            gone, failures, since = 0, 0, None
        return {"found": finding.reason, "gone": gone, "failures": failures, "since": since}

    def _entry(self, before: Link, link: Link) -> Mapping[str, Any]:
        old, new = ({"broken": None if one.broken is None else one.broken.told()} for one in (before, link))
        what = "link.mended" if link.broken is None else "link.broken"
        return self._audit.note(SYSTEM, what, f"link:{link.key}", old=old, new=new, link=link)
