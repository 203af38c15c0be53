"""`boltlink keys`: API keys by command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click
from rich.table import Table

from app.accounts import Scope
from app.cli.client import Client, path_of
from app.cli.fields import Moment
from app.cli.plain import PlainConsole
from app.cli.talk import JSON, YES, confirm, say

__all__ = ["keys"]

PAGE = 500


@click.group(epilog="Example: boltlink keys create laptop")
def keys() -> None:
    """Create, list and revoke API keys."""


@keys.command("create", epilog="Example: boltlink keys create laptop --json")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="What it may do; more than once for more. By default links:write and stats:read.",
)
@click.option("--domain", help="Only with links of this domain; empty: of the default one.")
@click.option("--tag", help="Only with links with this tag.")
@click.option("--own", is_flag=True, help="Only with links that it makes.")
@click.option("--expires", type=Moment(), help="When it ends, such as 90d or 2030-01-31.")
@JSON
def create_key(name: str, scopes: tuple[str, ...], own: bool, as_json: bool, **given: str | None) -> None:
    """Make a key called NAME and print it; it is not shown again."""
    wish: dict[str, Any] = {
        "name": name,
        "domain": given["domain"],
        "tag": given["tag"],
        "expires_at": given["expires"],
    }
    wish |= {"scopes": list(scopes) or None, "own": own or None}
    body = {field: value for field, value in wish.items() if value is not None}
    made = Client().call("POST", "/api/v1/keys", json=body)
    say(as_json, made, made["key"])


@keys.command("list", epilog="Example: boltlink keys list")
@JSON
def list_keys(as_json: bool) -> None:
    """List all keys."""
    found = list(_all(Client()))
    if as_json:
        click.echo(json.dumps({"items": found}))
        return
    table = Table(
        "name", "begins with", "may", "created", "last used", "expires", "revoked", "id", box=None, pad_edge=False
    )
    for key in found:
        times = (key[name] or "" for name in ("created_at", "last_used_at", "expires_at", "revoked_at"))
        table.add_row(key["name"], key["prefix"], _rights(key), *times, key["id"])
    PlainConsole().print(table)


def _all(client: Client) -> Iterator[dict[str, Any]]:
    cursor: str | None = ""
    while cursor is not None:
        page = client.call("GET", "/api/v1/keys", params={"limit": PAGE, "cursor": cursor})
        yield from page["items"]
        cursor = page["next_cursor"]


def _rights(key: dict[str, Any]) -> str:
    """What a key may do, such as `links:write of go.example.com #news`."""
    words = [" ".join(key["scopes"])]
    if key["domain"] is not None:
        words.append(f"of {key['domain'] or 'the default domain'}")
    if key["tag"]:
        words.append(f"#{key['tag']}")
    if key["own"]:
        words.append("its own")
    return " ".join(words)


@keys.command("revoke", epilog="Example: boltlink keys revoke 0123…cdef --yes")
@click.argument("key_id")
@YES
@JSON
def revoke_key(key_id: str, is_sure: bool, as_json: bool) -> None:
    """End the key with this id (see: boltlink keys list)."""
    confirm(f"Revoke {key_id[:12]}…?", is_sure)
    Client().call("DELETE", path_of("keys", key_id))
    say(as_json, {"id": key_id, "state": "revoked"}, "revoked")
