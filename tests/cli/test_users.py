"""`boltlink users` and `keys`: passwords come from a pipe, rights from options."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pyotp

from app.accounts import KEYS
from tests.api.service import ADMIN_KEY, With, serve
from tests.cli.command import boltlink
from tests.conftest import Stores

ROOT = Path(__file__).parents[2]
PASSWORD = "correct horse battery"


async def _begin(*arguments: str, environ: dict[str, str]) -> asyncio.subprocess.Process:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BOLTLINK_")}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.cli", *arguments),
        env={**clean, **environ},
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def piped(text: str, *arguments: str, environ: dict[str, str]) -> tuple[int, str, str]:
    """A command that reads `text`."""
    process = await _begin(*arguments, environ=environ)
    out, err = await process.communicate(text.encode())
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def test_users_are_made_listed_changed_and_deleted(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            environ = {"BOLTLINK_URL": str(api.client.base_url).rstrip("/"), "BOLTLINK_API_KEY": ADMIN_KEY}
            words = ("users", "create", "ada@example.com", "--role", "viewer")
            status, out, _ = await piped(PASSWORD + "\n", *words, environ=environ)
            assert (status, out) == (0, "ada@example.com created as viewer\n")
            status, _, err = await piped("short\n", "users", "create", "ben@example.com", environ=environ)
            assert status == 1
            assert "10 to 1000 characters" in err
            changed = await boltlink(
                "users", "edit", "ADA@example.com", "--role", "editor", "--disable", environ=environ
            )
            assert changed.status == 0, changed.err
            listed = json.loads((await boltlink("users", "list", "--json", environ=environ)).out)["items"]
            assert [(user["role"], user["disabled"]) for user in listed] == [("editor", True)]
            assert (await boltlink("users", "edit", "ada@example.com", environ=environ)).status == 2
            assert (await boltlink("users", "delete", "ada@example.com", "--yes", environ=environ)).status == 0
            gone = await boltlink("users", "delete", "ada@example.com", "--yes", environ=environ)
            assert (gone.status, gone.err) == (1, "boltlink: no user has the e-mail ada@example.com\n")

    with_stores(scenario)


def test_a_second_factor_begins_with_ones_own_password_and_a_first_code(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            environ = {"BOLTLINK_URL": str(api.client.base_url).rstrip("/")}
            user = {"email": "ada@example.com", "role": "viewer", "password": PASSWORD}
            assert (await api.client.post("/api/v1/users", json=user)).status_code == 201
            words = ("users", "totp", "enable", "ada@example.com")
            unconfirmed = await piped(PASSWORD + "\n", *words, environ=environ)
            assert (unconfirmed[0], unconfirmed[2]) == (1, "boltlink: no code came: there is no second factor yet\n")
            assert "otpauth://totp/BoltLink:ada%40example.com?secret=" in unconfirmed[1]

            status, told, err = await converse(PASSWORD, *words, "--json", environ=environ)
            assert (status, err) == (0, "This code is not right.\n")
            begun, done = told
            assert f"secret={begun['secret']}&" in begun["uri"]
            assert (done["email"], done["totp"], len(done["recovery_codes"])) == ("ada@example.com", True, 10)
            assert [key async for key in stores.redis.scan_iter("s:*")] == [], "it signs out"
            login = {"email": "ada@example.com", "password": PASSWORD, "code": done["recovery_codes"][0]}
            answer = await api.client.post("/api/v1/session", json=login, headers={"Authorization": ""})
            assert (answer.status_code, answer.json()["totp"]) == (200, True)
            again = await piped(PASSWORD + "\n", *words, environ=environ)
            assert again == (1, "", "boltlink: ada@example.com has a second factor already\n")

    with_stores(scenario)


async def converse(password: str, *arguments: str, environ: dict[str, str]) -> tuple[int, list[dict[str, Any]], str]:
    """Begins a factor as a program would: reads the secret, mistypes a code, then makes the right one."""
    process = await _begin(*arguments, environ=environ)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(password.encode() + b"\n")
    begun = json.loads(await process.stdout.readline())
    process.stdin.write(b"wrong\n" + pyotp.TOTP(begun["secret"]).now().encode() + b"\n")
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, [begun, *map(json.loads, out.splitlines())], err.decode()


def test_keys_are_made_with_rights_that_the_list_shows(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            environ = {"BOLTLINK_URL": str(api.client.base_url).rstrip("/"), "BOLTLINK_API_KEY": ADMIN_KEY}
            words = ("--scope", "links:read", "--scope", "stats:read", "--tag", "news", "--own", "--expires", "90d")
            made = await boltlink("keys", "create", "narrow", *words, "--json", environ=environ)
            assert made.status == 0, made.err
            key = json.loads(made.out)
            assert (key["scopes"], key["tag"], key["own"]) == (["links:read", "stats:read"], "news", True)
            assert key["expires_at"] is not None
            shown = await boltlink("keys", "list", environ=environ | {"COLUMNS": "80"})
            (line,) = (line for line in shown.out.splitlines() if "narrow" in line)
            assert "links:read stats:read #news its own" in line
            assert line.split()[-1] == key["id"][:12], "nothing is cut off where no terminal is"
            keys = stores.database[KEYS]
            like = {**(await keys.find_one({"_id": key["id"]}) or {}), "_id": key["id"][:12] + "f" * 52}
            await keys.insert_one(like)
            ended = await boltlink("keys", "revoke", key["id"][:12], "--yes", environ=environ)
            assert (ended.status, ended.err) == (1, f"boltlink: 2 keys have ids that begin with {key['id'][:12]}\n")
            await keys.delete_one({"_id": like["_id"]})
            ended = await boltlink("keys", "revoke", key["id"][:12], "--yes", "--json", environ=environ)
            assert json.loads(ended.out) == {"id": key["id"], "state": "revoked"}
            assert (await boltlink("keys", "create", "wrong", "--scope", "root", environ=environ)).status == 2

    with_stores(scenario)
