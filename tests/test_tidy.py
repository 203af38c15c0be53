"""The rules of the house that a machine can hold."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(
    path
    for folder in ("app", "workers", "bench", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if path.stat().st_size
)
PRODUCT = [path for path in SOURCES if path.parts[len(ROOT.parts)] in ("app", "workers")]
LINES_MAX = 400
DRAWERS = {"utils", "util", "helpers", "helper", "common", "base", "core", "misc"}
DEBT = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")


#: Imported by name from other rooms, because they are needed seldom (`app.stores`).
INNER = {"app.stores.embedded", "app.stores.replica_set"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def listed_of(path: Path) -> set[str]:
    """A module's `__all__`."""
    values = [
        node.value
        for node in tree_of(path).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    return set(ast.literal_eval(values[0])) if values else set()


def imports_of_ours(path: Path) -> Iterator[tuple[str, Path, set[str]]]:
    """(module, its file, names) of each `from app… import …`, but for modules that are imported as such."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("app", "workers"):
            module = str(node.module)
            base = ROOT / module.replace(".", "/")
            file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
            modules = {name.stem for name in base.glob("*.py")} if base.is_dir() else set()
            yield module, file, {alias.name for alias in node.names} - modules


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_file_opens_with_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree_of(path)), "opens without a header (what it owns, in, out)"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_file_holds_no_debt_and_is_no_drawer(path: Path) -> None:
    assert not DEBT.findall(path.read_text())
    assert path.stem not in DRAWERS
    assert path.parent.name not in DRAWERS


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_file_is_short_enough_to_be_read_at_once(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LINES_MAX


def test_what_another_module_takes_is_listed() -> None:
    taken = [
        f"{name_of(path)}: {module}.{name}"
        for path in PRODUCT
        for module, file, names in imports_of_ours(path)
        for name in sorted(names - listed_of(file))
    ]
    assert taken == []


def test_rooms_are_entered_by_the_door() -> None:
    """Another room imports from `app.ROOM`, not from a module within."""
    climbed = [
        f"{name_of(path)}: {module}"
        for path in PRODUCT
        for module, _, _ in imports_of_ours(path)
        if module.count(".") > 1 and module not in INNER
        if module.split(".")[:2] != list(path.relative_to(ROOT).with_suffix("").parts[:2])
    ]
    assert climbed == []


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
