"""Clients that tell of each question, within the span that is present; used where traces are sent, and only there.

In: calls. Out: spans named `mongodb COMMAND` and `redis COMMAND`, with the collection, without keys or values.
Subscriptions are not told: they wait. May import: observe, client and the two clients.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, TypeVar, cast

from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent
from redis.asyncio.client import Pipeline

from app.observe import OFF, Span, asking, begin_question
from app.stores.client import RedisClient

__all__ = ["CommandSpans", "traced_class"]

C = TypeVar("C", bound=RedisClient)
OPEN_MAX = 1_000  # commands whose end PyMongo never told are forgotten


class CommandSpans(CommandListener):
    """Tells of every command of a client; PyMongo calls it in the task that asks."""

    def __init__(self) -> None:
        self._open: OrderedDict[int, Span] = OrderedDict()

    def started(self, event: CommandStartedEvent) -> None:
        """A command is sent."""
        name = event.command_name
        collection = event.command.get("collection" if name == "getMore" else name)
        about = {"db.collection.name": collection} if isinstance(collection, str) else {}
        span = begin_question("mongodb", name, about)
        if span is OFF:
            return
        self._open[event.request_id] = span
        if len(self._open) > OPEN_MAX:
            self._open.popitem(last=False)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """It was answered."""
        if (span := self._open.pop(event.request_id, None)) is not None:
            span.end()

    def failed(self, event: CommandFailedEvent) -> None:
        """It was refused, or lost; what MongoDB says of it may hold values, so only the name of the error is told."""
        if (span := self._open.pop(event.request_id, None)) is not None:
            span.end(str(event.failure.get("codeName") or "NoAnswer"))


class TracedPipeline(Pipeline):
    """Tells of each time it is sent."""

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """As redis-py's."""
        with asking("redis", "PIPELINE"):
            return list(await super().execute(raise_on_error))


class Traced(RedisClient):
    """Tells of each command, and of pipelines as wholes."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """As redis-py's."""
        with asking("redis", str(args[0]).partition(" ")[0]):
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> TracedPipeline:
        """As redis-py's."""
        return TracedPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


def traced_class(kind: type[C]) -> type[C]:
    """A client of that kind that tells."""
    return cast(type[C], type(f"Traced{kind.__name__}", (Traced, kind), {}))
