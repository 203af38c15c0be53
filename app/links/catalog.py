"""What can be done with links: make, change, delete, restore. Each reaches every process before it is reported done.

In: judged wishes of the API. Out: MongoDB (majority) first, then Redis if newer, then the channel. When Redis is away
the change stands and is logged; processes then re-read by themselves (see `app.redirect.channel`).
Announcements of one turn of the loop share their commands to Redis, as inserts share one write.
May import: stores, turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
from redis.exceptions import RedisError

from app.links.cache import LinkCache
from app.links.folding import STEP, TellRenamed
from app.links.labels import same_as
from app.links.model import Cached, Link, LinkState
from app.links.noting import Tell, Write
from app.links.options import PLAIN_OPTIONS, DomainOptions
from app.links.rows import branch_fields, broken_field, derived_fields
from app.links.slugs import check_slug, make_slug, seeded
from app.links.storage import LinkStore, SameTakenError, SlugTakenError
from app.links.targets import normalise_target
from app.links.tombstones import bury_fields
from app.turns import Turn

__all__ = ["Catalog", "Existing"]

TRIES_MAX = 8  # at 100 million links a try in 20,000 collides; eight in a row mean that something else is wrong
ANNOUNCE_S = 1.0  # a Redis that hangs must not hold up a change that MongoDB already has
ANNOUNCE_MAX = 250  # links told of at once: 1 ms
LINK_ID_BITS = 63
_NEW = Exception("not stored yet")


@dataclass(frozen=True, slots=True)
class Existing:
    """A link that was there already, in place of one that `is_only`."""

    link: Link


class Catalog:
    """Links of one instance.

    Args:
        now_ms: Unix time in ms.
        randbits, randbelow: as `secrets` has them.
        ours: (host, port) of this instance's own addresses.
        on_unannounced: called with the error when Redis could not be told.
        options_of: a domain's options, for how its slugs are made.
    """

    def __init__(
        self,
        *,
        store: LinkStore,
        cache: LinkCache,
        now_ms: Callable[[], int],
        randbits: Callable[[int], int],
        randbelow: Callable[[int], int],
        ours: Collection[tuple[str, int]],
        on_unannounced: Callable[[Exception], None],
        options_of: Callable[[str], DomainOptions] = lambda domain: PLAIN_OPTIONS,
    ) -> None:
        self.store = store
        self._cache = cache
        self._now_ms = now_ms
        self._randbits = randbits
        self._randbelow = randbelow
        self._ours = ours
        self._on_unannounced = on_unannounced
        self._options_of = options_of
        self._unannounced: list[tuple[str, Cached]] = []
        self._announcing: asyncio.Task[None] | None = None

    def check_target(self, text: str) -> str:
        """A target as it will be stored; raises TargetError."""
        return normalise_target(text, self._ours)

    async def create(self, *, target: str, slug: str | None = None, domain: str = "", **fields: Any) -> Link:
        """Makes a link; without a slug, one is made that is free.

        Raises:
            TargetError, SlugError: a value that cannot be used.
            SlugTakenError: the chosen slug belongs to another link.
        """
        checked = None if slug is None else check_slug(slug)
        link = self.draft(target=self.check_target(target), slug=checked, domain=domain, **fields)
        result = (await self.create_many([link], [slug is None]))[0]
        if isinstance(result, Exception):
            raise result
        return result.link if isinstance(result, Existing) else result

    def draft(
        self, *, target: str, slug: str | None = None, domain: str = "", seed: bytes | None = None, **fields: Any
    ) -> Link:
        """A link that is not stored yet; target and slug were checked, and without a slug one is made.

        Args:
            seed: the same for a wish that is made once more, after nobody knows what became of it: if its link was
                stored, `create_many` gives that one.
        """
        now_ms = self._now_ms()
        randbelow = self._randbelow if seed is None else seeded(seed)
        number = self._randbits(LINK_ID_BITS) if seed is None else randbelow(2**LINK_ID_BITS)
        return Link(
            domain=domain,
            slug=self._make_slug(domain, randbelow) if slug is None else self._options_of(domain).fold(slug),
            target=target,
            link=number | 1,
            version=now_ms,
            created=now_ms // 1000,
            **fields,
        )

    async def create_many(
        self,
        drafts: Sequence[Link],
        may_rename: Sequence[bool],
        tell: Tell = None,
        sees: Callable[[Link], bool] = lambda link: True,
    ) -> list[Link | Existing | Exception]:
        """Stores drafts in one write: for each the link, or why it was not stored.

        A draft that `is_only` is not stored where a link exists that does the same and that one `sees`. Beside one that
        one must not know of it is stored as any other.

        Args:
            drafts: links of `draft`.
            may_rename: whether the slug was made rather than chosen, so that another one will do as well.
            tell: makes the note of each, which is stored with it.
        """
        results: list[Link | Existing | Exception] = [SameTakenError() if draft.is_only else _NEW for draft in drafts]
        asked = list(drafts)
        for _ in range(TRIES_MAX):
            await self._find_same(asked, results, sees)
            wanted = [n for n, result in enumerate(results) if result is _NEW or isinstance(result, SameTakenError)]
            if not wanted:
                break
            stored = await self.store.insert_many([asked[n] for n in wanted], tell)
            for n, result in zip(wanted, stored, strict=True):
                results[n] = result
                if may_rename[n] and isinstance(result, SlugTakenError):
                    slug = self._make_slug(drafts[n].domain, self._randbelow)
                    results[n], asked[n] = _NEW, msgspec.structs.replace(asked[n], slug=slug)
        await self._announce([result for result in results if isinstance(result, Link)])
        return [SlugTakenError(drafts[n].key) if result is _NEW else result for n, result in enumerate(results)]

    def _make_slug(self, domain: str, randbelow: Callable[[int], int]) -> str:
        options = self._options_of(domain)
        return make_slug(randbelow, options.slug_length, options.alphabet)

    async def _find_same(
        self, drafts: list[Link], results: list[Link | Existing | Exception], sees: Callable[[Link], bool]
    ) -> None:
        """Puts what exists in the place of those of whom only one may be."""
        asked = [n for n, result in enumerate(results) if isinstance(result, SameTakenError)]
        found = await asyncio.gather(*(self.store.find_same(drafts[n]) for n in asked))
        for n, links in zip(asked, found, strict=True):
            seen = next(filter(sees, links), None)
            if seen is not None:
                results[n] = Existing(seen)
            elif links:
                results[n], drafts[n] = _NEW, msgspec.structs.replace(drafts[n], is_only=False)

    async def change_many(
        self, changes: Sequence[tuple[Link, dict[str, Any]]], tells: Sequence[Tell]
    ) -> list[Link | None]:
        """As `change`, of different links in one write; targets went through `check_target`."""
        changes = [(link, unbroken(link, fields)) for link, fields in changes]
        return await self._write_many(changes, stored_change, tells, self._now_ms())

    async def delete_many(self, links: Sequence[Link], tell: Tell = None) -> list[Link | None]:
        """As `delete`, of different links in one write; None for one that is not at its version any more."""
        now_ms = self._now_ms()
        fields = {"state": LinkState.DELETED, "deleted": now_ms // 1000}
        changes = [(link, fields) for link in links]
        return await self._write_many(changes, lambda link, _: bury_fields(link, now_ms), [tell] * len(links), now_ms)

    async def _write_many(
        self,
        changes: Sequence[tuple[Link, dict[str, Any]]],
        to_store: Callable[[Link, dict[str, Any]], dict[str, Any]],
        tells: Sequence[Tell],
        now_ms: int,
    ) -> list[Link | None]:
        """Writes changes of links, each as `to_store` has it for MongoDB."""
        writes = []
        turn = Turn()
        for (link, fields), tell in zip(changes, tells, strict=True):
            after = msgspec.structs.replace(link, **fields, version=max(link.version + 1, now_ms))
            writes.append(Write(link.version, to_store(link, fields), after, tell))
            if turn.is_over:
                await turn.end()
        done = await self.store.change_many(writes)
        results = [write.after if write.after.key in done else None for write in writes]
        await self._announce([link for link in results if link is not None])
        return results

    async def delete(self, key: str, *, version: int | None = None, tell: Tell = None) -> Link | None:
        """Ends a link; None when there is none (at `version`, if given). It can be restored while it is kept."""
        buried = await self.store.tombstones.bury(key, now_ms=self._now_ms(), version=version, tell=tell)
        return await self._told(buried)

    async def restore(
        self, key: str, tell: Tell = None, may: Callable[[Link], bool] = lambda link: True
    ) -> Link | None:
        """Brings a deleted link back, with its id and statistics; None when the key is a living link's, or nobody's,
        or the link is none that one `may` restore.

        Raises:
            NotKeptError: it was deleted too long ago.
        """
        return await self._told(await self.store.tombstones.restore(key, now_ms=self._now_ms(), tell=tell, may=may))

    async def change(self, link: Link, fields: dict[str, Any], tell: Tell = None) -> Link | None:
        """Changes fields of a link, given as those of `Link`; None when it is not at `link`'s version any more.

        Raises:
            TargetError: a target that cannot be used. Those of rules and variants went through `check_target`.
        """
        if "target" in fields:
            fields = {**fields, "target": self.check_target(fields["target"])}
        stored = stored_change(link, unbroken(link, fields))
        now_ms = self._now_ms()
        return await self._told(
            await self.store.change(link.key, stored, now_ms=now_ms, version=link.version, tell=tell)
        )

    async def fold_slugs(self, keys: Sequence[str], tell: TellRenamed) -> None:
        """Renames links to keys in lower case; what is another link's by now stays."""
        for start in range(0, len(keys), STEP):
            some = keys[start : start + STEP]
            renamed = await self.store.folding.rename(some, now_ms=self._now_ms(), tell=tell)
            await self._announce([link for _, link in renamed])
            with suppress(RedisError, OSError):  # then the announcer does it
                await self._cache.drop([key for key, _ in renamed])

    async def _told(self, link: Link | None) -> Link | None:
        if link is not None:
            await self._announce([link])
        return link

    async def _announce(self, links: Sequence[Link]) -> None:
        """Tells Redis and every process, together with whoever else wants to in this turn of the loop."""
        if not links:
            return
        self._unannounced += [(link.key, link.cached()) for link in links]
        if self._announcing is None:
            self._announcing = asyncio.get_running_loop().create_task(self._announce_all())
        await asyncio.shield(self._announcing)

    async def _announce_all(self) -> None:
        await asyncio.sleep(0)  # those of this turn
        items, self._unannounced, self._announcing = self._unannounced, [], None
        for start in range(0, len(items), ANNOUNCE_MAX):
            try:
                async with asyncio.timeout(ANNOUNCE_S):
                    await self._cache.announce(items[start : start + ANNOUNCE_MAX])
            except (RedisError, OSError) as error:
                self._on_unannounced(error)


def unbroken(link: Link, fields: dict[str, Any]) -> dict[str, Any]:
    """The same change, which also takes away what was known against the page of another target."""
    is_elsewhere = link.broken is not None and fields.get("target", link.target) != link.target
    return {**fields, "broken": None} if is_elsewhere else fields


def stored_change(link: Link, fields: dict[str, Any]) -> dict[str, Any]:
    """What to set in the document of `link` when these fields of it change, with what indexes need."""
    changed = msgspec.structs.replace(link, **fields)
    derived = derived_fields(changed)
    stored = {**fields, **derived}
    if derived["same"] != same_as(link):
        stored["once"] = None
    if "state" in fields:
        stored["state"] = changed.state.value
    if changed.broken is not None and "broken" in fields:
        stored["broken"] = broken_field(changed.broken)
    if "rules" in fields or "variants" in fields:
        stored |= branch_fields(changed.rules, changed.variants)
    return stored
