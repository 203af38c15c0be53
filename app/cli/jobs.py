"""`boltlink jobs`: background jobs, and those that were given up."""

from __future__ import annotations

import json
from http import HTTPStatus
from itertools import islice
from typing import Any

import click
from rich.table import Table

from app.cli.client import Client, path_of
from app.cli.errors import RefusedError
from app.cli.plain import show_table
from app.cli.talk import JSON, YES, confirm, say
from app.jobs import JobState

__all__ = ["jobs"]

PAGE = 500


@click.group(epilog="Example: boltlink jobs list")
def jobs() -> None:
    """List background jobs, and have those that were given up done again."""


@jobs.command("list", epilog="Example: boltlink jobs list --state dead")
@click.option(
    "--state",
    type=click.Choice([state.value for state in JobState]),
    default="dead",
    show_default=True,
    help="ready, delayed and running ones are under way.",
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many at most.")
@JSON
def list_jobs(state: str, limit: int, as_json: bool) -> None:
    """List jobs in a state, those that were due last first."""
    found = _find(Client(), state, limit)
    if as_json:
        click.echo(json.dumps({"items": found}))
        return
    table = Table("id", "kind", "state", "attempts", "due", "error", box=None, pad_edge=False)
    for job in found:
        table.add_row(job["id"], job["kind"], job["state"], str(job["attempts"]), job["due_at"][:19], job["error"])
    show_table(table)


@jobs.command("retry", epilog="Example: boltlink jobs retry --dead --yes")
@click.argument("job_ids", nargs=-1)
@click.option("--dead", "are_all", is_flag=True, help="All that were given up, at most 10,000.")
@YES
@JSON
def retry_jobs(job_ids: tuple[str, ...], are_all: bool, is_sure: bool, as_json: bool) -> None:
    """Have jobs done again now, with all attempts before them."""
    if bool(job_ids) == are_all:
        raise click.UsageError("name jobs, or --dead for all that were given up")
    client = Client()
    ids = [job["id"] for job in _find(client, "dead", 10_000)] if are_all else list(job_ids)
    if are_all:
        confirm(f"Retry {len(ids)} jobs?", is_sure)
    retried = [id_ for id_ in ids if _retry(client, id_, is_one=not are_all)]
    say(as_json, {"retried": retried}, f"{len(retried)} of {len(ids)} jobs are done again")


def _retry(client: Client, id_: str, *, is_one: bool) -> bool:
    """False for one of many that somebody else has begun."""
    try:
        client.call("POST", f"{path_of('jobs', id_)}/retry")
    except RefusedError as error:
        if is_one or error.status != HTTPStatus.CONFLICT:
            raise
        return False
    return True


def _find(client: Client, state: str, limit: int) -> list[dict[str, Any]]:
    return list(islice(client.pages("/api/v1/jobs", min(limit, PAGE), state=state), limit))
