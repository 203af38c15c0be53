"""Rules and variants as the API takes and shows them.

In: bodies as `RuleWish` and `VariantWish`. Out: `app.links.Rule` and `Variant`, or every field that cannot be used; and
the way back for showing. May import: links.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, cast, get_args
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from app.api.fields import moment_fault
from app.api.problems import FieldError
from app.links import (
    BRANCH_BYTES_MAX,
    RULES_MAX,
    VARIANTS_MAX,
    WEIGHT_MAX,
    Parameter,
    Rule,
    TargetError,
    Variant,
    When,
)

__all__ = [
    "RuleWish",
    "Rules",
    "VariantWish",
    "Variants",
    "branch_faults",
    "read_rule",
    "read_target",
    "show_rule",
    "show_variant",
]

VALUES_MAX = 64
Name = Annotated[str, Meta(min_length=1, max_length=64)]
Names = Annotated[list[Name], Meta(max_length=VALUES_MAX)]
Device = Literal["desktop", "mobile", "tablet"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS = get_args(Day)
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|(24):(00))")


class WhenWish(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Conditions that must all hold; the values of one are alternatives."""

    device: list[Device] = []
    os: Names = []
    browser: Names = []
    language: Annotated[list[Annotated[str, Meta(pattern="^[A-Za-z]{2,3}$")]], Meta(max_length=VALUES_MAX)] = []
    country: Annotated[list[Annotated[str, Meta(pattern="^[A-Za-z]{2}$")]], Meta(max_length=300)] = []
    query: Annotated[
        dict[Name, Annotated[list[Annotated[str, Meta(max_length=256)]], Meta(max_length=VALUES_MAX)]],
        Meta(max_length=16),
    ] = {}
    after: datetime | None = None
    before: datetime | None = None
    hours: str | None = None
    weekdays: list[Day] = []
    timezone: str = "UTC"


class RuleWish(msgspec.Struct, forbid_unknown_fields=True):
    """Where to, and when."""

    target: str
    when: WhenWish


class VariantWish(msgspec.Struct, forbid_unknown_fields=True):
    """Where to, and how many compared with the other variants."""

    target: str
    weight: Annotated[int, Meta(ge=0, le=WEIGHT_MAX)] = 1


Rules = Annotated[list[RuleWish], Meta(max_length=RULES_MAX)]
Variants = Annotated[list[VariantWish], Meta(max_length=VARIANTS_MAX)]
Check = Callable[[str], str]


def read_rule(wish: RuleWish, place: str, check: Check, errors: list[FieldError]) -> Rule:
    """The rule; adds to `errors` what is wrong with it, under the field `place`, such as `rules[0]`."""
    when = wish.when
    errors += (FieldError(f"{place}.when.{name}".removesuffix("."), message) for name, message in _when_faults(when))
    hours = None if when.hours is None else _HOURS.fullmatch(when.hours)
    start, end = _minutes(hours) if hours else (0, 0)
    return Rule(
        target=read_target(wish.target, place, check, errors),
        when=When(
            device=tuple(when.device),
            os=tuple(when.os),
            browser=tuple(when.browser),
            language=tuple(language.lower() for language in when.language),
            country=tuple(country.upper() for country in when.country),
            query=tuple(Parameter(name, tuple(values)) for name, values in when.query.items()),
            after=None if when.after is None else int(when.after.timestamp()),
            before=None if when.before is None else int(when.before.timestamp()),
            hours=(start, end) if hours else None,
            weekdays=tuple(sorted({DAYS.index(day) + 1 for day in when.weekdays})),
            timezone=when.timezone,
        ),
    )


def read_target(text: str, place: str, check: Check, errors: list[FieldError]) -> str:
    """A target as it is stored; adds to `errors` why it is none."""
    try:
        return check(text)
    except TargetError as error:
        errors.append(FieldError(f"{place}.target", str(error)))
        return ""


def branch_faults(rules: Sequence[Rule], variants: Sequence[Variant]) -> Iterator[FieldError]:
    """What is wrong with all of a link's rules and variants together."""
    if variants and not any(variant.weight for variant in variants):
        yield FieldError("variants", "must not all have weight 0")
    size = sum(len(branch.target) for branches in (rules, variants) for branch in branches)
    if size > BRANCH_BYTES_MAX:
        yield FieldError(
            "rules" if rules else "variants", f"targets must not be longer than {BRANCH_BYTES_MAX} bytes together"
        )


def show_rule(rule: Rule) -> RuleWish:
    """A rule as it would be posted."""
    when = rule.when
    shown = WhenWish(
        device=cast("list[Device]", list(when.device)),
        os=list(when.os),
        browser=list(when.browser),
        language=list(when.language),
        country=list(when.country),
        query={parameter.name: list(parameter.values) for parameter in when.query},
        after=None if when.after is None else datetime.fromtimestamp(when.after, UTC),
        before=None if when.before is None else datetime.fromtimestamp(when.before, UTC),
        hours=None if when.hours is None else "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in when.hours),
        weekdays=[DAYS[day - 1] for day in when.weekdays],
        timezone=when.timezone,
    )
    return RuleWish(rule.target, shown)


def show_variant(variant: Variant) -> VariantWish:
    """A variant as it would be posted."""
    return VariantWish(variant.target, variant.weight)


def _when_faults(when: WhenWish) -> Iterator[tuple[str, str]]:
    """(field, message) of what types cannot say."""
    if when == WhenWish(timezone=when.timezone):
        yield "", "must hold a condition"
    times = {name: at for name in ("after", "before") if (at := getattr(when, name)) is not None}
    wrong = {name: fault for name, at in times.items() if (fault := moment_fault(at)) is not None}
    yield from wrong.items()
    if not wrong and when.after and when.before and when.after >= when.before:
        yield "before", "must be later than after"
    if when.hours is not None and ((match := _HOURS.fullmatch(when.hours)) is None or len(set(_minutes(match))) == 1):
        yield "hours", "must be two times of the day such as 09:00-17:30, or 22:00-06:00 over midnight"
    try:
        ZoneInfo(when.timezone)
    except (OSError, ValueError, KeyError):
        yield "timezone", "must be a time zone of the IANA database, such as Europe/Berlin"


def _minutes(match: re.Match[str]) -> tuple[int, int]:
    start_hour, start_minute, *rest = match.groups()
    end_hour, end_minute = [part for part in rest if part is not None]
    return int(start_hour) * 60 + int(start_minute), int(end_hour) * 60 + int(end_minute)
