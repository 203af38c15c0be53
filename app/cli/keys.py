"""`boltlink keys`: API keys by command."""

from __future__ import annotations

import json

import click
from rich.table import Table

from app.cli.client import Client, make_console, path_of
from app.cli.talk import JSON, YES, confirm, say

__all__ = ["keys"]


@click.group(epilog="Example: boltlink keys create laptop")
def keys() -> None:
    """Create, list and revoke API keys."""


@keys.command("create", epilog="Example: boltlink keys create laptop --json")
@click.argument("name")
@JSON
def create_key(name: str, as_json: bool) -> None:
    """Make a key called NAME and print it; it is not shown again."""
    made = Client().call("POST", "/api/v1/keys", json={"name": name})
    say(as_json, made, made["key"])


@keys.command("list", epilog="Example: boltlink keys list")
@JSON
def list_keys(as_json: bool) -> None:
    """List all keys."""
    page = Client().call("GET", "/api/v1/keys")
    if as_json:
        click.echo(json.dumps(page))
        return
    table = Table("name", "begins with", "created", "revoked", "id", box=None, pad_edge=False)
    for key in page["items"]:
        table.add_row(key["name"], key["prefix"], key["created_at"], key["revoked_at"] or "", key["id"])
    make_console().print(table)


@keys.command("revoke", epilog="Example: boltlink keys revoke 0123…cdef --yes")
@click.argument("key_id")
@YES
@JSON
def revoke_key(key_id: str, is_sure: bool, as_json: bool) -> None:
    """End the key with this id (see: boltlink keys list)."""
    confirm(f"Revoke {key_id[:12]}…?", is_sure)
    Client().call("DELETE", path_of("keys", key_id))
    say(as_json, {"id": key_id, "state": "revoked"}, "revoked")
