"""Types of fields that bodies hold and answers show, each with what it means and its bounds.

Whoever calls reads these words in the API's description. What a type cannot say (a target that is no URL, an end before
the start) is judged by `app.api.wishes`; `shown` then tells readers more than msgspec shall check. Pure.
May import: redirect.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from msgspec import Meta

from app.redirect import REDIRECT_CODES

__all__ = [
    "CodeField",
    "DomainField",
    "EndField",
    "FindExistingField",
    "ForwardPathField",
    "ForwardQueryField",
    "MomentField",
    "MomentParameter",
    "NotesField",
    "PasswordField",
    "SlugField",
    "StartField",
    "StateField",
    "TagsField",
    "TargetField",
    "TitleField",
    "VisitsField",
    "moment_fault",
    "shown",
]

VISITS_MAX = 10**12


def shown(says: str, *examples: Any, **schema: Any) -> Meta:
    """What readers are told of a field, beside its type."""
    return Meta(description=says, extra_json_schema={**schema, **({"examples": list(examples)} if examples else {})})


def moment_fault(at: datetime) -> str | None:
    """What is wrong with a time that somebody gave: answers show it in UTC, which then must have such a year."""
    if at.tzinfo is None:
        return "must name a time zone, such as 2030-01-01T00:00:00Z"
    try:
        at.astimezone(UTC)
    except OverflowError:
        return "must lie in the years 1 to 9999 of UTC"
    return None


TargetField = Annotated[
    str,
    shown(
        "Where the link leads: http or https, at most 8,192 bytes, not to this instance itself.",
        "https://www.rfc-editor.org/rfc/rfc9110.html",
        format="uri",
        maxLength=8192,
        pattern="^[Hh][Tt][Tt][Pp][Ss]?://",
    ),
]
SlugField = Annotated[
    str,
    shown(
        "What stands behind the domain, case-sensitive unless the domain says otherwise; left out: 7 random "
        "characters without look-alikes, or as the domain says.",
        "http",
        pattern="^[A-Za-z0-9_-]{1,64}$",
    ),
]
DomainField = Annotated[
    str, shown("One of the further domains; empty: the default domain.", "", "go.example.com", maxLength=253)
]
StateField = Annotated[
    Literal["active", "disabled", "banned"], shown("Disabled links are answered 404, banned ones 410.", "active")
]
CodeField = Annotated[int, shown("The status of the redirect.", 302, enum=list(REDIRECT_CODES), default=302)]
MomentField = Annotated[datetime, shown("A time with its zone (RFC 3339).", format="date-time")]
MomentParameter = Annotated[
    datetime, shown("A time with its zone (RFC 3339).", "2030-01-01T00:00:00Z", format="date-time")
]
StartField = Annotated[
    datetime, shown("404 before this time, to the second.", "2030-01-01T00:00:00Z", format="date-time")
]
EndField = Annotated[
    datetime, shown("410 from this time on, to the second.", "2031-01-01T00:00:00Z", format="date-time")
]
VisitsField = Annotated[int, Meta(ge=1, le=VISITS_MAX, description="410 after so many redirects.", examples=[1000])]
PasswordField = Annotated[
    str, shown("1 to 72 bytes; the short URL then shows a form.", "open sesame", minLength=1, maxLength=72)
]
TagsField = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=64)]],
    Meta(max_length=32, description="Labels that lists and statistics can be narrowed by.", examples=[["rfc", "web"]]),
]
TitleField = Annotated[str, Meta(max_length=500, description="Shown in lists only.", examples=["HTTP semantics"])]
NotesField = Annotated[str, Meta(max_length=10_000, description="Shown nowhere but here.", examples=["Ask Ada first."])]
FindExistingField = Annotated[
    bool,
    Meta(
        description="Whether an active link of the same owner and domain that does nothing else than lead to "
        "`target` is answered (200) instead of making another. Goes with `target`, `domain`, `title`, `notes` and "
        "`tags` alone; the last three are used only if a link is made."
    ),
]
ForwardQueryField = Annotated[bool, Meta(description="Whether the short URL's query is added to the target's.")]
ForwardPathField = Annotated[bool, Meta(description="Whether `/slug/rest` leads to the target's path + `/rest`.")]
