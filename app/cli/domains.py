"""`boltlink domains`: further domains by command."""

from __future__ import annotations

import json

import click
from rich.table import Table

from app.cli.client import Client, path_of
from app.cli.plain import PlainConsole
from app.cli.talk import JSON, YES, confirm, say

__all__ = ["domains"]


@click.group(epilog="Example: boltlink domains add go.example.com")
def domains() -> None:
    """Add, list and delete domains that links may live under."""


@domains.command("add", epilog="Example: boltlink domains add go.example.com")
@click.argument("name")
@JSON
def add_domain(name: str, as_json: bool) -> None:
    """Let links live under NAME, such as go.example.com."""
    made = Client().call("POST", "/api/v1/domains", json={"name": name})
    say(as_json, made, f"{made['name']} added")


@domains.command("list", epilog="Example: boltlink domains list --json")
@JSON
def list_domains(as_json: bool) -> None:
    """List the domains beside the default one."""
    page = Client().call("GET", "/api/v1/domains")
    if as_json:
        click.echo(json.dumps(page))
        return
    table = Table("name", "created", box=None, pad_edge=False)
    for domain in page["items"]:
        table.add_row(domain["name"], domain["created_at"])
    PlainConsole().print(table)


@domains.command("delete", epilog="Example: boltlink domains delete go.example.com --yes")
@click.argument("name")
@YES
@JSON
def delete_domain(name: str, is_sure: bool, as_json: bool) -> None:
    """End a domain that has no links any more."""
    confirm(f"Delete {name}?", is_sure)
    Client().call("DELETE", path_of("domains", name))
    say(as_json, {"name": name, "state": "deleted"}, f"{name} deleted")
