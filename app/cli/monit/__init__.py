"""`boltlink monit`: a live page of this node in the terminal, as little as a terminal of 80x24 over ssh can show.

In: a running tree. Out: a page a second; keys choose a program, restart it, follow its log. With --once one page, for
people or machines. Drawn by rich, which the command line uses anyway (why not textual: docs/architecture.md).

    main thread   waits for a key, draws
    sampler       reads everything once a second
    restart       while something is restarted
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from app.cli.errors import CliError
from app.cli.follow import Follower, format_line, last_lines
from app.cli.monit.actions import Actions
from app.cli.monit.page import draw
from app.cli.monit.readings import Reading, Sampler
from app.cli.monit.terminal import keyboard, read_keys
from app.cli.reload import programs_in_order
from app.cli.talk import JSON, heed_sigterm
from app.settings import Settings
from app.tree import Tree

__all__ = ["monit"]

STEP_S = 1.0  # between readings
KEY_S = 0.1
LOG_LINES_MAX = 1_000
WIDTH_MIN, HEIGHT_MIN = 80, 24
_FONT_FROM_ELSEWHERE = re.compile(r"\s*@font-face \{[^}]*\}")  # a picture asks nobody for anything


@click.command(epilog="Example: boltlink monit --once --json")
@click.option("--once", is_flag=True, help="One page, then end; also where there is no terminal.")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="With --once: also a picture of the page.")
@JSON
def monit(once: bool, svg: Path | None, as_json: bool) -> None:
    """Watch this node live: processes, journal, stores, hottest links; restart a program, follow its log."""
    if (svg is not None or as_json) and not once:
        raise click.UsageError("--svg and --json need --once")
    if not once and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("there is no terminal here: --once prints one page")
    if not once and Console().is_dumb_terminal:
        raise click.UsageError(f"nothing can be drawn on a terminal like this (TERM={os.environ['TERM']}): --once does")
    heed_sigterm()  # leaves the terminal as it was
    tree = Tree(Settings.from_environ(os.environ)).as_started()
    sampler = Sampler(tree)
    try:
        sampler.read()
        if once:
            time.sleep(STEP_S)
            _print(sampler.read(), as_json, svg)
        else:
            _Screen(tree, sampler).run()
    finally:
        sampler.close()


def _print(reading: Reading, as_json: bool, svg: Path | None) -> None:
    if as_json:
        click.echo(json.dumps(_told(asdict(reading))))
        return
    console = Console(markup=False, emoji=False, highlight=False, record=svg is not None)
    width = max(WIDTH_MIN, console.width)
    console.print(draw(reading, width, HEIGHT_MIN + len(reading.processes), keys=False), soft_wrap=True)
    if svg is not None:
        svg.write_text(_FONT_FROM_ELSEWHERE.sub("", console.export_svg(title="boltlink monit")), "utf-8")


def _told(value: Any) -> Any:
    """A value as JSON knows it, which has no infinity: nobody can say how long the slowest took."""
    if isinstance(value, dict):
        return {key: _told(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_told(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class _Screen:
    """The page while it is looked at."""

    def __init__(self, tree: Tree, sampler: Sampler) -> None:
        self._tree = tree
        self._sampler = sampler
        self._reading = sampler.read()
        self._failure: CliError | None = None
        self._ends = threading.Event()
        self._actions = Actions(tree)
        self._chosen = self._reading.processes[0].name
        self._asked: tuple[str, Callable[[], None]] | None = None
        self._log: _Log | None = None

    def run(self) -> None:
        """Until q. Raises CliError when the tree ends meanwhile."""
        console = Console(markup=False, emoji=False, highlight=False)
        thread = threading.Thread(target=self._sample, name="sampler", daemon=True)
        thread.start()
        try:
            with keyboard() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
                while self._failure is None:
                    live.update(self._page(console.width, console.height), refresh=True)
                    if not all(map(self._press, read_keys(keys, KEY_S))):
                        break
        except KeyboardInterrupt:
            pass
        finally:
            self._ends.set()
            thread.join()
        if self._failure is not None:
            raise self._failure

    def _sample(self) -> None:
        while not self._ends.wait(STEP_S):
            try:
                self._reading = self._sampler.read()
            except CliError as error:
                self._failure = error
                return

    def _page(self, width: int, height: int) -> Text:
        if self._log is not None:
            return self._log.draw(width, height)
        if width < WIDTH_MIN or height < HEIGHT_MIN:
            return Text(f"This terminal has {width}x{height}; {WIDTH_MIN}x{HEIGHT_MIN} are needed. q quits.")
        message = f"{self._asked[0]} y/n" if self._asked else self._actions.message
        return draw(self._reading, width, height, chosen=self._chosen, message=message)

    def _press(self, key: str) -> bool:
        """Does what a key says; False when it is to end."""
        if self._log is not None:
            if key in ("q", "l", "escape"):
                self._log.close()
                self._log = None
            return True
        if self._asked is not None:
            question, self._asked = self._asked, None
            if key == "y":
                question[1]()
            return True
        if key in ("up", "down"):
            self._choose(1 if key == "down" else -1)
        elif key == "r":
            chosen = self._chosen
            self._asked = (f"restart {chosen}?", lambda: self._actions.restart([chosen]))
        elif key == "R":
            names = programs_in_order(self._tree, [row.name for row in self._reading.processes])
            self._asked = (f"reload {', '.join(names)}?", lambda: self._actions.restart(names))
        elif key == "l":
            self._log = _Log(self._tree.logs, self._chosen)
        return key != "q"

    def _choose(self, step: int) -> None:
        names = [row.name for row in self._reading.processes]
        at = names.index(self._chosen) if self._chosen in names else 0
        self._chosen = names[max(0, min(len(names) - 1, at + step))]


class _Log:
    """A program's log, followed."""

    def __init__(self, folder: Path, name: str) -> None:
        self._name = name
        self._follower = Follower(folder, [name])
        self._lines: deque[str] = deque(maxlen=LOG_LINES_MAX)
        for line in last_lines(folder / f"{name}.log", LOG_LINES_MAX):
            self._add(line)

    def close(self) -> None:
        """Lets go of the file."""
        self._follower.close()

    def draw(self, width: int, height: int) -> Text:
        """The last lines that fit."""
        for _, line in self._follower.poll():
            self._add(line)
        shown = [Text.from_ansi(line) for line in list(self._lines)[-(height - 2) :]]
        lines = [Text(f"log of {self._name}", "bold"), *shown]
        lines += [Text()] * (height - 1 - len(lines))
        lines.append(Text("l or Esc back", "bright_black"))
        for each in lines:
            each.truncate(width)
        return Text("\n").join(lines)

    def _add(self, line: str) -> None:
        text = format_line(self._name, line, level="debug", is_terminal=True)
        self._lines.extend(text.splitlines() if text else [])
