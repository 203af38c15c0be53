"""`boltlink domains`: further domains, and the options of each, by command."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.table import Column, Table

from app.cli.client import Client, path_of
from app.cli.plain import show_table
from app.cli.talk import JSON, YES, confirm, say

__all__ = ["domains"]


#: What `--clear` takes away -> the option.
CLEARABLE = {
    option: option.replace("-", "_")
    for option in ("not-found-target", "root-target", "robots", "slug-length", "slug-alphabet", "case-insensitive")
}


@click.group(epilog="Example: boltlink domains add go.example.com")
def domains() -> None:
    """Add, list, show, change and delete domains that links may live under."""


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
    table = Table(Column("name", overflow="fold"), "created", box=None, pad_edge=False)
    for domain in page["items"]:
        table.add_row(domain["name"], domain["created_at"])
    show_table(table)


@domains.command("show", epilog="Example: boltlink domains show go.example.com --json")
@click.argument("name")
@JSON
def show_domain(name: str, as_json: bool) -> None:
    """Show the options of NAME; the default domain is called by its own name."""
    domain = Client().call("GET", path_of("domains", name))
    if as_json:
        click.echo(json.dumps(domain))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for field, value in domain.items():
        table.add_row(field, "" if value is None else str(value))
    show_table(table)


@domains.command("edit", epilog="Example: boltlink domains edit go.example.com --root-target https://example.com/")
@click.argument("name")
@click.option("--not-found-target", metavar="URL", help="Where visitors go who find no link.")
@click.option("--root-target", metavar="URL", help="Where / leads.")
@click.option("--robots", type=click.Choice(["allow", "disallow"]), help="What crawlers may fetch.")
@click.option("--slug-length", type=int, help="How many characters slugs have that are made.")
@click.option("--slug-alphabet", metavar="CHARACTERS", help="What they are made of.")
@click.option("--case-insensitive/--case-sensitive", default=None, help="Whether /Sale and /sale are one link.")
@click.option("--clear", multiple=True, type=click.Choice(list(CLEARABLE)), help="As if it had never been set.")
@JSON
def edit_domain(name: str, clear: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Change what is given of the options of NAME; the rest stays."""
    change = {option: value for option, value in given.items() if value is not None}
    change |= dict.fromkeys(CLEARABLE[option] for option in clear)
    if not change:
        raise click.UsageError("nothing to change: give at least one option")
    domain = Client().call("PATCH", path_of("domains", name), json=change)
    say(as_json, domain, f"{domain['name']} changed")


@domains.command("delete", epilog="Example: boltlink domains delete go.example.com --yes")
@click.argument("name")
@YES
@JSON
def delete_domain(name: str, is_sure: bool, as_json: bool) -> None:
    """End a domain that has no links any more."""
    confirm(f"Delete {name}?", is_sure)
    Client().call("DELETE", path_of("domains", name))
    say(as_json, {"name": name, "state": "deleted"}, f"{name} deleted")
