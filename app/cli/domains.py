"""`boltlink domains`: further domains by command."""

from __future__ import annotations

import json

import click
from rich.table import Table

from app.cli.client import Client, make_console, path_of

__all__ = ["domains"]

JSON = click.option("--json", "as_json", is_flag=True, help="For machines.")


@click.group()
def domains() -> None:
    """Add, list and delete domains that links may live under."""


@domains.command("add")
@click.argument("name")
@JSON
def add_domain(name: str, as_json: bool) -> None:
    """Let links live under NAME, such as go.example.com."""
    made = Client().call("POST", "/api/v1/domains", json={"name": name})
    click.echo(json.dumps(made) if as_json else f"{made['name']} added")


@domains.command("list")
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
    make_console().print(table)


@domains.command("delete")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def delete_domain(name: str, yes: bool) -> None:
    """End a domain that has no links any more."""
    if not yes:
        click.confirm(f"Delete {name}?", abort=True)
    Client().call("DELETE", path_of("domains", name))
    click.echo(f"{name} deleted")
