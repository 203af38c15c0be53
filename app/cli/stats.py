"""`boltlink stats`: what happened to a link, as a table and a plot in the terminal."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from app.cli.client import Client

__all__ = ["stats"]

BAR_CHARACTERS = 40
SHOWN_MAX = 8
_EIGHTHS = " ▏▎▍▌▋▊▉"


@click.command()
@click.argument("slug")
@click.option("--from", "start", help="Begin: 2026-01-31 or 2026-01-31T12:00:00Z.")
@click.option("--to", "end", help="End, not included.")
@click.option("--unit", type=click.Choice(["minute", "hour", "day", "week", "month"]), default="day", show_default=True)
@click.option("--tz", default="UTC", show_default=True, help="Time zone of the units.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def stats(slug: str, start: str | None, end: str | None, unit: str, tz: str, as_json: bool) -> None:
    """Show the clicks of SLUG."""
    wanted = {"unit": unit, "tz": tz} | {k: v for k, v in (("from", start), ("to", end)) if v}
    found = Client().call("GET", f"/api/v1/links/{slug}/stats", params=wanted)
    if as_json:
        click.echo(json.dumps(found))
        return
    console = Console()
    console.print(f"[bold]{slug}[/]  {found['clicks']} clicks  {found['bots']} by bots  as of {found['as_of'] or '-'}")
    console.print(plot(found["series"], unit))
    for name in ("referrers", "browsers", "os", "devices", "languages", "countries"):
        if found[name]:
            shares = ", ".join(f"{share['key']} {share['clicks']}" for share in found[name][:SHOWN_MAX])
            console.print(f"[cyan]{name:<10}[/] {shares}")


def plot(series: list[dict[str, Any]], unit: str) -> Table:
    """A bar for each point; empty points at both ends are left out."""
    busy = [index for index, point in enumerate(series) if point["clicks"]]
    shown = series[busy[0] : busy[-1] + 1] if busy else []
    most = max((point["clicks"] for point in shown), default=1)
    characters = {"minute": 16, "hour": 16}.get(unit, 10)
    table = Table(box=None, pad_edge=False, show_header=False)
    for point in shown:
        table.add_row(point["t"][:characters].replace("T", " "), bar(point["clicks"], most), str(point["clicks"]))
    return table


def bar(value: int, most: int) -> str:
    """A bar of at most BAR_CHARACTERS, in eighths of a character."""
    eighths = round(value / most * BAR_CHARACTERS * 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
