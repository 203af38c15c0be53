"""What `supervisord.conf` gives the programs of a node to stop, one group after another."""

from __future__ import annotations

import configparser
from pathlib import Path

__all__ = ["stop_seconds"]

ROOT = Path(__file__).resolve().parents[2]


def stop_seconds(*, has_engines: bool = False) -> int:
    """The sum over all groups of a node, with embedded engines or with stores elsewhere."""
    parts = (ROOT / "etc" / "supervisor").glob("*.conf")
    files = [path for path in parts if has_engines or not path.name.startswith("embedded-")]
    waits: dict[str, int] = {}
    for file in [ROOT / "supervisord.conf", *files]:
        config = configparser.RawConfigParser(inline_comment_prefixes=(" ;",))
        config.read(file)
        waits |= {
            name: config.getint(name, "stopwaitsecs") for name in config if config.has_option(name, "stopwaitsecs")
        }
    assert len(waits) >= 7  # web, memmon, aggregator, announcer, rollup, backup, jobs
    return sum(waits.values())
