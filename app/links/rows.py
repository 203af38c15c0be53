"""Links as documents of MongoDB, and back.

In: links, already judged. Out: documents with everything that indexes need, and links of documents. An option that is
absent is not stored. Pure. May import: bson, `model`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from bson.int64 import Int64

from app.links.branches import Rule, Variant
from app.links.labels import labels_of, same_as
from app.links.model import Broken, Link, split_key
from app.links.terms import terms_of

__all__ = ["DERIVED", "branch_fields", "broken_field", "derived_fields", "from_row", "set_fields", "to_row"]

#: What is made of a link's other fields, for indexes alone. A deleted link has none of it.
DERIVED = ("labels", "terms", "same", "once")
_MADE = {"domain", "slug", "link", "version", "state", "rules", "variants", "broken", "is_only"}
_AS_THEY_ARE = tuple(field.name for field in msgspec.structs.fields(Link) if field.name not in _MADE)


def to_row(link: Link) -> dict[str, Any]:
    """The document of a link."""
    row: dict[str, Any] = {
        "_id": link.key,
        "link": Int64(link.link),
        "version": Int64(link.version),
        "state": link.state.value,
    }
    row |= {name: value for name in _AS_THEY_ARE if (value := getattr(link, name)) is not None}
    if link.rules or link.variants:
        row |= branch_fields(link.rules, link.variants)
    if link.broken is not None:
        row["broken"] = broken_field(link.broken)
    row |= derived_fields(link)
    if row["same"] is None:
        del row["same"]
    if link.is_only:
        row["once"] = row["same"]
    return row


def from_row(row: Mapping[str, Any]) -> Link:
    """The link of a document, perhaps of a projection; raises msgspec.ValidationError for one that is none."""
    domain, slug = split_key(row["_id"])
    fields = {name: value for name, value in row.items() if name != "_id"}
    return msgspec.convert({**fields, "domain": domain, "slug": slug}, Link)


def branch_fields(rules: Sequence[Rule], variants: Sequence[Variant]) -> dict[str, Any]:
    """Rules and variants as documents."""
    return {"rules": msgspec.to_builtins(rules), "variants": msgspec.to_builtins(variants)}


def broken_field(broken: Broken) -> dict[str, Any]:
    """What is known against a link's page, as a document."""
    return {"since": Int64(broken.since), "reason": broken.reason}


def derived_fields(link: Link) -> dict[str, Any]:
    """What indexes need of a living link."""
    same = same_as(link)
    return {
        "labels": labels_of(link),
        "terms": terms_of(slug=link.slug, title=link.title, target=link.target, notes=link.notes),
        "same": None if same is None else Int64(same),
    }


def set_fields(fields: Mapping[str, Any], version: int | Int64) -> list[dict[str, Any]]:
    """The update that sets fields, takes away those that are None, and raises the version to at least `version`."""
    literal = {name: "$$REMOVE" if value is None else {"$literal": value} for name, value in fields.items()}
    return [{"$set": literal}, {"$set": {"version": {"$max": [{"$add": ["$version", 1]}, Int64(version)]}}}]
