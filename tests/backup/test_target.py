"""The file of a backup: what it may not be called is said before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.backup import BackupFile, TargetError


@pytest.mark.parametrize("name", ["/", ".", "there"])
def test_what_is_there_is_not_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / "there").write_bytes(b"x")
    with pytest.raises(TargetError, match="exists"):
        BackupFile(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert (tmp_path / "there").read_bytes() == b"x"
