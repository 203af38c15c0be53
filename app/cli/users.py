"""`boltlink users`: people who sign in, by command. A password is asked for, or read from a pipe; never an argument."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.table import Column, Table

from app.accounts import Role
from app.cli.client import Client, path_of
from app.cli.plain import show_table
from app.cli.talk import JSON, YES, ask_password, confirm, say
from app.cli.totp import id_of, totp

__all__ = ["users"]

PAGE = 500
ROLE = click.Choice([role.value for role in Role])


@click.group(epilog="Example: boltlink users create ada@example.com --role editor")
def users() -> None:
    """Create, list, change and delete users."""


@users.command("create", epilog="Example: boltlink users create ada@example.com --role editor")
@click.argument("email")
@click.option("--role", type=ROLE, default=Role.EDITOR.value, show_default=True, help="What they may do.")
@JSON
def create_user(email: str, role: str, as_json: bool) -> None:
    """Make a user with this EMAIL; the password is asked for, or read from standard input."""
    wish = {"email": email, "role": role, "password": ask_password(is_new=True)}
    made = Client().call("POST", "/api/v1/users", json=wish)
    say(as_json, made, f"{made['email']} created as {made['role']}")


@users.command("list", epilog="Example: boltlink users list")
@JSON
def list_users(as_json: bool) -> None:
    """List all users."""
    items = list(Client().pages("/api/v1/users", PAGE))
    if as_json:
        click.echo(json.dumps({"items": items}))
        return
    table = Table(
        Column("e-mail", overflow="fold"),
        "role",
        "disabled",
        "2nd factor",
        "created",
        Column("id", overflow="fold"),
        box=None,
        pad_edge=False,
    )
    for user in items:
        disabled, factor = ("yes" if user[name] else "" for name in ("disabled", "totp"))
        table.add_row(user["email"], user["role"], disabled, factor, user["created_at"][:10], user["id"])
    show_table(table)


@users.command("edit", epilog="Example: boltlink users edit ada@example.com --role viewer")
@click.argument("email")
@click.option("--role", type=ROLE, help="What they may do.")
@click.option("--disable/--enable", default=None, help="Whether they may sign in.")
@click.option("--password", "wants_password", is_flag=True, help="Ask for a new password, or read it from a pipe.")
@JSON
def edit_user(email: str, role: str | None, disable: bool | None, wants_password: bool, as_json: bool) -> None:
    """Change the user with this EMAIL."""
    wish: dict[str, Any] = {
        "role": role,
        "disabled": disable,
        "password": ask_password(is_new=True) if wants_password else None,
    }
    change = {name: value for name, value in wish.items() if value is not None}
    if not change:
        raise click.UsageError("name what to change: --role, --disable, --enable or --password")
    client = Client()
    made = client.call("PATCH", path_of("users", id_of(client, email)), json=change)
    say(as_json, made, f"{made['email']} changed")


@users.command("delete", epilog="Example: boltlink users delete ada@example.com --yes")
@click.argument("email")
@YES
@JSON
def delete_user(email: str, is_sure: bool, as_json: bool) -> None:
    """Remove the user with this EMAIL; their links stay."""
    confirm(f"Delete {email}?", is_sure)
    client = Client()
    client.call("DELETE", path_of("users", id_of(client, email)))
    say(as_json, {"email": email, "state": "deleted"}, f"{email} deleted")


users.add_command(totp)
