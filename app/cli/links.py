"""`boltlink shorten` and `boltlink links`: links by command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.table import Column, Table

from app.cli.client import Client, path_of
from app.cli.errors import CliError
from app.cli.fields import DOMAIN, VERSION, Ago, Moment, body_of, clear_option, field_options, filters_of, query_of
from app.cli.plain import plain, show_table
from app.cli.rows import batches
from app.cli.talk import JSON, YES, confirm, say

__all__ = ["links", "shorten"]

ORDERS = ("-created", "created", "-clicks", "clicks", "-expires", "expires", "slug", "-slug", "-deleted")
STATES = ("active", "disabled", "banned", "deleted")


@click.command(epilog="Example: boltlink shorten https://example.com/sale --slug sale --expires 30d")
@click.argument("url")
@click.option("--slug", help="The slug to use; by default one is made.")
@click.option("--find-existing", is_flag=True, help="Take a link of yours that leads there already.")
@DOMAIN
@field_options
@JSON
def shorten(url: str, slug: str | None, find_existing: bool, domain: str, as_json: bool, **fields: Any) -> None:
    """Make a short link to URL and print it."""
    wish = {"target": url, **body_of(slug=slug, domain=domain or None, **fields)}
    if find_existing:
        wish["find_existing"] = True
    link = Client().call("POST", "/api/v1/links", json=wish)
    say(as_json, link, link["short_url"])


@click.group(epilog="Example: boltlink links list --tag spring")
def links() -> None:
    """List, show, change, stop, delete and restore links."""


@links.command("list", epilog="Example: boltlink links list --search shoes --created-from 7d")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 500), help="How many to show.")
@click.option("--cursor", default="", help="Where to go on: the next_cursor of a page.")
@click.option("--tag", default="", help="Only links with this tag.")
@click.option("--owner", default="", help="Only links of this owner.")
@click.option("--search", default="", help="Only links with all these words in slug, title, target or notes.")
@click.option("--prefix", default="", help="Only links whose slug begins so.")
@click.option("--domain", help="Only links of this domain; empty: of the default one.")
@click.option("--state", type=click.Choice(STATES), help="Only links in this state; deleted ones are listed so alone.")
@click.option("--broken", is_flag=True, help="Only links whose page is gone, as checks have found.")
@click.option("--created-from", type=Ago(), help="Only links made then or later: a time, or 12h, 7d ago.")
@click.option("--created-to", type=Ago(), help="Only links made before.")
@click.option("--expires-from", type=Moment(), help="With --sort expires: only links that expire then or later.")
@click.option("--expires-to", type=Moment(), help="With --sort expires: only links that expire before, such as 7d.")
@click.option("--sort", type=click.Choice(ORDERS), help="Order; by default the newest first.")
@click.option("--count", is_flag=True, help="Also say how many there are in all.")
@JSON
def list_links(as_json: bool, search: str, count: bool, **wanted: Any) -> None:
    """List links, the newest first."""
    given = filters_of({**wanted, "q": search})
    if count:
        given["count"] = "true"
    page = Client().call("GET", "/api/v1/links", params=given)
    if as_json:
        click.echo(json.dumps(page))
        return
    table = Table(Column("slug", overflow="fold"), "target", "state", "clicks", "created", box=None, pad_edge=False)
    for link in page["items"]:
        name = f"{link['domain']}/{link['slug']}" if link["domain"] else link["slug"]
        state = link["state"] + (" (page gone)" if link.get("broken") else "")
        table.add_row(name, link["target"], state, str(link["clicks"]), link["created_at"])
    show_table(table)
    if count:
        click.echo(f"{page['count']} in all")
    if page["next_cursor"]:
        click.echo(f"more: the same with --cursor {page['next_cursor']}")


@links.command("show", epilog="Example: boltlink links show sale --json")
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
        shown = json.dumps(value) if isinstance(value, list | dict | bool) else str("" if value is None else value)
        table.add_row(name, shown)
    show_table(table)


@links.command("edit", epilog="Example: boltlink links edit sale --target https://example.com/new")
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
    say(as_json, link, f"{link['short_url']} changed")


@links.command("disable", epilog="Example: boltlink links disable sale")
@click.argument("slug")
@DOMAIN
@JSON
def disable_link(slug: str, domain: str, as_json: bool) -> None:
    """Stop a link: it answers 404 until it is enabled."""
    link = _change(slug, domain, {"state": "disabled"})
    say(as_json, link, f"{link['short_url']} disabled")


@links.command("enable", epilog="Example: boltlink links enable sale")
@click.argument("slug")
@DOMAIN
@JSON
def enable_link(slug: str, domain: str, as_json: bool) -> None:
    """Let a disabled or banned link redirect again."""
    link = _change(slug, domain, {"state": "active"})
    say(as_json, link, f"{link['short_url']} enabled")


@links.command("ban", epilog="Example: boltlink links ban sale")
@click.argument("slug")
@DOMAIN
@JSON
def ban_link(slug: str, domain: str, as_json: bool) -> None:
    """Stop a link for abuse: it answers 410 everywhere at once."""
    link = _change(slug, domain, {"state": "banned"})
    say(as_json, link, f"{link['short_url']} banned")


@links.command("delete", epilog="Example: boltlink links delete sale --yes")
@click.argument("slug")
@DOMAIN
@YES
@JSON
def delete_link(slug: str, domain: str, is_sure: bool, as_json: bool) -> None:
    """End a link; its statistics stay, and it can be restored for a while."""
    confirm(f"Delete {slug}?", is_sure)
    Client().call("DELETE", path_of("links", slug), params=query_of(domain))
    say(as_json, {"slug": slug, "domain": domain, "state": "deleted"}, f"{slug} deleted")


@links.command("change-many", epilog="Example: boltlink links change-many changes.jsonl")
@click.argument("file", type=click.Path(path_type=Path))
@JSON
def change_many(file: Path, as_json: bool) -> None:
    """Change the links of FILE: one JSON object a line, such as {"slug": "sale", "title": "Sale"}."""
    _send_rows("PATCH", "/api/v1/links/batch", file, as_json)


@links.command("delete-many", epilog="Example: boltlink links delete-many old.jsonl --yes")
@click.argument("file", type=click.Path(path_type=Path))
@YES
@JSON
def delete_many(file: Path, is_sure: bool, as_json: bool) -> None:
    """Delete the links of FILE: one JSON object a line, such as {"slug": "sale"}."""
    confirm(f"Delete the links of {file}?", is_sure)
    _send_rows("POST", "/api/v1/links/batch/delete", file, as_json)


@links.command("restore", epilog="Example: boltlink links restore sale")
@click.argument("slug")
@DOMAIN
@JSON
def restore_link(slug: str, domain: str, as_json: bool) -> None:
    """Bring a deleted link back, with its statistics."""
    link = Client().call("POST", path_of("links", slug) + "/restore", params=query_of(domain))
    say(as_json, link, f"{link['short_url']} restored")


@links.command("history", epilog="Example: boltlink links history sale --limit 5")
@click.argument("slug")
@DOMAIN
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 500), help="How many to show.")
@click.option("--cursor", default="", help="Where to go on: the next_cursor of a page.")
@JSON
def show_history(slug: str, domain: str, limit: int, cursor: str, as_json: bool) -> None:
    """Show who changed a link, when and what, the newest first."""
    wanted = {**query_of(domain), "limit": str(limit), **({"cursor": cursor} if cursor else {})}
    page = Client().call("GET", path_of("links", slug) + "/history", params=wanted)
    if as_json:
        click.echo(json.dumps(page))
        return
    table = Table("time", "who", "what", "changed", box=None, pad_edge=False)
    for entry in page["items"]:
        changed = ", ".join(f"{name}: {_words(change)}" for name, change in (entry["fields"] or {}).items())
        table.add_row(entry["time"][:19], f"{entry['who']['kind']}:{entry['who']['id'][:12]}", entry["what"], changed)
    show_table(table)
    if page["next_cursor"]:
        click.echo(f"more: the same with --cursor {page['next_cursor']}")


def _words(change: dict[str, Any]) -> str:
    """One field's change: old -> new, or what it was made with."""
    old, new = (json.dumps(change.get(side), ensure_ascii=False) for side in ("old", "new"))
    return f"{old} -> {new}" if change.get("old") not in (None, "", []) else new


def _send_rows(method: str, path: str, file: Path, as_json: bool) -> None:
    """Sends a file's rows in batches. Raises CliError when a line is none, and at the end when rows were refused."""
    try:
        rows = [json.loads(line) for line in file.read_bytes().splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise CliError(f"{file}: not one JSON object a line ({error})") from error
    except OSError as error:
        raise CliError(f"{file}: cannot be read ({error.strerror})") from error
    client, refused = Client(), 0
    for start, batch in batches(rows):
        answer = client.call(method, path, json={"links": batch})
        for number, result in enumerate(answer["results"], start + 1):
            if as_json:
                click.echo(json.dumps(result))
            if "errors" in result:
                refused += 1
                reasons = "; ".join(f"{error['field']} {error['message']}".strip() for error in result["errors"])
                click.echo(plain(f"row {number}: {reasons}"), err=True)
    if refused:
        raise CliError(f"{refused} of {len(rows)} rows were refused")
    if not as_json:
        click.echo(f"{len(rows)} done")


def _change(slug: str, domain: str, change: dict[str, Any], if_version: int | None = None) -> Any:
    headers = {} if if_version is None else {"If-Match": f'"{if_version}"'}
    return Client().call("PATCH", path_of("links", slug), json=change, params=query_of(domain), headers=headers)
