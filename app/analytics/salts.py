"""The secret of each day that visitor ids are made with, and that is thrown away, so that nobody can undo them.

In: days. Out: 32 random bytes for each, the same on every node: the first node that needs a day's salt writes it with
majority, whoever comes second reads it.

A salt is gone SALT_DAYS after its day began; MongoDB removes it by itself. Until then late clicks of the day are
counted with it. Clicks that come even later (a node that was cut off for days) get a new salt for their day, gone as
long after it was made: none of them is lost, each of their visitors counts once among them, and one who was also
counted in time counts twice. May import: stores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from pymongo import ASCENDING, IndexModel
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from app.analytics.bucket import EPOCH
from app.stores import Database

__all__ = ["SALTS", "SALT_INDEXES", "Salts"]

SALTS = "salts"
SALT_DAYS = 3
SALT_BYTES = 32
KNOWN_MAX = 16  # days in memory; more are only met by a node that was away for weeks
SALT_INDEXES = [IndexModel([("expires", ASCENDING)], expireAfterSeconds=0)]


class Salts:
    """The salts of some days, as one process knows them.

    Args:
        random: makes a salt; `secrets.token_bytes` outside of tests.
        now: UTC.
    """

    def __init__(self, database: Database, *, random: Callable[[int], bytes], now: Callable[[], datetime]) -> None:
        self._salts = database.get_collection(
            SALTS, read_concern=ReadConcern("majority"), write_concern=WriteConcern("majority")
        )
        self._random = random
        self._now = now
        self._known: dict[int, tuple[bytes, datetime]] = {}

    @property
    def known(self) -> Mapping[int, bytes]:
        """Salts by day, as days since 1970; those that expired are not among them."""
        now = self._now()
        if any(expires <= now for _, expires in self._known.values()):
            self._known = {day: row for day, row in self._known.items() if row[1] > now}
        return {day: salt for day, (salt, _) in self._known.items()}

    async def learn(self, day: int) -> None:
        """Reads the salt of a day, or makes it.

        Raises:
            PyMongoError: MongoDB does not answer; nothing is known.
        """
        while (row := await self._read(day)) is None:
            made = {"_id": day, "salt": self._random(SALT_BYTES), "expires": self._expiry(day)}
            with suppress(DuplicateKeyError):  # another was first: its salt is read
                await self._salts.insert_one(made)
        while len(self._known) >= KNOWN_MAX:
            del self._known[next(iter(self._known))]
        self._known[day] = row

    async def _read(self, day: int) -> tuple[bytes, datetime] | None:
        row = await self._salts.find_one({"_id": day})
        if row is not None and row["expires"] <= self._now():  # MongoDB looks once a minute
            await self._salts.delete_one({"_id": day, "expires": row["expires"]})
            return None
        return None if row is None else (bytes(row["salt"]), row["expires"])

    def _expiry(self, day: int) -> datetime:
        """SALT_DAYS from the day's begin or, for late clicks and clocks that are wrong, from now."""
        now = self._now()
        midnight = datetime.combine(EPOCH + timedelta(days=day), datetime.min.time(), UTC)
        begin = midnight if abs(midnight - now) <= timedelta(days=1) else now
        return begin + timedelta(days=SALT_DAYS)
