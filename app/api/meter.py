"""What a call is charged for, in which buckets, and what the caller is told of it.

In: who calls, what kind of call it is. Out: fields `RateLimit-Policy` and `RateLimit`
(draft-ietf-httpapi-ratelimit-headers: a list with an item for each bucket; `q` in `w` seconds, `r` left, all of it back
in `t` seconds), or 429 with `Retry-After`.

    of a key, or a user    its class (`read`, `write`, `batch`, `stats`), if BOLTLINK_CLASS_RATES names it: one a call;
                           then all of its calls together (BOLTLINK_API_RATE): the call's cost
    without a key          its address (BOLTLINK_ANONYMOUS_RATE): one each call

Who is refused by a class has paid nothing else, so a flood of writes leaves a key its reads.
May import: agents, limits, settings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import NamedTuple

from app.agents import network_of
from app.api.problems import Problem
from app.limits import Bucket, Grant, Quota, Rate
from app.settings import Settings

__all__ = ["Charge", "charges_of_address", "charges_of_caller", "pay", "too_many"]

BURST_S = 10  # of what may be done in a second, at once


class Charge(NamedTuple):
    """What is taken of one bucket; `name` is its policy's, `detail` says why there is no more."""

    name: str
    bucket: Bucket
    cost: int
    detail: str


def charges_of_caller(settings: Settings, who: str, kind: str, cost: int) -> Iterator[Charge]:
    """What a call of a key or a user is charged for."""
    rate = settings.class_rates.get(kind)
    if rate is not None:
        detail = f"This key asks for more of this kind ({kind}) than BOLTLINK_CLASS_RATES allows."
        yield Charge(kind, _bucket(f"{who}:{kind}", rate), 1, detail)
    if settings.api_rate is not None:
        detail = "This key asks for more than BOLTLINK_API_RATE allows."
        yield Charge("key", _bucket(who, settings.api_rate), cost, detail)


def charges_of_address(settings: Settings, address: str) -> Iterator[Charge]:
    """What a call without a key is charged for."""
    if settings.anonymous_rate is not None:
        detail = "This address asks for more without a key than BOLTLINK_ANONYMOUS_RATE allows."
        yield Charge("address", _bucket(f"open:{network_of(address)}", settings.anonymous_rate), 1, detail)


async def pay(quota: Quota, charges: Iterable[Charge]) -> dict[str, str]:
    """Takes all of it, and gives the fields that say what is left; raises Problem where a bucket has too little."""
    policies: list[str] = []
    left: list[str] = []
    fields: dict[str, str] = {}
    for charge in charges:
        grant = await quota.spend(charge.bucket, charge.cost)
        policies.append(f'"{charge.name}";q={charge.bucket.rate.burst};w={BURST_S}')
        left.append(f'"{charge.name}";r={grant.left};t={math.ceil(grant.full_s)}')
        fields = {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(left)}
        if not grant.taken:
            raise too_many(charge.detail, grant, fields)
    return fields


def too_many(detail: str, grant: Grant, fields: Mapping[str, str] | None = None) -> Problem:
    """The problem of somebody who must wait."""
    headers = {**(fields or {}), "Retry-After": str(math.ceil(grant.wait_s))}
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, headers=headers)


def _bucket(name: str, rate: int) -> Bucket:
    return Bucket(name, Rate(burst=rate * BURST_S, every_s=1 / rate))
