"""`boltlink keys`: API keys by command."""

from __future__ import annotations

import json

import click
from rich.table import Table

from app.cli.client import Client, make_console, path_of

__all__ = ["keys"]

JSON = click.option("--json", "as_json", is_flag=True, help="For machines.")


@click.group()
def keys() -> None:
    """Create, list and revoke API keys."""


@keys.command("create")
@click.argument("name")
@JSON
def create_key(name: str, as_json: bool) -> None:
    """Make a key called NAME and print it; it is not shown again."""
    made = Client().call("POST", "/api/v1/keys", json={"name": name})
    click.echo(json.dumps(made) if as_json else made["key"])


@keys.command("list")
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


@keys.command("revoke")
@click.argument("key_id")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def revoke_key(key_id: str, yes: bool) -> None:
    """End the key with this id (see: boltlink keys list)."""
    if not yes:
        click.confirm(f"Revoke {key_id[:12]}…?", abort=True)
    Client().call("DELETE", path_of("keys", key_id))
    click.echo("revoked")
