"""`boltlink down` and `boltlink status`: the tree of this node."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from typing import Any

import click
import psutil
from rich.console import Console
from rich.table import Table

from app.cli.errors import CliError
from app.cli.looking import find_tree
from app.cli.talk import JSON, say
from app.tree import STOP_LIMIT_S, Tree

__all__ = ["count_restarts", "down", "status"]

STEP_S = 0.05
CPU_SAMPLE_S = 0.2


@click.command(epilog="Example: boltlink down")
@JSON
def down(as_json: bool) -> None:
    """Stop everything in order: web, workers, engines."""
    tree = find_tree()
    pid = tree.supervisor_pid()
    if pid is None:
        if tree.is_held():
            raise CliError(f"boltlink up or restore is at work on {tree.settings.state_dir}: wait for it, or stop that")
        say(as_json, {"state": "not running"}, "not running")
        return
    with suppress(psutil.NoSuchProcess):  # it ends by itself just now
        _stop(psutil.Process(pid))
    say(as_json, {"state": "stopped"}, "stopped")


def _stop(supervisor: psutil.Process) -> None:
    """Returns when it has ended. Raises NoSuchProcess when it is gone in between."""
    supervisor.terminate()
    deadline = time.monotonic() + STOP_LIMIT_S
    while supervisor.is_running() and supervisor.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            told = f"supervisord ({supervisor.pid}) did not stop within {STOP_LIMIT_S:.0f} s; see: boltlink logs"
            raise CliError(told)
        time.sleep(STEP_S)


@click.command(epilog="Example: boltlink status --json")
@JSON
def status(as_json: bool) -> None:
    """Show each process: state, uptime, CPU, memory, restarts. Exit status 1 when nothing runs."""
    tree = find_tree(as_started=True)
    found = tree.processes()
    if found is None:
        raise CliError(f"not running on {tree.settings.state_dir}; start it with: boltlink up")
    report = {
        "url": tree.settings.public_url,
        "ready": all(tree.ready(info["name"])[0] for info in found if info["group"] == "web"),
        "processes": _describe(tree, found),
    }
    if as_json:
        click.echo(json.dumps(report))
    else:
        _show(report)


def _describe(tree: Tree, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry for each process, in the order of names."""
    restarts = count_restarts(tree)
    handles = {info["name"]: _handle(info["pid"]) for info in found}
    for handle in handles.values():
        _usage(handle)  # from here on its CPU is measured
    time.sleep(CPU_SAMPLE_S)
    entries = []
    for info in sorted(found, key=lambda info: str(info["name"])):
        cpu, memory = _usage(handles[info["name"]])
        running = info["statename"] == "RUNNING"
        entries.append(
            {
                "name": info["name"],
                "pid": info["pid"] or None,
                "state": info["statename"],
                "uptime_s": max(0, info["now"] - info["start"]) if running else 0,
                "cpu_percent": cpu,
                "memory_bytes": memory,
                "restarts": restarts.get(info["name"], 0),
            }
        )
    return entries


def _handle(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid) if pid else None
    except psutil.Error:
        return None


def _usage(handle: psutil.Process | None) -> tuple[float, int]:
    """CPU since the last look and memory; nothing of a process that has ended, perhaps just now."""
    if handle is None:
        return 0.0, 0
    try:
        return handle.cpu_percent(None), handle.memory_info().rss
    except psutil.Error:
        return 0.0, 0


def count_restarts(tree: Tree) -> dict[str, int]:
    """How often each process was started again since supervisord started, by its log and the one before it."""
    spawned: dict[str, int] = {}
    for name in ("supervisord.log.1", "supervisord.log"):
        try:
            text = (tree.logs / name).read_text(errors="replace")
        except OSError:
            continue
        starts = text.rfind("supervisord started with pid")
        if starts >= 0:
            spawned.clear()
            text = text[starts:]
        for match in re.finditer(r"spawned: '([^']+)' with pid", text):
            spawned[match[1]] = spawned.get(match[1], 0) + 1
    return {name: count - 1 for name, count in spawned.items()}


def _show(report: dict[str, Any]) -> None:
    console = Console()
    ready = "[green]ready[/]" if report["ready"] else "[red]not ready[/]"
    console.print(f"{report['url']}  {ready}")
    table = Table(box=None, pad_edge=False)
    for title, side in (("process", "left"), ("pid", "right"), ("state", "left"), ("uptime", "right")):
        table.add_column(title, justify=side)  # type: ignore[arg-type]
    for title in ("CPU %", "memory", "restarts"):
        table.add_column(title, justify="right")
    for entry in report["processes"]:
        colour = "green" if entry["state"] == "RUNNING" else "red"
        table.add_row(
            entry["name"],
            str(entry["pid"] or "-"),
            f"[{colour}]{entry['state']}[/]",
            _duration(entry["uptime_s"]),
            f"{entry['cpu_percent']:.0f}",
            f"{entry['memory_bytes'] / 1e6:.0f} MB",
            str(entry["restarts"]),
        )
    console.print(table)


def _duration(seconds: int) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}d {hours:02}:{minutes:02}:{seconds:02}" if days else f"{hours:02}:{minutes:02}:{seconds:02}"
