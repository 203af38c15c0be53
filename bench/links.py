"""The links b0, b1, … put straight into both stores, in bulk: ten million in minutes.

In: how many. Out: documents and values as the program's own code writes them; words to search by only if asked for. A
call of the API for each would take longer than everything that is measured; so would a bulk write for each index that
redirects never read, so the indexes are made when all links are there.
May import: links, stores.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import redis.asyncio
from pymongo.write_concern import WriteConcern

from app.links import LINKS, Link
from app.links.cache import PREFIX, encode_cached
from app.links.rows import to_row
from app.stores import Database

__all__ = ["TAGS", "fill_mongodb", "fill_redis"]

TAGS = 1_000  # of described links: each has one, and a word that as many others have

DOCUMENTS = 10_000  # in one bulk write
VALUES = 5_000  # in one pipeline
WRITES = 4  # under way at once
LIFE_S = 86_400  # none ends while it is measured


def numbered_link(number: int, now_ms: int) -> Link:
    """The link `b<number>`."""
    return Link(
        domain="",
        slug=f"b{number}",
        target=f"https://example.com/page/{number}",
        link=number + 1,
        version=now_ms,
        created=now_ms // 1000,
    )


def described_row(number: int, now_ms: int) -> dict[str, Any]:
    """Its document with a title, a tag and all that lists and searches need."""
    part = number % TAGS
    link = msgspec.structs.replace(numbered_link(number, now_ms), title=f"Page {number} w{part}", tags=[f"t{part}"])
    return to_row(link)


async def fill_mongodb(database: Database, links: int, *, is_described: bool = False) -> None:
    """All of them; described ones take three times as long."""
    collection = database.get_collection(LINKS, write_concern=WriteConcern(w=1))
    now_ms = time.time_ns() // 1_000_000
    like = to_row(numbered_link(0, now_ms))
    del like["terms"], like["same"]

    async def write(first: int) -> None:
        numbers = range(first, min(links, first + DOCUMENTS))
        rows: list[dict[str, Any]] = [
            described_row(n, now_ms)
            if is_described
            else {**like, "_id": f"/b{n}", "link": n + 1, "target": f"https://example.com/page/{n}"}
            for n in numbers
        ]
        await collection.insert_many(rows, ordered=False)

    for first in range(0, links, DOCUMENTS * WRITES):
        await asyncio.gather(
            *(write(start) for start in range(first, min(links, first + DOCUMENTS * WRITES), DOCUMENTS))
        )


async def fill_redis(client: redis.asyncio.Redis, links: int) -> None:
    """The first `links` of them, unless it holds them."""
    if await client.dbsize() >= links:
        return
    now_ms = time.time_ns() // 1_000_000
    for first in range(0, links, VALUES):
        pipeline = client.pipeline(transaction=False)
        for number in range(first, min(links, first + VALUES)):
            link = numbered_link(number, now_ms)
            pipeline.set(PREFIX + link.key, encode_cached(link.cached()), ex=LIFE_S)
        await pipeline.execute()
