"""`boltlink shorten` and `boltlink links`: links by command."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.table import Table

from app.cli.client import Client, make_console, path_of

__all__ = ["links", "shorten"]

JSON = click.option("--json", "as_json", is_flag=True, help="For machines.")


@click.command()
@click.argument("url")
@click.option("--slug", help="The slug to use; by default one is made.")
@click.option("--title", default="", help="A title for people.")
@click.option("--tag", "tags", multiple=True, help="A tag; may be given again.")
@JSON
def shorten(url: str, slug: str | None, title: str, tags: tuple[str, ...], as_json: bool) -> None:
    """Make a short link to URL and print it."""
    wish: dict[str, Any] = {"target": url, "title": title, "tags": list(tags)}
    if slug is not None:
        wish["slug"] = slug
    link = Client().call("POST", "/api/v1/links", json=wish)
    click.echo(json.dumps(link) if as_json else link["short_url"])


@click.group()
def links() -> None:
    """List, show and delete links."""


@links.command("list")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 500), help="How many to show.")
@click.option("--cursor", default="", help="Where to go on: the next_cursor of a page.")
@click.option("--tag", help="Only links with this tag.")
@JSON
def list_links(limit: int, cursor: str, tag: str | None, as_json: bool) -> None:
    """List links, the newest first."""
    wanted = {"limit": str(limit), "cursor": cursor} | ({"tag": tag} if tag else {})
    page = Client().call("GET", "/api/v1/links", params=wanted)
    if as_json:
        click.echo(json.dumps(page))
        return
    table = Table("slug", "target", "state", "created", box=None, pad_edge=False)
    for link in page["items"]:
        table.add_row(link["slug"], link["target"], link["state"], link["created_at"])
    make_console().print(table)
    if page["next_cursor"]:
        click.echo(f"more: boltlink links list --cursor {page['next_cursor']}")


@links.command("show")
@click.argument("slug")
@JSON
def show_link(slug: str, as_json: bool) -> None:
    """Show everything about one link."""
    link = Client().call("GET", path_of("links", slug))
    if as_json:
        click.echo(json.dumps(link))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in link.items():
        table.add_row(name, json.dumps(value) if isinstance(value, list) else str("" if value is None else value))
    make_console().print(table)


@links.command("delete")
@click.argument("slug")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def delete_link(slug: str, yes: bool) -> None:
    """End a link; its statistics stay."""
    if not yes:
        click.confirm(f"Delete {slug}?", abort=True)
    Client().call("DELETE", path_of("links", slug))
    click.echo(f"{slug} deleted")
