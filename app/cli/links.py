"""`boltlink shorten` and `boltlink links`: links by command."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.table import Table

from app.cli.client import Client, make_console, path_of
from app.cli.fields import DOMAIN, VERSION, body_of, clear_option, field_options, query_of

__all__ = ["links", "shorten"]

JSON = click.option("--json", "as_json", is_flag=True, help="For machines.")
ORDERS = ("-created", "created", "-clicks", "clicks", "slug", "-slug")


@click.command()
@click.argument("url")
@click.option("--slug", help="The slug to use; by default one is made.")
@DOMAIN
@field_options
@JSON
def shorten(url: str, slug: str | None, domain: str, as_json: bool, **fields: Any) -> None:
    """Make a short link to URL and print it."""
    wish = {"target": url, **body_of(slug=slug, domain=domain or None, **fields)}
    link = Client().call("POST", "/api/v1/links", json=wish)
    click.echo(json.dumps(link) if as_json else link["short_url"])


@click.group()
def links() -> None:
    """List, show, change, stop and delete links."""


@links.command("list")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 500), help="How many to show.")
@click.option("--cursor", default="", help="Where to go on: the next_cursor of a page.")
@click.option("--tag", default="", help="Only links with this tag.")
@click.option("--search", default="", help="Only links with all these words in slug, title or target's host.")
@click.option("--domain", help="Only links of this domain.")
@click.option("--sort", type=click.Choice(ORDERS), default="-created", show_default=True, help="Order.")
@JSON
def list_links(as_json: bool, search: str, **wanted: Any) -> None:
    """List links, the newest first."""
    given = {name: str(value) for name, value in {**wanted, "q": search}.items() if value}
    page = Client().call("GET", "/api/v1/links", params=given)
    if as_json:
        click.echo(json.dumps(page))
        return
    table = Table("slug", "target", "state", "clicks", "created", box=None, pad_edge=False)
    for link in page["items"]:
        name = f"{link['domain']}/{link['slug']}" if link["domain"] else link["slug"]
        table.add_row(name, link["target"], link["state"], str(link["clicks"]), link["created_at"])
    make_console().print(table)
    if page["next_cursor"]:
        click.echo(f"more: boltlink links list --cursor {page['next_cursor']}")


@links.command("show")
@click.argument("slug")
@DOMAIN
@JSON
def show_link(slug: str, domain: str, as_json: bool) -> None:
    """Show everything about one link."""
    link = Client().call("GET", path_of("links", slug), params=query_of(domain))
    if as_json:
        click.echo(json.dumps(link))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in link.items():
        shown = json.dumps(value) if isinstance(value, list | bool) else str("" if value is None else value)
        table.add_row(name, shown)
    make_console().print(table)


@links.command("edit")
@click.argument("slug")
@DOMAIN
@click.option("--target", help="Where it leads from now on.")
@field_options
@clear_option
@VERSION
@JSON
def edit_link(slug: str, domain: str, if_version: int | None, as_json: bool, **fields: Any) -> None:
    """Change what is given of a link; the rest stays."""
    change = body_of(**fields)
    if not change:
        raise click.UsageError("nothing to change: give at least one field")
    link = _change(slug, domain, change, if_version)
    click.echo(json.dumps(link) if as_json else f"{link['short_url']} changed")


@links.command("disable")
@click.argument("slug")
@DOMAIN
def disable_link(slug: str, domain: str) -> None:
    """Stop a link: it answers 404 until it is enabled."""
    click.echo(f"{_change(slug, domain, {'state': 'disabled'})['short_url']} disabled")


@links.command("enable")
@click.argument("slug")
@DOMAIN
def enable_link(slug: str, domain: str) -> None:
    """Let a disabled or banned link redirect again."""
    click.echo(f"{_change(slug, domain, {'state': 'active'})['short_url']} enabled")


@links.command("ban")
@click.argument("slug")
@DOMAIN
def ban_link(slug: str, domain: str) -> None:
    """Stop a link for abuse: it answers 410 everywhere at once."""
    click.echo(f"{_change(slug, domain, {'state': 'banned'})['short_url']} banned")


@links.command("delete")
@click.argument("slug")
@DOMAIN
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def delete_link(slug: str, domain: str, yes: bool) -> None:
    """End a link; its statistics stay."""
    if not yes:
        click.confirm(f"Delete {slug}?", abort=True)
    Client().call("DELETE", path_of("links", slug), params=query_of(domain))
    click.echo(f"{slug} deleted")


def _change(slug: str, domain: str, change: dict[str, Any], if_version: int | None = None) -> Any:
    headers = {} if if_version is None else {"If-Match": f'"{if_version}"'}
    return Client().call("PATCH", path_of("links", slug), json=change, params=query_of(domain), headers=headers)
