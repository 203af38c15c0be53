"""A table goes where the page has its place, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.pages import PERFORMANCE, put_table

PAGE = "# Page\n\n<!-- bench.a -->\nold\n\n<!-- end -->\n\n<!-- bench.b -->\nkept\n\n<!-- end -->\n"


def test_table_replaces_what_stood_in_its_place(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    put_table("bench.a", r"| \1 new |" + "\n", page)
    assert page.read_text() == PAGE.replace("old", r"| \1 new |".join(("\n", "")))
    put_table("bench.a", "| newer |", page)
    assert "new |\n" not in page.read_text()
    assert "kept" in page.read_text()


def test_page_without_the_place_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    with pytest.raises(SystemExit, match=r"page\.md has 0 places for bench\.c"):
        put_table("bench.c", "new", page)
    assert page.read_text() == PAGE


@pytest.mark.parametrize("name", ["bench.redirects", "bench.memory", "bench.features"])
def test_performance_has_a_place_for_every_table(name: str) -> None:
    assert PERFORMANCE.read_text().count(f"<!-- {name} -->\n") == 1
