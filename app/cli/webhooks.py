"""`boltlink webhooks`: who is told of changes of links, and what became of each delivery."""

from __future__ import annotations

import json
import time
from itertools import islice
from typing import Any

import click
from rich.table import Column, Table

from app.cli.client import Client, path_of
from app.cli.errors import CliError
from app.cli.plain import show_table
from app.cli.talk import JSON, YES, confirm, say
from app.webhooks import EVENTS

__all__ = ["webhooks"]

PAGE = 200
TEST_S = 30.0  # for the answer to a test
POLL_S = 0.2
NARROWED = (
    click.option("--event", "events", multiple=True, type=click.Choice(EVENTS), help="Of what; by default of all."),
    click.option("--domain", help="Only of links of this domain; empty: of the default one."),
    click.option("--tag", help="Only of links with this tag."),
    click.option("--own/--all", default=None, help="Only of links that you make."),
    click.option("--description", metavar="TEXT", help="What it is for."),
)


def narrowed(command: Any) -> Any:
    """Gives a command the options that say of which changes."""
    for option in reversed(NARROWED):
        command = option(command)
    return command


@click.group(epilog="Example: boltlink webhooks add https://hooks.example.com/boltlink")
def webhooks() -> None:
    """Add, list, change, try and remove webhooks; see and repeat deliveries."""


@webhooks.command(
    "add", epilog="Example: boltlink webhooks add https://hooks.example.com/boltlink --event link.created"
)
@click.argument("url")
@narrowed
@JSON
def add_webhook(url: str, as_json: bool, **given: Any) -> None:
    """Have changes of links POSTed to URL, and print the secret that signs them; it is not shown again."""
    made = Client().call("POST", "/api/v1/webhooks", json={"url": url, **_wish(given)})
    say(as_json, made, f"{made['id']}\n{made['secret']}")


@webhooks.command("list", epilog="Example: boltlink webhooks list --json")
@JSON
def list_webhooks(as_json: bool) -> None:
    """List your webhooks; all of them with an admin's key."""
    found = list(Client().pages("/api/v1/webhooks", PAGE))
    if as_json:
        click.echo(json.dumps({"items": found}))
        return
    table = Table("id", "state", Column("url", overflow="fold"), "of", "failing since", box=None, pad_edge=False)
    for one in found:
        words = [*(one["events"] or ["everything"]), *([f"#{one['tag']}"] if one["tag"] else [])]
        words += [
            *(["its maker's"] if one["own"] else []),
            *([one["domain"] or "(default)"] if one["domain"] is not None else []),
        ]
        state = one["state"] + (f": {one['reason']}" if one["reason"] else "")
        table.add_row(one["id"], state, one["url"], " ".join(words), one["failing_since"] or "")
    show_table(table)


@webhooks.command("edit", epilog="Example: boltlink webhooks edit 3b9f0c5a2b3d4e5f --enable")
@click.argument("webhook_id")
@click.option("--url", help="Where to.")
@click.option("--enable/--disable", "is_enabled", default=None, help="Whether it is sent anything.")
@narrowed
@JSON
def edit_webhook(webhook_id: str, url: str | None, is_enabled: bool | None, as_json: bool, **given: Any) -> None:
    """Change what is given of a webhook; the rest stays."""
    change = _wish(given) | ({} if url is None else {"url": url})
    change |= {} if is_enabled is None else {"state": "active" if is_enabled else "disabled"}
    if not change:
        raise click.UsageError("nothing to change: give at least one option")
    changed = Client().call("PATCH", path_of("webhooks", webhook_id), json=change)
    say(as_json, changed, f"{changed['id']} changed")


@webhooks.command("secret", epilog="Example: boltlink webhooks secret 3b9f0c5a2b3d4e5f --yes")
@click.argument("webhook_id")
@YES
@JSON
def renew_secret(webhook_id: str, is_sure: bool, as_json: bool) -> None:
    """Replace the secret of a webhook, and print the new one; the old one signs beside it for a day."""
    confirm(f"Replace the secret of {webhook_id}?", is_sure)
    made = Client().call("POST", f"{path_of('webhooks', webhook_id)}/secret")
    say(as_json, made, made["secret"])


@webhooks.command("remove", epilog="Example: boltlink webhooks remove 3b9f0c5a2b3d4e5f --yes")
@click.argument("webhook_id")
@YES
@JSON
def remove_webhook(webhook_id: str, is_sure: bool, as_json: bool) -> None:
    """End a webhook, with whatever waits for it."""
    confirm(f"Remove {webhook_id}?", is_sure)
    Client().call("DELETE", path_of("webhooks", webhook_id))
    say(as_json, {"id": webhook_id, "state": "removed"}, f"{webhook_id} removed")


@webhooks.command("test", epilog="Example: boltlink webhooks test 3b9f0c5a2b3d4e5f")
@click.argument("webhook_id")
@JSON
def try_webhook(webhook_id: str, as_json: bool) -> None:
    """Send an event of no link, and wait for what it is answered."""
    client, path = Client(), path_of("webhooks", webhook_id)
    sent = client.call("POST", f"{path}/test")
    until_s = time.monotonic() + TEST_S
    while not sent["error"] and sent["state"] in ("waiting", "sending") and time.monotonic() < until_s:
        time.sleep(POLL_S)
        sent = client.call("GET", f"{path}/deliveries/{sent['id']}")
    if sent["state"] != "delivered":
        raise CliError(f"not delivered: {sent['error'] or 'nothing was answered yet; is jobs_0 running?'}")
    say(as_json, sent, f"delivered: {sent['status']} within {sent['duration_ms']} ms")


@webhooks.command("deliveries", epilog="Example: boltlink webhooks deliveries 3b9f0c5a2b3d4e5f --limit 20")
@click.argument("webhook_id")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many at most.")
@JSON
def list_deliveries(webhook_id: str, limit: int, as_json: bool) -> None:
    """List what was sent to a webhook, the newest event first."""
    path = f"{path_of('webhooks', webhook_id)}/deliveries"
    found = list(islice(Client().pages(path, min(limit, PAGE)), limit))
    if as_json:
        click.echo(json.dumps({"items": found}))
        return
    table = Table("id", "event", "state", "attempts", "status", "ms", "due", "error", box=None, pad_edge=False)
    for one in found:
        numbers = ("" if one[name] is None else str(one[name]) for name in ("attempts", "status", "duration_ms"))
        table.add_row(one["id"], one["event"], one["state"], *numbers, one["due_at"][:19], one["error"])
    show_table(table)


@webhooks.command(
    "redeliver",
    epilog="Example: boltlink webhooks redeliver 3b9f0c5a2b3d4e5f 6926d8a0f3c1b2a4d5e6f708-3b9f0c5a2b3d4e5f",
)
@click.argument("webhook_id")
@click.argument("delivery_id")
@JSON
def redeliver(webhook_id: str, delivery_id: str, as_json: bool) -> None:
    """Send a delivery once more: the same bytes, under the same id."""
    sent = Client().call("POST", f"{path_of('webhooks', webhook_id)}/deliveries/{delivery_id}")
    say(as_json, sent, f"{sent['id']} is sent again")


def _wish(given: dict[str, Any]) -> dict[str, Any]:
    """What options say, as the API has it."""
    wish = {name: given[name] for name in ("domain", "tag", "own", "description") if given[name] is not None}
    return wish | ({"events": list(given["events"])} if given["events"] else {})
