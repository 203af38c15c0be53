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
from app.observe.families import COUNTERS, GAUGES
from app.settings import RESERVED_SEGMENTS, Settings

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
ALL = "\n".join(page.read_text() for page in PAGES)
LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")


def metric_names() -> set[str]:
    """The metrics of every program: those of the tables, and the few that are made beside them."""
    source = (ROOT / "app" / "observe" / "metrics.py").read_text()
    tables = {family.name for family in COUNTERS.values()} | {family.name for family in GAUGES.values()}
    return tables | set(re.findall(r'"(boltlink_[a-z_]+)"', source))


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
    prose = {
        "interpreted",
        "compiled",
        "was",
        "boltlink",
    }  # the last: `exec boltlink boltlink …`, a container and the command
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


def test_every_reserved_word_that_could_be_a_slug_stands_in_the_api_page() -> None:
    row = next(line for line in (ROOT / "docs" / "api.md").read_text().splitlines() if line.startswith("| `slug` |"))
    named = set(re.findall(r"`([\w-]{2,}|_)`", row.partition("In no case")[2]))
    assert named == {word for word in RESERVED_SEGMENTS if re.fullmatch(r"[\w-]+", word)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        file = page.parent / target if target else page
        assert file.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in headings(file), f"{page.name}: {target}#{anchor}"


def headings(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    words = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", word.lower()).replace(" ", "-") for word in words}


def test_the_house_names_every_room() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    house = page.partition("## The house")[2].partition("##")[0]
    rooms = [path for path in (ROOT / "app").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    names = [f"app/{path.name} " for path in rooms if path.name != "__init__.py"]
    assert [name for name in names if f"    {name}" not in house] == []


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
