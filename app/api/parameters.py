"""Parameters of a request: those of its query as a Struct, and what may stand in a path.

In: the raw arguments of a query. Out: a Struct of the kind that was declared, or every parameter that cannot be used.
A parameter that is given twice is refused: two readers of the request might each take another one.
Pure. May import: problems.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from app.api.problems import FieldError, Problem, explain, fields_of, wrong_fields

__all__ = [
    "CURSOR",
    "PAGE_DEFAULT",
    "PAGE_MAX",
    "PATH_PARAMETERS",
    "DomainName",
    "LinkQuery",
    "NoQuery",
    "PathParameter",
    "page_limit",
    "read_query",
    "wrong_cursor",
]

T = TypeVar("T", bound=msgspec.Struct)

DomainName = Annotated[
    str,
    Meta(
        description="One of the further domains; left out or empty: the default domain.",
        max_length=253,
        examples=["go.example.com"],
    ),
]


PAGE_DEFAULT = 50
PAGE_MAX = 500  # of what is small
CURSOR = "A `next_cursor`: the page that follows."


def page_limit(most: int = PAGE_MAX) -> Meta:
    """How many things a page may be asked for."""
    return Meta(ge=1, le=most, description="How many on a page.")


class NoQuery(msgspec.Struct):
    """No parameter."""


class LinkQuery(msgspec.Struct):
    """Where the link of the path lives."""

    domain: DomainName = ""


@dataclass(frozen=True, slots=True)
class PathParameter:
    """What `{name}` in a route stands for: a regular expression, and what readers are told."""

    pattern: str
    says: str
    example: str


#: Every name in braces that a route may have.
PATH_PARAMETERS = {
    "slug": PathParameter(r"[A-Za-z0-9_-]{1,64}", "The link's slug.", "launch"),
    "domain": PathParameter(r"[A-Za-z0-9.-]{1,253}", "The domain's name.", "go.example.com"),
    "tag": PathParameter(r"[^/]+", "The tag, percent-encoded.", "rfc"),
    "user_id": PathParameter(r"[0-9a-f]{16}", "The user's id.", "1f0c5a2b3d4e5f60"),
    "digest": PathParameter(r"[0-9a-f]{16}", "Of the dashboard's files, as its page names it.", "5f0c5a2b3d4e5f60"),
    "file": PathParameter(r"[a-z]+\.[a-z]+", "The file's name.", "main.js"),
    "webhook_id": PathParameter(r"[0-9a-f]{16}", "The webhook's id.", "3b9f0c5a2b3d4e5f"),
    "delivery_id": PathParameter(
        r"[0-9a-f]{24}-[0-9a-f]{16}", "The delivery's id.", "6926d8a0f3c1b2a4d5e6f708-3b9f0c5a2b3d4e5f"
    ),
    "job_id": PathParameter(r"[A-Za-z0-9._-]{1,100}", "The job's id.", "6926d8a0f3c1b2a4d5e6f708-3b9f0c5a2b3d4e5f"),
    "key_id": PathParameter(r"[0-9a-f]{64}", "The key's id, as its making and lists show it.", "5f" * 32),
}


def wrong_cursor() -> Problem:
    """The problem with a cursor that no page has given."""
    return wrong_fields([FieldError("cursor", "must be a next_cursor as it was given")])


def read_query(arguments: Mapping[str, Sequence[bytes]], kind: type[T], *, is_strict: bool) -> T:
    """The parameters of a query.

    Args:
        is_strict: whether unknown ones are refused.

    Raises:
        Problem: 422 with every parameter that cannot be used.
    """
    errors: list[FieldError] = []
    fields = fields_of(kind)
    values: dict[str, Any] = {}
    for name, given in arguments.items():
        if name in fields:
            try:
                values[name] = _read(given, fields[name].type)
            except ValueError as error:
                errors.append(FieldError(name, explain(error, fields[name].type)))
        elif is_strict:
            errors.append(FieldError(_shown(name), "is no parameter here"))
    errors += _missing(fields, arguments)
    if errors:
        raise wrong_fields(errors, "Some parameters cannot be used.")
    return msgspec.convert(values, kind)


def _read(given: Sequence[bytes], kind: Any) -> Any:
    """One parameter's value; raises ValueError, as msgspec.ValidationError is one."""
    if len(given) > 1:
        raise ValueError("is given more than once")
    try:
        text = given[0].decode()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    wanted = _without_none(kind)
    # Only numbers and booleans are read out of text: a time would be read out of a number, too.
    return msgspec.convert(text, wanted, strict=_bare(wanted) not in (int, float, bool))


def _bare(kind: Any) -> Any:
    """A type without notes."""
    return _bare(get_args(kind)[0]) if get_origin(kind) is Annotated else kind


def _without_none(kind: Any) -> Any:
    """A type as a query can hold it: to msgspec the word `null` would be None."""
    if get_origin(kind) is Annotated:
        inner, *notes = get_args(kind)
        return Annotated[_without_none(inner), *notes]
    if get_origin(kind) not in (Union, UnionType):
        return kind
    return reduce(or_, (part for part in get_args(kind) if part is not NoneType))


def _missing(fields: Mapping[str, msgspec.structs.FieldInfo], given: Mapping[str, Any]) -> Iterator[FieldError]:
    for name, field in fields.items():
        if field.required and name not in given:
            yield FieldError(name, "is required")


def _shown(name: str) -> str:
    """A name that somebody made up, short enough to be repeated."""
    return name if len(name) <= 64 else name[:64] + "…"
