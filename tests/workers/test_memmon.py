"""What memmon watches."""

from __future__ import annotations

import re
from pathlib import Path

from app.settings import Settings
from app.tree import Tree
from workers.memmon import groups

ROOT = Path(__file__).resolve().parents[2]


def test_every_program_but_engines_is_watched(tmp_path: Path) -> None:
    environ = {"BOLTLINK_STATE_DIR": str(tmp_path), "BOLTLINK_MEMORY_LIMIT": "64MB"}
    tree = Tree(Settings.from_environ({**environ, "BOLTLINK_BACKUP_DIR": str(tmp_path / "backups")}))
    text = "".join(path.read_text() for path in (ROOT / "supervisord.conf", *(ROOT / "etc" / "supervisor").iterdir()))
    programs = set(re.findall(r"^\[program:(\w+)\]$", text, re.MULTILINE))
    assert groups(tree) == dict.fromkeys(programs - {"redis", "mongod"}, 64_000_000)
