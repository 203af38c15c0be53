"""`boltlink doctor`: what may be wrong with this node, what comes of it, and what to do; whether it runs or not.

In: the environment, the machine, the stores, the tree. Out: a finding for each check (`findings.CHECKS`), exit status 1
when one is `fail`. Nothing is changed but a file of 16 MiB in the state folder's place, which is removed again.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict

import click

from app.cli.doctor.disk import about_disk, about_folder, about_preallocation, about_secrets
from app.cli.doctor.findings import CHECKS, Finding, State, fail, ok, warn
from app.cli.doctor.machine import about_clock, about_cpus, about_files, about_huge_pages, about_kernel, about_python
from app.cli.doctor.provider import about_provider
from app.cli.doctor.settings import about_names, about_settings
from app.cli.doctor.stores import about_stores
from app.cli.doctor.traces import about_traces
from app.cli.doctor.tree import about_base_url, about_engines, about_journal, about_ports, about_programs
from app.cli.errors import CliError
from app.cli.talk import JSON
from app.settings import Settings, SettingsError
from app.tree import Tree

__all__ = ["CHECKS", "doctor"]

COLOURS = {State.OK: "green", State.WARN: "yellow", State.FAIL: "red"}


@click.command(epilog="Example: boltlink doctor --json")
@click.option("-q", "--quiet", is_flag=True, help="Only what is not well.")
@JSON
def doctor(quiet: bool, as_json: bool) -> None:
    """Look for what is wrong with this node, and say what to do. Exit status 1 when something does not work."""
    findings = sorted(examine(), key=lambda finding: list(CHECKS).index(finding.check))
    counts = Counter(finding.state for finding in findings)
    if as_json:
        state = State.FAIL if counts[State.FAIL] else State.WARN if counts[State.WARN] else State.OK
        click.echo(json.dumps({"state": state, "checks": [asdict(finding) for finding in findings]}))
    else:
        for finding in findings:
            if not quiet or finding.state is not State.OK:
                _show(finding)
        click.echo(", ".join(f"{counts[state]} {state}" for state in State))
    if counts[State.FAIL]:
        names = dict.fromkeys(finding.check for finding in findings if finding.state is State.FAIL)
        raise CliError(f"does not work: {', '.join(names)}")


def examine() -> Iterator[Finding]:
    """All findings."""
    yield from about_names(os.environ)
    yield from about_python()
    yield from about_kernel()
    yield from about_clock()
    try:
        tree = Tree(Settings.from_environ(os.environ)).as_started()
    except SettingsError as error:
        means = "Every program stops at its start; what needs settings was not looked at."
        yield fail("settings.values", str(error), means, "Mend it; docs/operations.md says what it may be.")
        return
    yield ok("settings.values", f"{len(Settings.table())} settings")
    yield from about_settings(tree.settings)
    looks: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
        ("engines", lambda: about_engines(tree)),
        ("state.folder", lambda: about_folder(tree.settings)),
        ("state.secrets", lambda: about_secrets(tree.settings)),
        ("state.disk", lambda: about_disk(tree)),
        ("state.preallocation", lambda: about_preallocation(tree.settings)),
        ("limits.files", lambda: about_files(tree)),
        ("cpu", lambda: about_cpus(tree)),
        ("kernel.huge_pages", lambda: about_huge_pages(tree)),
        ("ports", lambda: about_ports(tree)),
        ("base_url", lambda: about_base_url(tree)),
        ("oidc", lambda: about_provider(tree.settings)),
        ("programs", lambda: about_programs(tree)),
        ("redis", lambda: asyncio.run(about_stores(tree))),
        ("traces", lambda: about_traces(tree.settings)),
        ("journal", lambda: about_journal(tree)),
    ]
    for check, look in looks:
        yield from _guarded(check, look)


def _guarded(check: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What the system does not let us look at is a finding, too."""
    try:
        yield from look()
    except OSError as error:
        yield warn(
            check, f"could not be looked at: {error}", "It may be well or not.", "Run it as the user of BoltLink."
        )


def _show(finding: Finding) -> None:
    mark = click.style(f"{finding.state:<5}", fg=COLOURS[finding.state], bold=finding.state is not State.OK)
    click.echo(f"{mark}{finding.check:<20} {finding.found}")
    for text in (finding.means, finding.do and f"-> {finding.do}"):
        if text:
            click.echo(f"{'':25} {text}")
