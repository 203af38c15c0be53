"""Options for the fields of a link, shared by `boltlink shorten` and `boltlink links edit`.

In: words of the command line. Out: the body of a request. What a field may hold is the API's business: it names every
wrong one; here is only what a person types otherwise than JSON says it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import IO, Any, TypeVar

import click

from app.cli.talk import ask_password

__all__ = [
    "CLEARABLE",
    "DOMAIN",
    "VERSION",
    "Ago",
    "Moment",
    "Seconds",
    "Since",
    "body_of",
    "clear_option",
    "field_options",
    "filters_of",
    "query_of",
]

F = TypeVar("F", bound=Callable[..., Any])

CODES = ("301", "302", "307", "308")
#: What `--clear` takes away -> the field and its empty value.
CLEARABLE: dict[str, tuple[str, Any]] = {
    "starts": ("starts_at", None),
    "expires": ("expires_at", None),
    "max-visits": ("max_visits", None),
    "password": ("password", None),
    "tags": ("tags", []),
    "rules": ("rules", []),
    "variants": ("variants", []),
}
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


class Moment(click.ParamType[str]):
    """A time: from now on, or by the calendar; one without a zone is this machine's."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """RFC 3339."""
        return _moment_of(self, value, is_past=False).isoformat(timespec="seconds").replace("+00:00", "Z")


class Ago(click.ParamType[datetime]):
    """A time that was: so long ago, or by the calendar; one without a zone is this machine's."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """With its zone."""
        return _moment_of(self, value, is_past=True)


class Since(click.ParamType[str]):
    """A time of statistics: so long ago; else as the API takes it, whose days begin in the time zone of `tz`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """RFC 3339 to the minute, which is as fine as statistics are; or what was given."""
        if re.fullmatch(r"\d{1,9}[smhdw]", value) is None:
            return str(value)
        return _moment_of(self, value, is_past=True).strftime("%Y-%m-%dT%H:%M:00Z")


def _moment_of(kind: click.ParamType[Any], value: str, *, is_past: bool) -> datetime:
    match = re.fullmatch(r"(\d{1,9})([smhdw])", value)
    try:
        if match is None:
            return datetime.fromisoformat(value).astimezone(UTC)
        span = timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
        return datetime.now(UTC) - span if is_past else datetime.now(UTC) + span
    except (ValueError, OverflowError):
        example = "2026-01-31, 2026-01-31T12:00:00Z" if is_past else "2030-01-31, 2030-01-31T12:00:00Z"
        kind.fail(f"{value!r} is no time such as {example}, or 30m, 12h, 7d {'ago' if is_past else 'from now'}")


class Seconds(click.ParamType[float]):
    """A time that ends: float takes nan, which no time is ever later than, and inf."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Zero or more."""
        if isinstance(value, str) and re.fullmatch(r"\d{1,9}(\.\d{0,9})?", value, re.ASCII) is None:
            self.fail(f"{value!r} is no number of seconds such as 60")
        return float(value)


class WeightedTarget(click.ParamType[dict[str, Any]]):
    """`WEIGHT:TARGET`, or a target alone for weight 1."""

    name = "[weight:]url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        """As the API has it."""
        match = re.fullmatch(r"(?:(\d{1,9}):)?(.+)", value, re.DOTALL)
        if match is None:
            self.fail(f"{value!r} is no target")
        return {"target": match[2], "weight": int(match[1] or 1)}


DOMAIN = click.option("--domain", default="", help="The domain that the link lives under.")
VERSION = click.option("--if-version", type=int, help="Only if the link is still at this version.")


def field_options(command: F) -> F:
    """Adds the options of a link's fields."""
    options = [
        click.option("--title", help="A title for people."),
        click.option("--notes", help="Notes for people."),
        click.option("--tag", "tags", multiple=True, help="A tag; may be given again."),
        click.option("--code", type=click.Choice(CODES), help="What it answers with (302)."),
        click.option("--starts", "starts_at", type=Moment(), help="From when on: a time, or 12h, 7d from now."),
        click.option("--expires", "expires_at", type=Moment(), help="Until when: a time, or 12h, 7d from now."),
        click.option("--max-visits", type=click.IntRange(min=1), help="How many redirects, no more."),
        click.option("--password", help="A password to ask visitors for; - reads it from the terminal."),
        click.option("--forward-query/--no-forward-query", default=None, help="Pass the short URL's query on."),
        click.option("--forward-path/--no-forward-path", default=None, help="Pass what follows the slug on."),
        click.option("--rules", type=click.File(), help="A file with the JSON array of rules; - for stdin."),
        click.option(
            "--variant",
            "variants",
            type=WeightedTarget(),
            multiple=True,
            help="A share of visitors; may be given again.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def clear_option(command: F) -> F:
    """Adds `--clear`."""
    return click.option("--clear", multiple=True, type=click.Choice(list(CLEARABLE)), help="Take away.")(command)


def body_of(*, clear: tuple[str, ...] = (), rules: IO[str] | None = None, **given: Any) -> dict[str, Any]:
    """The body that options ask for: only what was given."""
    body = {name: value for name, value in given.items() if value not in (None, ())}
    if "code" in body:
        body["code"] = int(body["code"])
    if body.get("password") == "-":
        body["password"] = ask_password(is_new=True)
    if rules is not None:
        try:
            body["rules"] = json.load(rules)
        except ValueError as error:
            raise click.BadParameter(f"{rules.name} is no JSON: {error}", param_hint="--rules") from error
    body.update(CLEARABLE[name] for name in clear)
    return body


def filters_of(wanted: Mapping[str, Any]) -> dict[str, str]:
    """The query of a list of links; an empty domain is the default one, None any."""
    given = {name: _text_of(value) for name, value in wanted.items() if value}
    return given | ({"domain": ""} if wanted["domain"] == "" else {})


def _text_of(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else str(value)


def query_of(domain: str) -> dict[str, str]:
    """The query that names a link's domain."""
    return {"domain": domain} if domain else {}
