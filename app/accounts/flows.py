"""Sign-ins that are under way at the identity provider, in Redis: `o:<SHA-256 of the state>` -> a flow, for FLOW_S.

In: where a browser wants to come out. Out: what it takes along; later the flow that it comes back with, once.

    state      256 random bits, in the URL: which flow it is
    secret     256 random bits, in a cookie of this browser alone; the nonce that the provider puts into its token is
               its SHA-256, so neither the state nor the token of one browser is of use in another one
    verifier   256 random bits, here alone (PKCE): a code that somebody else caught is of no use to them

A flow is taken out of Redis as it is read: of two who come with the same state one finds it.
May import: provider, Redis's client.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import redis.asyncio

from app.accounts.provider import challenge_of
from app.accounts.sessions import in_time

__all__ = ["FLOW_S", "Begun", "Flow", "Flows"]

PREFIX = "o:"
FLOW_S = 600  # a password and a second factor at the provider; what is left of it ends by itself


class Flow(msgspec.Struct, array_like=True, frozen=True):
    """A sign-in that was begun; `landing` is where the browser goes at last."""

    nonce: str
    verifier: str
    landing: str


class Begun(NamedTuple):
    """What a browser takes along."""

    state: str
    secret: str
    flow: Flow


class Flows:
    """Flows of all processes. `token` is `secrets.token_urlsafe`."""

    def __init__(self, client: redis.asyncio.Redis, *, token: Callable[[int], str]) -> None:
        self._client = client
        self._token = token

    async def begin(self, landing: str) -> Begun:
        """A new flow; raises RedisError."""
        state, secret, verifier = (self._token(32) for _ in range(3))
        flow = Flow(challenge_of(secret), verifier, landing)
        await in_time(self._client.set(_key_of(state), msgspec.msgpack.encode(flow), ex=FLOW_S))
        return Begun(state, secret, flow)

    async def take(self, state: str, secret: str) -> Flow | None:
        """The flow of a state, if this browser began it; it is gone then. Raises RedisError."""
        value: Any = await in_time(self._client.getdel(_key_of(state)))
        if value is None:
            return None
        flow = msgspec.msgpack.decode(value, type=Flow)
        return flow if hmac.compare_digest(challenge_of(secret), flow.nonce) else None


def _key_of(state: str) -> str:
    return PREFIX + hashlib.sha256(state.encode("utf-8", "surrogatepass")).hexdigest()
