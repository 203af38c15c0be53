"""The rules of the house that a machine can hold."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(
    path
    for folder in ("app", "workers", "bench", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if path.stat().st_size
)
LINES_MAX = 400
DRAWERS = {"utils", "util", "helpers", "helper", "common", "base", "core", "misc"}
DEBT = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_file_opens_with_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), "opens without a header (what it owns, in, out)"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_file_holds_no_debt_and_is_no_drawer(path: Path) -> None:
    assert not DEBT.findall(path.read_text())
    assert path.stem not in DRAWERS
    assert path.parent.name not in DRAWERS


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_file_is_short_enough_to_be_read_at_once(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LINES_MAX


@pytest.mark.parametrize("name", re.findall(r'"(app/[\w/]+\.py)"', (ROOT / "setup.py").read_text()))
def test_what_is_compiled_has_no_index_from_the_end(name: str) -> None:
    """Compiled without `wraparound`, `x[-1]` reads the memory before the first item."""
    indices = [node.slice for node in ast.walk(ast.parse((ROOT / name).read_text())) if isinstance(node, ast.Subscript)]
    assert not [ast.unparse(index) for index in indices if isinstance(index, ast.UnaryOp)]


def test_contract_of_imports_declares_every_room() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    declared = set(re.findall(r"[\w.]+", config["importlinter:contract:rooms"]["layers"]))
    rooms = {
        f"app.{path.stem}"
        for path in (ROOT / "app").iterdir()
        if path.stem != "__init__" and (path.suffix == ".py" or (path / "__init__.py").exists())
    }
    assert {name for name in declared if name.startswith("app.")} == rooms
    assert "workers" in declared


def test_what_is_made_is_not_kept() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    made = [name for name in listed.splitlines() if name.endswith((".so", ".pyc")) or name.startswith("var/")]
    made += [name for name in listed.splitlines() if name.endswith(".c") and name.startswith("app/")]
    assert made == []
