"""How a page of `boltlink monit` looks: lines for a terminal of any size from 80x24. Pure. May import: rich.

BoltLink http://127.0.0.1:8000  ready  12,345 req/s                            12:00:01
process       state      CPU %   memory    req/s      p99   conns  restarts    uptime
> web_0       RUNNING       41    72 MB    6,170    25 µs     120         0  00:12:01
…
journal   lag 0.4 s   32 MB   room for 3d 02:00:00   0 dropped   0 damaged
stores    redis up   mongodb up
hottest links, clicks of the last minute
  sale                                     1,204  ████████████████
keys: …
"""

from __future__ import annotations

import math
import time

from rich.text import Text

from app.cli.monit.readings import ProcessRow, Reading
from app.cli.plot import bar

__all__ = ["KEYS", "draw"]

KEYS = "up/down choose   r restart it   R reload all   l its log   q quit"
HOT_MIN = 3  # lines that the hottest links have at least
FIXED_LINES = 8  # all lines but processes and links
NAME_WIDTH = 12
LINK_WIDTH = 34


def draw(reading: Reading, width: int, height: int, *, chosen: str = "", message: str = "", keys: bool = True) -> Text:
    """A page of exactly as many lines as fit, none longer than `width`."""
    processes = _window(reading.processes, chosen, max(1, height - FIXED_LINES - HOT_MIN))
    lines = [_head(reading, width), _titles(), *(_process(row, row.name == chosen) for row in processes)]
    hidden = len(reading.processes) - len(processes)
    lines.append(Text(f"  … and {hidden} more" if hidden else ""))
    lines += [_journal(reading), _stores(reading), Text()]
    room = max(1, height - len(lines) - 1)
    lines += _hot(reading, room)
    lines += [Text()] * (height - len(lines) - 1) if keys else []
    if keys:
        lines.append(Text(message or KEYS, "bold yellow" if message else "bright_black"))
    for line in lines:
        line.truncate(width)
    return Text("\n").join(lines)


def _head(reading: Reading, width: int) -> Text:
    webs = [row for row in reading.processes if row.is_ready is not None]
    is_ready = bool(webs) and all(row.is_ready for row in webs)
    line = Text("BoltLink ", "bold").append(reading.url, "not bold")
    line.append("  ready" if is_ready else "  not ready", "not bold green" if is_ready else "not bold red")
    line.append(f"  {_number(reading.requests_per_s)} req/s", "not bold")
    clock = time.strftime("%H:%M:%S", time.localtime(reading.at))
    return line.append(" " * max(1, width - len(line) - len(clock))).append(clock, "not bold")


def _titles() -> Text:
    text = f"  {'process':<{NAME_WIDTH}} {'state':<9} {'CPU %':>5} {'memory':>8} {'req/s':>6} {'p99':>7} {'conns':>6} "
    return Text(f"{text}{'restarts':>8} {'uptime':>9}", "bold")


def _process(row: ProcessRow, is_chosen: bool) -> Text:
    state = "not ready" if row.state == "RUNNING" and row.is_ready is False else row.state
    line = Text("> " if is_chosen else "  ", "bold cyan" if is_chosen else "")
    line.append(f"{row.name[:NAME_WIDTH]:<{NAME_WIDTH}} ", "bold cyan" if is_chosen else "cyan")
    line.append(f"{state[:9]:<9} ", "not bold green" if state == "RUNNING" else "not bold red")
    line.append(f"{row.cpu_percent:>5.0f} {row.memory_bytes / 1e6:>5.0f} MB ", "not bold")
    line.append(f"{_number(row.requests_per_s):>6} {_latency(row.p99_s):>7} {_number(row.connections):>6} ", "not bold")
    line.append(f"{row.restarts:>8} ", "not bold yellow" if row.restarts else "not bold")
    return line.append(f"{_duration(row.uptime_s):>9}", "not bold")


def _journal(reading: Reading) -> Text:
    journal = reading.journal
    line = Text("journal   ", "bold")
    lag = journal.get("lag_s")
    line.append(f"lag {'-' if lag is None else f'{lag:.1f} s'}", "not bold red" if (lag or 0) > 10 else "not bold")
    line.append(f"   {journal.get('bytes', 0) / 1e6:.0f} MB", "not bold")
    left = journal.get("seconds_left")
    line.append(f"   room for {'-' if left is None else _duration(int(left))}", "not bold")
    for name in ("dropped", "damaged"):
        count = journal.get(name, 0)
        line.append(f"   {count:,.0f} {name}", "not bold red" if count else "not bold")
    return line


def _stores(reading: Reading) -> Text:
    line = Text("stores    ", "bold")
    if not reading.stores:
        return line.append("nobody says", "not bold red")
    for name, is_up in sorted(reading.stores.items()):
        line.append(f"{name} ", "not bold").append(
            "up   " if is_up else "away   ", f"not bold {'green' if is_up else 'red'}"
        )
    return line


def _hot(reading: Reading, room: int) -> list[Text]:
    lines = [Text("hottest links, clicks of the last minute", "bold")]
    shown = reading.hot[: room - 1]
    most = max((clicks for _, clicks in shown), default=1)
    for name, clicks in shown:
        short = name if len(name) <= LINK_WIDTH else f"{name[: LINK_WIDTH - 1]}…"
        lines.append(Text(f"  {short:<{LINK_WIDTH}} {clicks:>8,}  ").append(bar(clicks, most)[:30], "cyan"))
    return lines if shown else [*lines, Text("  none", "bright_black")]


def _window(rows: list[ProcessRow], chosen: str, count: int) -> list[ProcessRow]:
    """As many rows as fit, the chosen one among them."""
    at = next((number for number, row in enumerate(rows) if row.name == chosen), 0)
    start = max(0, min(at - count // 2, len(rows) - count))
    return rows[start : start + count]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _latency(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if math.isinf(seconds):
        return ">1 s"
    return f"{seconds * 1e6:.3g} µs" if seconds < 1e-3 else f"{seconds * 1e3:.3g} ms"


def _duration(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}d {hours:02}:{minutes:02}" if days else f"{hours:02}:{minutes:02}:{seconds:02}"
