"""What stored links of earlier releases lack, and how it is made: run by `app.stores.migrations`.

    2  labels   what lists and searches find a link by (`app.links.rows`); a deleted one has none of it. Until a link is
                reached, no list shows it; redirects know nothing of this

Pure. May import: stores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.links.model import LinkState
from app.links.rows import DERIVED, derived_fields, from_row
from app.links.storage import LINKS
from app.stores import Migration

__all__ = ["MIGRATIONS", "OBSOLETE"]

#: Indexes by tags, and of all links, that labels have replaced.
OBSOLETE = ("created_-1__id_-1", "tags_1_created_-1__id_-1", "clicks_-1__id_-1", "tags_1_clicks_-1__id_-1")
_DELETED = LinkState.DELETED.value


def _derive(row: Mapping[str, Any]) -> dict[str, Any]:
    if row["state"] == _DELETED:
        return {"$unset": dict.fromkeys(DERIVED, "")}
    return {"$set": {name: value for name, value in derived_fields(from_row(row)).items() if value is not None}}


MIGRATIONS = (
    Migration(
        version=2,
        name="labels",
        collection=LINKS,
        missing={
            "$or": [
                {"state": {"$ne": _DELETED}, "labels": {"$exists": False}},
                {"state": _DELETED, "terms": {"$exists": True}},
            ]
        },
        change=_derive,
        same=("version",),
    ),
)
