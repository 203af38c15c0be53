"""A Redis whose primary the sentinels name.

In: sentinels, and what they call the primary. Out: a client whose connections lead to the primary; when that is
another one, all connections to the former end, those under way too: it may live on, cut off, and be wrong.

All sentinels are asked at once, and of what they say the newest counts (`config-epoch`, which rises with every
fail-over): one that is cut off together with a former primary still believes in it. As soon as most have answered the
others are not waited for. May import: client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import redis.asyncio
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from app.settings import RedisPlace
from app.stores.client import Members, RedisClient, well_replicas

__all__ = ["PrimaryPool", "SentinelClient", "Sentinels", "open_by_sentinels"]

ANSWER_S = 0.5  # of a sentinel; below the second between two looks


class Sentinels(Sentinel):
    """Sentinels that are asked together."""

    async def answers(self, service: str, enough: float = 0.5) -> dict[str, Mapping[str, Any] | str]:
        """By sentinel: what it knows of the service's primary, or why it does not say.

        Args:
            enough: when more than this share of all has answered, the others are not waited for.
        """
        asked = {asyncio.ensure_future(self._ask(each, service)): _name_of(each) for each in self.sentinels}
        found: dict[str, Mapping[str, Any] | str] = {}
        waiting = set(asked)
        while waiting and sum(not isinstance(answer, str) for answer in found.values()) <= len(asked) * enough:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            found |= {asked[task]: task.result() for task in done}
        for task in waiting:
            task.cancel()
        return found

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """The primary's address, by the newest of what sentinels say. Raises MasterNotFoundError."""
        found = await self.answers(service_name)
        states = [state for state in found.values() if not isinstance(state, str)]
        good = [state for state in states if self.check_master_state(dict(state), service_name)]
        if not good:
            reasons = [
                f"{name} {answer if isinstance(answer, str) else 'says it is down'}" for name, answer in found.items()
            ]
            raise MasterNotFoundError(f"no primary of {service_name!r}: {', '.join(reasons)}")
        newest = max(good, key=lambda state: int(state["config-epoch"]))
        return str(newest["ip"]), int(newest["port"])

    async def _ask(self, sentinel: redis.asyncio.Redis, service: str) -> Mapping[str, Any] | str:
        try:
            async with asyncio.timeout(ANSWER_S):
                known: Any = await sentinel.sentinel_masters()
        except (AuthenticationError, NoPermissionError):
            return "refuses our password (sentinel_username, sentinel_password)"
        except TimeoutError:
            return "does not answer"
        except (RedisError, OSError) as error:
            return f"does not answer ({type(error).__name__})"
        state: Mapping[str, Any] | None = known.get(service)
        return f"knows no service {service!r}" if state is None else state


class PrimaryPool(SentinelConnectionPool):
    """Connections to the primary."""

    async def get_master_address(self) -> tuple[str, int]:
        """Asks who it is; ends all connections to one that is not."""
        former = self.master_address
        address: tuple[str, int] = await super().get_master_address()  # type: ignore[no-untyped-call]
        if former is not None and address != former:
            for connection in self._in_use_connections:
                # Not `disconnect`, which takes away what its user writes to: its user hears that it was lost.
                if (writer := connection._writer) is not None:
                    writer.transport.abort()
        return address

    async def aclose(self) -> None:
        """Ends connections to sentinels, too."""
        await super().aclose()
        await self.sentinel_manager.aclose()


class SentinelClient(RedisClient):
    """A client of the primary."""

    @property
    def pool(self) -> PrimaryPool:
        """Its connections, which know the sentinels."""
        pool = self.connection_pool
        assert isinstance(pool, PrimaryPool)
        return pool

    async def look(self) -> None:
        """Asks who the primary is."""
        await self.pool.get_master_address()

    async def members(self) -> Mapping[str, Members]:
        """The primary with its replicas, and the sentinels."""
        answers = await self.sentinels()
        states = [state for state in answers.values() if not isinstance(state, str)]
        known = max((int(state["num-slaves"]) for state in states), default=0)
        info: Mapping[str, Any] = await self.info("replication")
        return {"redis": Members(1 + well_replicas(info), 1 + known), "sentinel": Members(len(states), len(answers))}

    async def sentinels(self) -> Mapping[str, Mapping[str, Any] | str]:
        """What each sentinel knows of the primary, or why it does not say."""
        manager: Sentinels = self.pool.sentinel_manager
        return await manager.answers(self.pool.service_name, enough=1.0)


def open_by_sentinels(place: RedisPlace, kind: type[SentinelClient], options: Mapping[str, Any]) -> SentinelClient:
    """A client of type `kind` that connects when it is first used; `options` are those of its connections."""
    tls = {} if place.tls is None else {"ssl": True, **place.tls}
    common = {**options, **tls}
    manager = Sentinels(  # type: ignore[no-untyped-call]
        place.hosts,
        sentinel_kwargs={**common, "username": place.sentinel_username, "password": place.sentinel_password},
    )
    login = {"username": place.username, "password": place.password, "db": place.database}
    pool = PrimaryPool(place.service, manager, **common, **login)  # type: ignore[no-untyped-call]
    client = kind.from_pool(pool)
    assert isinstance(client, SentinelClient)
    return client


def _name_of(sentinel: redis.asyncio.Redis) -> str:
    given = sentinel.connection_pool.connection_kwargs
    return f"{given['host']}:{given['port']}"
