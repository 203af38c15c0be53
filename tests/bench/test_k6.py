"""The scripts for k6 are modules that a JavaScript engine reads; what they ask of the API is what it offers."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.needs import find, needs

SCRIPTS = sorted((Path(__file__).parents[2] / "bench" / "k6").glob("*.js"))
NODE = find("node")


@needs("node")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_syntax(script: Path, tmp_path: Path) -> None:
    module = tmp_path / f"{script.stem}.mjs"
    module.write_text(script.read_text())
    done = subprocess.run(["node", "--check", str(module)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_they_import_from_each_other_is_there() -> None:
    exported = set(
        re.findall(r"^export (?:const|function) (\w+)", (SCRIPTS[0].parent / "common.js").read_text(), re.MULTILINE)
    )
    for script in SCRIPTS:
        for names in re.findall(r"import \{ (.*) \} from './common.js'", script.read_text()):
            assert set(names.split(", ")) <= exported
    assert len(SCRIPTS) == 3
