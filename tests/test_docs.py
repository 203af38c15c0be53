"""The docs say what the code does: every setting, command, metric and route stands in them, and the reverse."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from app.accounts import WHATS
from app.api import ROUTES
from app.cli import COMMANDS, cli
from app.cli.doctor import CHECKS
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
ALL = "\n".join(page.read_text() for page in PAGES)
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")


def metric_names() -> set[str]:
    """The metrics of a new program, by the text it would show."""
    source = (ROOT / "app" / "observe" / "metrics.py").read_text()
    return set(re.findall(r'"(boltlink_[a-z_]+)"', source))


def test_every_setting_stands_in_operations_with_its_default() -> None:
    for row in Settings.table():
        line = next((line for line in OPERATIONS.splitlines() if line.startswith(f"| `{row['variable']}` |")), None)
        assert line is not None, row["variable"]
        assert row["meaning"] in line
        assert not row["default"] or f"`{row['default']}`" in line


def test_every_setting_that_is_named_exists() -> None:
    known = {row["variable"] for row in Settings.table()}
    assert set(re.findall(r"BOLTLINK_[A-Z_]+[A-Z]", ALL)) <= known


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_stands_in_operations_and_has_help(name: str) -> None:
    assert f"`boltlink {name}" in OPERATIONS
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.help


def test_every_command_that_is_named_exists() -> None:
    named = set(re.findall(r"(?:^|[`/ ])boltlink ([a-z]+)\b", ALL, re.MULTILINE))
    prose = {"interpreted", "compiled", "was"}
    assert named - prose <= set(COMMANDS)


def test_every_check_of_doctor_stands_in_operations() -> None:
    lines = OPERATIONS.splitlines()
    assert [check for check, meaning in CHECKS.items() if f"| `{check}` | {meaning} |" not in lines] == []


def test_every_metric_stands_in_operations_and_the_reverse() -> None:
    documented = {name.removesuffix("_total") for name in re.findall(r"\| `(boltlink_[a-z_]+)", OPERATIONS)}
    assert documented == metric_names()


def test_every_route_stands_in_the_api_page() -> None:
    api = (ROOT / "docs" / "api.md").read_text() + OPERATIONS
    for path, _ in ROUTES:
        shown = re.sub(r"\\{[a-z_]+\\}", r"\\{?[A-Za-z0-9_-]+\\}?", re.escape(path))
        assert path in ("/", "/robots.txt") or re.search(shown, api), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_headers_refer_to_pages_that_exist() -> None:
    for path in [*(ROOT / "app").rglob("*.py"), *(ROOT / "workers").rglob("*.py")]:
        for page, anchor in re.findall(r"docs/([a-z-]+\.md)(?:#([a-z-]+))?", path.read_text()):
            text = (ROOT / "docs" / page).read_text()
            assert not anchor or f"# {anchor}" in text.lower(), f"{path}: {page}#{anchor}"


def test_make_help_names_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = next(line for line in makefile.splitlines() if line.startswith(".PHONY:")).split()[1:]
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert {line.split()[0] for line in shown.splitlines()} == set(targets)


def test_the_command_shows_its_help() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert all(name in done.stdout for name in COMMANDS)


def test_every_kind_of_audit_entry_stands_in_the_api_page() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    assert [what for what in WHATS if f"`{what}`" not in page] == []
