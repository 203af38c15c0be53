"""What a method of a handler takes and answers, declared beside it: `@operation(...)`.

In: types, and the method's docstring, whose first line names it. Out: an `Operation` on the method. Three read it, so
none can differ from the others: `Handler.prepare` reads and checks the query by it, the OpenAPI document is made of it,
and a test fails for a method without one.

    query      a Struct whose fields are the parameters; what it does not name is refused
    body       the type of the JSON body
    answers    by status
    refuses    statuses that only this method has, and when; those that follow from the rest are added by the document

May import: parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from app.api.parameters import NoQuery

__all__ = ["Answer", "Operation", "operation", "operation_of"]

F = TypeVar("F", bound=Callable[..., Any])
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer that is no error.

    Attributes:
        kind: the type of its JSON; None when there is no JSON body.
        says: when it is given; by default the status says enough.
        headers: names of fields that only some answers have: those of `app.api.headers`.
        media: further media types, beside JSON if there is a `kind`.
    """

    kind: Any = None
    says: str = ""
    headers: tuple[str, ...] = ()
    media: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """The declaration of one method.

    `is_conditional` says whether If-Match is honoured, `is_repeatable` whether Idempotency-Key is; `example` is one of
    the body; `needs_session` whether the cookie of a session is asked for, and a key is of no use.
    """

    answers: Mapping[int, Answer]
    query: type[msgspec.Struct] = NoQuery
    body: type[msgspec.Struct] | None = None
    refuses: Mapping[int, str] = field(default_factory=dict)
    is_conditional: bool = False
    example: Any = None
    is_repeatable: bool = False
    needs_session: bool = False


def operation(
    answers: Mapping[int, Answer],
    *,
    query: type[msgspec.Struct] = NoQuery,
    body: type[msgspec.Struct] | None = None,
    refuses: Mapping[int, str] | None = None,
    is_conditional: bool = False,
    example: Any = None,
    is_repeatable: bool = False,
    needs_session: bool = False,
) -> Callable[[F], F]:
    """Declares the method that follows."""
    declared = Operation(answers, query, body, refuses or {}, is_conditional, example, is_repeatable, needs_session)

    def declare(method: F) -> F:
        method.operation = declared  # type: ignore[attr-defined]
        return method

    return declare


def operation_of(handler: type, method: str | None) -> Operation | None:
    """What a handler declares of a method; HEAD is as GET."""
    name = "get" if method == "HEAD" else (method or "").lower()
    found: Operation | None = getattr(getattr(handler, name, None), "operation", None)
    return found
