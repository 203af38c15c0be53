"""The file of a backup: what it may not be called is said before anything is written."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.backup import BackupFile, BackupFolder, TargetError

WRITER = """
import os, signal, sys
from pathlib import Path
from app.backup import BackupFile
with BackupFile(Path(sys.argv[1])) as target:
    target.file.write(b"all but its end" * 100_000)
    target.file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("name", ["/", ".", "there"])
def test_what_is_there_is_not_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / "there").write_bytes(b"x")
    with pytest.raises(TargetError, match="exists"):
        BackupFile(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert (tmp_path / "there").read_bytes() == b"x"


def test_one_that_is_killed_before_its_end_is_no_backup_and_goes_with_the_next(tmp_path: Path) -> None:
    name, folder = "boltlink-20261120T030000Z.backup", tmp_path / "backups"
    folder.mkdir()
    killed = subprocess.run([sys.executable, "-c", WRITER, str(folder / name)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in folder.iterdir()] == [f".{name}.part"]
    backups = BackupFolder(folder, tmp_path / "note")
    assert backups.made(datetime.now(UTC)) == {}
    backups.prepare()
    assert list(folder.iterdir()) == []
