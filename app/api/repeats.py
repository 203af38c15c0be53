"""`Idempotency-Key`: a request that is sent again, because nobody knows what became of it, is done once.

In: the key, who calls, and a digest of the request. Out: a claim to do it, or the answer that was given.

    idempotency   _id = hash of caller and key, digest, seed, holder and until (a date by MongoDB's clock) while one is
                  at it; status, headers, body of its answer; at, by which MongoDB removes it a day later

    claim     nobody is at it, or who was did not come back by `until`: holder, until = now + LEASE_S
    finish    the answer is kept; every further request gets it byte for byte
    give up   nothing was done: forgotten. Done in part: the next one may be at it at once

Whoever takes over gets the same `seed`, and makes links of it: those that were stored before a crash are found again
(`Catalog.draft`), so a crash at any instruction makes none twice. A request without the header costs nothing.
May import: stores.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pymongo import IndexModel, ReturnDocument
from pymongo.errors import DuplicateKeyError

from app.api.problems import FieldError, Problem, wrong_fields
from app.stores import Database

__all__ = ["INDEXES", "REPEATS", "Claim", "Repeats", "Said"]

REPEATS = "idempotency"
KEPT_S = 86_400
INDEXES = {REPEATS: [IndexModel("at", expireAfterSeconds=KEPT_S)]}
LEASE_S = 10.0  # a request takes less, but a batch with passwords in a queue; two at once make the same links
WAIT_S = 5.0
POLL_S = 0.05
TRIES_MAX = 4
DIGEST_BYTES_MAX = 65_536  # that the loop digests itself: 0.2 ms
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class Claim:
    """This request is to be done, with `seed` for what is made at random."""

    id: str
    holder: str
    seed: bytes


@dataclass(frozen=True, slots=True)
class Said:
    """What was answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Repeats:
    """The collection of one database; raises `PyMongoError` when it does not answer. `monotonic` is in seconds."""

    def __init__(self, database: Database, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rows = database[REPEATS]
        self._monotonic = monotonic

    async def claim(self, caller: str, key: str, request: bytes) -> Claim | Said:
        """To do the request, or its answer; waits a while for another that is at it.

        Raises:
            Problem: 422 for a key that is none or was used for another request, 409 while another is at it.
        """
        if not _KEY.fullmatch(key):
            message = "must be 1 to 255 visible ASCII characters"
            raise wrong_fields([FieldError("Idempotency-Key", message)])
        id_ = hashlib.sha256(f"{caller}\n{key}".encode()).hexdigest()
        is_long = len(request) > DIGEST_BYTES_MAX
        digest = await asyncio.to_thread(_digest, key, request) if is_long else _digest(key, request)
        until_s = self._monotonic() + WAIT_S
        while True:
            holder = secrets.token_hex(8)
            row = await self._ask(id_, holder, digest)
            if row["digest"] != digest:
                message = "was used for another request"
                raise wrong_fields([FieldError("Idempotency-Key", message)])
            if "status" in row:
                return Said(row["status"], row["headers"], await asyncio.to_thread(zlib.decompress, row["body"]))
            if row["holder"] == holder:
                return Claim(id_, holder, row["seed"])
            if self._monotonic() >= until_s:
                detail = "The first request with this Idempotency-Key is still being worked on."
                raise Problem(HTTPStatus.CONFLICT, detail, headers={"Retry-After": "1"})
            await asyncio.sleep(POLL_S)

    async def finish(self, claim: Claim, said: Said) -> None:
        """Keeps the answer, unless another took over."""
        # In a thread: 8 MB take 89 ms, in which no redirect would be answered.
        body = await asyncio.to_thread(zlib.compress, said.body, 1)
        kept = {"status": said.status, "headers": dict(said.headers), "body": body}
        await self._rows.update_one({"_id": claim.id, "holder": claim.holder}, {"$set": kept})

    async def give_up(self, claim: Claim, *, is_nothing_done: bool) -> None:
        """Lets the next request do it, another one too if nothing was done."""
        mine = {"_id": claim.id, "holder": claim.holder}
        if is_nothing_done:
            await self._rows.delete_one(mine)
        else:
            await self._rows.update_one(mine, [{"$set": {"until": "$$NOW"}}])

    async def _ask(self, id_: str, holder: str, digest: str) -> Mapping[str, Any]:
        """The row after one write: this holder's if it could be had."""
        is_other = {"$ne": [{"$ifNull": ["$digest", digest]}, digest]}
        is_done = {"$ne": [{"$type": "$status"}, "missing"]}
        stays = {"$or": [is_other, is_done, {"$gt": ["$until", "$$NOW"]}]}
        update = {
            "digest": {"$ifNull": ["$digest", digest]},
            "seed": {"$ifNull": ["$seed", secrets.token_bytes(16)]},
            "at": {"$ifNull": ["$at", "$$NOW"]},
            "holder": {"$cond": [stays, "$holder", holder]},
            "until": {"$cond": [stays, "$until", {"$add": ["$$NOW", int(LEASE_S * 1000)]}]},
        }
        for _ in range(TRIES_MAX):
            try:
                row = await self._rows.find_one_and_update(
                    {"_id": id_}, [{"$set": update}], upsert=True, return_document=ReturnDocument.AFTER
                )
            except DuplicateKeyError:  # another made the row in the same moment
                continue
            assert row is not None
            return row
        raise Problem(HTTPStatus.CONFLICT, "Others use this key right now.", headers={"Retry-After": "1"})


def _digest(key: str, request: bytes) -> str:
    """Under the key, which is not stored: who reads the rows could try to guess a password in the request."""
    return hmac.digest(key.encode(), request, "sha256").hex()
