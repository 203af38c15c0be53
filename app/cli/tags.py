"""`boltlink tags`: tags of all links by command."""

from __future__ import annotations

import shlex
import time
from typing import Any

import click
from rich.table import Column, Table

from app.cli.client import Client, path_of
from app.cli.plain import plain, show_table
from app.cli.talk import JSON, YES, confirm, say

__all__ = ["tags"]

PAUSE_S = 1.0


@click.group(epilog="Example: boltlink tags list")
def tags() -> None:
    """List, rename, merge and end tags."""


@tags.command("list", epilog="Example: boltlink tags list --limit 200")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 200), help="How many to show.")
@click.option("--cursor", default="", help="Where to go on: the next_cursor of a page.")
@JSON
def list_tags(limit: int, cursor: str, as_json: bool) -> None:
    """List the tags of living links by name."""
    page = Client().call("GET", "/api/v1/tags", params={"limit": str(limit), "cursor": cursor})
    if as_json:
        say(as_json, page, "")
        return
    table = Table(Column("tag", overflow="fold"), "links", box=None, pad_edge=False)
    for tag in page["items"]:
        table.add_row(tag["name"], str(tag["links"]))
    show_table(table)
    if page["next_cursor"]:
        click.echo(plain(f"more: the same with --cursor {shlex.quote(page['next_cursor'])}"))


@tags.command("rename", epilog="Example: boltlink tags rename sale spring-sale")
@click.argument("name")
@click.argument("new")
@click.option("--merge", is_flag=True, help="NEW may be another tag: the two become one.")
@JSON
def rename_tag(name: str, new: str, merge: bool, as_json: bool) -> None:
    """Call the tag NAME of all its links NEW."""
    done = _until_done("PATCH", name, json={"name": new, "merge": merge})
    say(as_json, done, f"{name} is now {new}")


@tags.command("delete", epilog="Example: boltlink tags delete sale --yes")
@click.argument("name")
@YES
@JSON
def delete_tag(name: str, is_sure: bool, as_json: bool) -> None:
    """Take the tag NAME from all its links; the links stay."""
    confirm(f"Take {name} from all its links?", is_sure)
    done = _until_done("DELETE", name)
    say(as_json, done, f"{name} deleted")


def _until_done(method: str, name: str, **options: Any) -> Any:
    """Asks again until all links are changed, however many there are; rollup goes on where this is stopped."""
    client = Client()
    done = client.call(method, path_of("tags", name), **options)
    if not done["is_done"]:
        click.echo("many links have it: waiting until all are changed, which goes on without this command", err=True)
    while not done["is_done"]:
        time.sleep(PAUSE_S)
        left = client.call("GET", "/api/v1/links", params={"tag": name, "limit": "1"})
        done = {"is_done": not left["items"]}
    return done
