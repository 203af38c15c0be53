"""The local cluster: its plan by Vagrant, its scripts by their shells."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.needs import needs

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "etc" / "vagrant").glob("*.sh")) + sorted((ROOT / "etc" / "compose").glob("*.sh"))


@needs("vagrant")
def test_vagrant_takes_the_plan(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Vagrantfile", tmp_path)
    environ = {**os.environ, "VAGRANT_HOME": str(tmp_path / "home"), "NODES": "3"}
    command = ["vagrant", "validate", "--ignore-provider"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"node1", "node2", "node3", "front"} <= set(re.findall(r"==> (\w+):", done.stdout))
    assert (tmp_path / ".vagrant" / "boltlink-secret").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_scripts(script: Path) -> None:
    shell = script.read_text().splitlines()[0].removeprefix("#!")
    assert subprocess.run([shell, "-n", script], check=False).returncode == 0
    assert os.access(script, os.X_OK)


def test_scripts_read_only_what_the_plan_tells() -> None:
    told = set(re.findall(r'"(BOLTLINK_CLUSTER_\w+)"', (ROOT / "Vagrantfile").read_text()))
    read = {
        name
        for path in (ROOT / "etc" / "vagrant").iterdir()
        for name in re.findall(r"BOLTLINK_CLUSTER_\w+", path.read_text())
    }
    assert read == told


@pytest.mark.parametrize("script", sorted((ROOT / "etc" / "vagrant").glob("*.sh")), ids=lambda path: path.name)
def test_no_file_with_a_secret_can_be_read_by_others_for_a_moment(script: Path) -> None:
    text = script.read_text()
    written = [(line, body) for line, body in re.findall(r"^(.*)<<TEXT\n(.*?)^TEXT$", text, re.MULTILINE | re.DOTALL)]
    written += [(line, line) for line in re.findall(r"^.*printf.*>.*$", text, re.MULTILINE)]
    held = [line for line, body in written if "$BOLTLINK_CLUSTER_SECRET" in body]
    assert len(held) == 1
    assert "umask 077" in held[0]
