"""`boltlink users totp`: second factors by command.

Whoever gets one signs in for it with a password of their own, and out again: no key begins a factor for somebody else.
Where standard input is a pipe, its lines are the password and then codes. May import: cli.client.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from http import HTTPStatus

import click

from app.cli.client import Client, path_of
from app.cli.errors import CliError, RefusedError
from app.cli.talk import JSON, YES, ask_password, confirm, say

__all__ = ["id_of", "totp"]

CODES_MAX = 3  # that are asked for; each wrong one is a try of the account


@click.group(epilog="Example: boltlink users totp enable ada@example.com")
def totp() -> None:
    """Second factors of users."""


@totp.command("enable", epilog="Example: boltlink users totp enable ada@example.com")
@click.argument("email")
@JSON
def enable_totp(email: str, as_json: bool) -> None:
    """Begin your own second factor, as the user with this EMAIL: your password is asked for, then a first code."""
    client = Client(is_keyed=False)
    password = ask_password(is_new=False)
    try:
        client.sign_in(email, password)
    except RefusedError as error:
        if "code" not in error.fields:
            raise
        raise CliError(f"{email} has a second factor already") from error
    try:
        begun = client.call("POST", "/api/v1/session/totp", json={"password": password})
        say(as_json, begun, f"secret: {begun['secret']}\n{begun['uri']}")
        codes = _confirm(client)
        told = (
            f"{email} signs in with a code from now on. In its place each of these does once; they are shown this once:"
        )
        say(as_json, {"email": email, "totp": True, "recovery_codes": codes}, "\n".join([told, *codes]))
    finally:
        with suppress(CliError):  # it ends by itself
            client.sign_out()


@totp.command("disable", epilog="Example: boltlink users totp disable ada@example.com --yes")
@click.argument("email")
@YES
@JSON
def disable_totp(email: str, is_sure: bool, as_json: bool) -> None:
    """Take the second factor of the user with this EMAIL away, when they have lost it; they can begin another."""
    confirm(f"Take the second factor of {email} away, so that the password alone signs in?", is_sure)
    client = Client()
    client.call("DELETE", path_of("users", id_of(client, email)) + "/totp")
    say(as_json, {"email": email, "totp": False}, f"{email} signs in without a second factor")


def id_of(client: Client, email: str) -> str:
    """Whose e-mail it is; raises CliError."""
    found = client.call("GET", "/api/v1/users", params={"email": email})["items"] if email else []
    if not found:
        raise CliError(f"no user has the e-mail {email}")
    return str(found[0]["id"])


def _confirm(client: Client) -> list[str]:
    """Asks for a first code until it is right; the recovery codes. Raises CliError."""
    for _ in range(CODES_MAX):
        try:
            answer = client.call("POST", "/api/v1/session/totp/confirm", json={"code": _ask_code()})
        except RefusedError as error:
            if error.status != HTTPStatus.FORBIDDEN:
                raise
            click.echo("This code is not right.", err=True)
        else:
            return list(answer["recovery_codes"])
    raise CliError("no code was right: there is no second factor yet")


def _ask_code() -> str:
    """Six digits as somebody types them; raises CliError when there are no more."""
    if sys.stdin.isatty():
        typed: str = click.prompt("Code of the app", err=True)
        return typed
    line = sys.stdin.readline()
    if not line:
        raise CliError("no code came: there is no second factor yet")
    return line.strip()
