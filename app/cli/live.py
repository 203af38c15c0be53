"""`boltlink live`: visits in the terminal as they are counted."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

import click

from app.cli.client import Client
from app.cli.errors import AwayError, RefusedError
from app.cli.plain import plain

__all__ = ["live"]

AGAIN_S = 1.0  # after a stream that ended: a process of the instance was restarted, or the network


@click.command(epilog="Example: boltlink live sale --count 10 --json")
@click.argument("slug", required=False)
@click.option("--domain", help="The domain that SLUG is of.")
@click.option("-n", "--count", type=click.IntRange(min=1), help="End after so many visits.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for machines.")
def live(slug: str | None, domain: str | None, count: int | None, as_json: bool) -> None:
    """Show visits to SLUG, or to all links, as they are counted. Ctrl-C ends it."""
    with suppress(KeyboardInterrupt):
        _show(slug, domain, count, as_json)


def _show(slug: str | None, domain: str | None, count: int | None, as_json: bool) -> None:
    wanted = {name: value for name, value in (("slug", slug), ("domain", domain)) if value}
    left = count
    for event, data in _events(wanted):
        if event != "visit":
            click.echo(_note(event, data), err=True)
            continue
        click.echo(json.dumps(data) if as_json else line_of(data))
        left = left and left - 1
        if left == 0:
            return


def _events(wanted: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """(event, data) for ever: a stream that worked is begun again when it ends. Raises CliError for another."""
    client = Client()
    has_worked = False
    while True:
        try:
            for event, data in parse_events(client.follow("/api/v1/live", params=wanted)):
                has_worked = True
                if event != "beat":
                    yield event, data
        except (AwayError, RefusedError) as error:
            if not has_worked or not error.is_passing:
                raise
            yield "comment", str(error)
        time.sleep(AGAIN_S)


def parse_events(lines: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Events of a stream (WHATWG HTML, 9.2.6), as far as BoltLink's own go; a comment is one, too."""
    event = "message"
    for line in lines:
        name, _, value = line.partition(": ")
        if line.startswith(": "):
            yield ("beat" if value in ("beat", "visits as they are counted") else "comment"), value
        elif name == "event":
            event = value
        elif name == "data":
            yield event, json.loads(value)


def line_of(visit: dict[str, Any]) -> str:
    """A visit for people; who is none is pale."""
    at = datetime.fromisoformat(visit["time"]).astimezone()
    link = f"{visit['domain']}/{visit['slug']}" if visit["domain"] else visit["slug"]
    known = [plain(visit[name]) for name in ("browser", "os", "device", "country", "referrer") if visit[name]]
    known = [value for value in known if value != "bot"]  # a crawler's device
    if visit["variant"]:
        known.append(f"variant {visit['variant']}")
    if visit["kind"] != "person":
        return click.style(f"{at:%H:%M:%S}  {link}  {'  '.join([visit['kind'], *known])}", fg="bright_black")
    return f"{at:%H:%M:%S}  {click.style(link, fg='cyan')}  {'  '.join(known)}".rstrip()


def _note(event: str, data: Any) -> str:
    if event == "sampled":
        return click.style(f"… and {data['left_out']} more, too many to show", fg="yellow")
    if event == "lost":
        return click.style(f"… and {data['events']} more, read too slowly", fg="yellow")
    return click.style(plain(f"({data})"), fg="yellow")
