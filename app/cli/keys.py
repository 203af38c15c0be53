"""`boltlink keys`: API keys by command."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.table import Table

from app.accounts import Scope
from app.cli.client import Client, path_of
from app.cli.errors import CliError
from app.cli.fields import Moment
from app.cli.plain import show_table
from app.cli.talk import JSON, YES, confirm, say

__all__ = ["keys"]

PAGE = 500
ID_CHARACTERS = 12  # that people are shown, and that name a key: a whole id does not fit beside anything
WHOLE_CHARACTERS = 64


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
    found = list(Client().pages("/api/v1/keys", PAGE))
    if as_json:
        click.echo(json.dumps({"items": found}))
        return
    table = Table(
        "name", "begins with", "may", "created", "last used", "expires", "revoked", "id", box=None, pad_edge=False
    )
    for key in found:
        days = ((key[name] or "")[:10] for name in ("created_at", "last_used_at", "expires_at", "revoked_at"))
        table.add_row(key["name"], key["prefix"], _rights(key), *days, key["id"][:ID_CHARACTERS])
    show_table(table)


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


@keys.command("revoke", epilog="Example: boltlink keys revoke 0123456789ab --yes")
@click.argument("key_id")
@YES
@JSON
def revoke_key(key_id: str, is_sure: bool, as_json: bool) -> None:
    """End the key with this id, or whose id alone begins so (see: boltlink keys list)."""
    confirm(f"Revoke {key_id[:ID_CHARACTERS]}…?", is_sure)
    client = Client()
    id_ = _whole_id(client, key_id)
    client.call("DELETE", path_of("keys", id_))
    say(as_json, {"id": id_, "state": "revoked"}, "revoked")


def _whole_id(client: Client, begin: str) -> str:
    """The id that begins so. Raises CliError when that is not one key's."""
    if len(begin) >= WHOLE_CHARACTERS:
        return begin
    if len(begin) < ID_CHARACTERS:
        raise CliError(f"name a key by {ID_CHARACTERS} characters of its id or more: boltlink keys list")
    found = [key["id"] for key in client.pages("/api/v1/keys", PAGE) if key["id"].startswith(begin)]
    if len(found) != 1:
        raise CliError(f"{len(found)} keys have ids that begin with {begin}" if found else "There is no such key.")
    return str(found[0])
