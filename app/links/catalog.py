"""What can be done with links: make, change, delete. Each change reaches every process before it is reported done.

In: judged wishes of the API. Out: MongoDB (majority) first, then Redis if newer, then the channel. When Redis is away
the change stands and is logged; processes then re-read by themselves (see `app.redirect.channel`).
May import: stores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from redis.exceptions import RedisError

from app.links.cache import LinkCache
from app.links.model import Cached, Link, LinkState, join_key
from app.links.slugs import check_slug, make_slug
from app.links.storage import LinkStore, SlugTakenError
from app.links.targets import normalise_target

__all__ = ["Catalog"]

TRIES_MAX = 8  # at 100 million links a try in 20,000 collides; eight in a row mean that something else is wrong
ANNOUNCE_S = 1.0  # a Redis that hangs must not hold up a change that MongoDB already has
LINK_ID_BITS = 63


class Catalog:
    """Links of one instance.

    Args:
        now_ms: Unix time in ms.
        randbits: `secrets.randbits`; randbelow: `secrets.randbelow`.
        ours: (host, port) of this instance's own addresses.
        on_unannounced: called with the error when Redis could not be told.
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
    ) -> None:
        self.store = store
        self._cache = cache
        self._now_ms = now_ms
        self._randbits = randbits
        self._randbelow = randbelow
        self._ours = ours
        self._on_unannounced = on_unannounced

    async def create(self, *, target: str, slug: str | None = None, domain: str = "", **fields: Any) -> Link:
        """Makes a link; without a slug, one is made that is free.

        Raises:
            TargetError, SlugError: a value that cannot be used.
            SlugTakenError: the chosen slug belongs to another link.
        """
        target = normalise_target(target, self._ours)
        if slug is not None:
            link = await self.store.insert(self._new(domain, check_slug(slug), target, fields))
        else:
            link = await self._create_random(domain, target, fields)
        await self._announce(link)
        return link

    async def delete(self, key: str, *, version: int | None = None) -> Link | None:
        """Ends a link; None when there is none (at `version`, if given). Its key may be taken again."""
        return await self.update(key, {"state": LinkState.DELETED.value}, version=version)

    async def update(self, key: str, fields: dict[str, Any], *, version: int | None = None) -> Link | None:
        """Changes stored fields of a link; None when there is none (at `version`, if given)."""
        if "target" in fields:
            fields["target"] = normalise_target(fields["target"], self._ours)
        link = await self.store.change(key, fields, now_ms=self._now_ms(), version=version)
        if link is not None:
            await self._announce(link)
        return link

    async def _create_random(self, domain: str, target: str, fields: dict[str, Any]) -> Link:
        for _ in range(TRIES_MAX - 1):
            try:
                return await self.store.insert(self._new(domain, make_slug(self._randbelow), target, fields))
            except SlugTakenError:
                continue  # the database's own key said so: try another
        return await self.store.insert(self._new(domain, make_slug(self._randbelow), target, fields))

    def _new(self, domain: str, slug: str, target: str, fields: dict[str, Any]) -> Link:
        now_ms = self._now_ms()
        return Link(
            domain=domain,
            slug=slug,
            target=target,
            link=self._randbits(LINK_ID_BITS) | 1,
            version=now_ms,
            created=now_ms // 1000,
            **fields,
        )

    async def _announce(self, link: Link) -> None:
        cached: Cached = link.cached()
        try:
            async with asyncio.timeout(ANNOUNCE_S):
                await self._cache.announce([(join_key(link.domain, link.slug), cached)])
        except (RedisError, OSError) as error:
            self._on_unannounced(error)
