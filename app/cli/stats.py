"""`boltlink stats` and `boltlink erase`: what happened to links, as a table and a plot in the terminal; and its end."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.text import Text

from app.cli.client import Client, path_of
from app.cli.fields import DOMAIN, Since, query_of
from app.cli.plain import PlainConsole
from app.cli.plot import BARS_MAX, COLOUR, bars, columns, grouped, spark
from app.cli.talk import JSON, YES, confirm, say

__all__ = ["erase", "stats"]

SHOWN_MAX = 8
LABEL_CHARACTERS = {"minute": 16, "hour": 16, "month": 7}
BREAKDOWNS = ("referrers", "browsers", "os", "devices", "languages", "countries", "variants", "bot_names")


@click.command(epilog="Example: boltlink stats sale --unit hour --tz Europe/Paris --compare")
@click.argument("slug", required=False)
@click.option("--tag", help="All links with this tag together.")
@click.option("--domain", help="All links of this domain together; with SLUG, the domain that it is of.")
@click.option("--user", help="All links of this user together.")
@click.option("--from", "start", type=Since(), help="Begin: 2026-01-31, 2026-01-31T12:00:00Z, or 12h, 7d ago.")
@click.option("--to", "end", type=Since(), help="End, not included.")
@click.option("--unit", type=click.Choice(["minute", "hour", "day", "week", "month"]), default="day", show_default=True)
@click.option("--tz", default="UTC", show_default=True, help="Time zone of the units.")
@click.option("--compare", is_flag=True, help="Also the period before.")
@click.option("--csv", "table", metavar="TABLE", help="For spreadsheets: series, referrers, countries, browsers, …")
@JSON
def stats(
    slug: str | None,
    tag: str | None,
    domain: str | None,
    user: str | None,
    start: str | None,
    end: str | None,
    unit: str,
    tz: str,
    compare: bool,
    table: str | None,
    as_json: bool,
) -> None:
    """Show the clicks of SLUG, of many links together, or of all."""
    given = {"tag": tag, "domain": domain, "user": user, "from": start, "to": end}
    wanted = {"unit": unit, "tz": tz} | {name: value for name, value in given.items() if value is not None}
    if compare:
        wanted["compare"] = "previous"
    path = "/api/v1/stats" if slug is None else path_of("links", slug) + "/stats"
    if table is not None:
        click.echo(Client().text(path, params=wanted | {"format": "csv", "of": table}), nl=False)
        return
    found = Client().call("GET", path, params=wanted)
    if as_json:
        click.echo(json.dumps(found))
        return
    show(slug or next((f"{kind} {wanted[kind]}" for kind in ("tag", "domain", "user") if kind in wanted), "all"), found)


@click.command(epilog="Example: boltlink erase sale --yes")
@click.argument("slug")
@DOMAIN
@YES
@JSON
def erase(slug: str, domain: str, is_sure: bool, as_json: bool) -> None:
    """Erase all statistics of SLUG, also if it is deleted. The link stays as it is."""
    confirm(f"Erase the statistics of {slug} for ever?", is_sure)
    pending = Client().call("DELETE", path_of("links", slug) + "/stats", params=query_of(domain))
    text = pending["detail"] if pending else f"statistics of {slug} erased"
    say(as_json, {"slug": slug, "is_erased": not pending, "detail": text}, text)


def show(name: str, found: dict[str, Any]) -> None:
    """Prints an answer."""
    console = PlainConsole()
    head = Text(name, "bold")
    head.append(f"  {found['clicks']} clicks  {found['visitors']} visitors  {found['bots']} by bots", "not bold")
    if previous := found.get("previous"):
        head.append(f"  {previous['clicks']} clicks before (", "not bold")
        head.append(change(found["clicks"], previous["clicks"]), trend(found["clicks"], previous["clicks"]))
        head.append(")", "not bold")
    head.append(f"  as of {found['as_of'] or '-'}", "not bold")
    console.print(head, soft_wrap=True)
    console.print(plot(found["series"], found["unit"], console.width), end="")
    if previous and previous["clicks"]:
        before = [point["clicks"] for point in previous["series"]]
        console.print(Text("before     ").append(spark(grouped(before, BARS_MAX)), "bright_black"))
    for title in BREAKDOWNS:
        if found[title]:
            console.print(shares(title, found[title]), soft_wrap=True)
    if orphans := found.get("orphans"):
        console.print(f"unknown    {orphans['visits']} visits to slugs that do not exist")


def change(now: int, before: int) -> str:
    """How much more or less than before: +12 %."""
    return f"{(now - before) / before:+.0%}".replace("%", " %") if before else "new"


def trend(now: int, before: int) -> str:
    """The colour of a change."""
    return "not bold green" if now > before else "not bold red" if now < before else "not bold"


def plot(series: list[dict[str, Any]], unit: str, width: int) -> Text:
    """Bars, or columns where there are many; empty points at both ends are left out."""
    busy = [index for index, point in enumerate(series) if point["clicks"]]
    shown = series[busy[0] : busy[-1] + 1] if busy else []
    labels = [point["t"][: LABEL_CHARACTERS.get(unit, 10)].replace("T", " ") for point in shown]
    clicks = [point["clicks"] for point in shown]
    return bars(labels, clicks) if len(shown) <= BARS_MAX else columns(labels, clicks, width)


def shares(title: str, found: list[dict[str, Any]]) -> Text:
    """One line of a breakdown: the largest keys, and how many there are beside them."""
    text = Text(f"{title:<10} ")
    keys = (Text(share["key"]).append(f" {share['clicks']}", COLOUR) for share in found[:SHOWN_MAX])
    text.append_text(Text(", ").join(keys))
    return text.append(f", {len(found) - SHOWN_MAX} more") if len(found) > SHOWN_MAX else text
