"""Countries come from a local file or a CDN, and nothing breaks where they cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.agents import CountryFinder
from tests.agents.mmdb import write_mmdb

ROWS: dict[str, dict[str, object]] = {
    "192.0.2.0/24": {"country": {"iso_code": "DE"}, "registered_country": {"iso_code": "US"}},
    "198.51.100.0/24": {"registered_country": {"iso_code": "FR"}},
    "203.0.113.0/25": {"country_code": "jp"},
    "203.0.113.128/25": {"country": "BR"},
    "2001:db8::/32": {"country": {"iso_code": "SE"}},
    "100.64.0.0/10": {"country": {"iso_code": 7}, "asn": [1, 2]},
}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "country.mmdb"
    write_mmdb(path, ROWS)
    return path


def finder_of(path: Path | None) -> tuple[CountryFinder, list[str]]:
    warnings: list[str] = []
    return CountryFinder(path, warnings.append), warnings


@pytest.mark.parametrize(
    ("address", "country"),
    [
        ("192.0.2.7", "DE"),
        ("198.51.100.1", "FR"),
        ("203.0.113.1", "JP"),
        ("203.0.113.200", "BR"),
        ("2001:db8::1", "SE"),
        ("100.64.0.1", ""),
        ("8.8.8.8", ""),
        ("2001:db9::1", ""),
        ("", ""),
        ("no address", ""),
    ],
)
def test_each_vendors_rows_are_understood(database: Path, address: str, country: str) -> None:
    finder, warnings = finder_of(database)
    assert (finder.find(address), finder.find(address)) == (country, country)
    assert warnings == []


def test_a_cdn_wins_and_its_nonsense_is_ignored(database: Path) -> None:
    finder, _ = finder_of(database)
    assert finder.find("192.0.2.7", b"pt") == "PT"
    for claimed in (b"XX", b"T1", b"", b"DEU", b"D", b"\xff\xff", b"d e"):
        assert finder.find("192.0.2.7", claimed) == "DE"
    assert finder_of(None)[0].find("192.0.2.7", b"NL") == "NL"
    assert finder_of(None)[0].find("192.0.2.7") == ""


def test_a_file_that_is_missing_or_damaged_costs_a_warning_and_countries(tmp_path: Path, database: Path) -> None:
    whole = database.read_bytes()
    for name, content in {"empty": b"", "text": b"not a database", "cut": whole[:40]}.items():
        (tmp_path / name).write_bytes(content)
    for name in ("missing", "empty", "text", "cut"):
        finder, warnings = finder_of(tmp_path / name)
        assert finder.find("192.0.2.7") == ""
        assert len(warnings) == 1
        assert str(tmp_path / name) in warnings[0]


def test_a_damaged_row_has_no_country(tmp_path: Path, database: Path) -> None:
    whole = database.read_bytes()
    (tmp_path / "row").write_bytes(whole.replace(b"iso_code", b"\xff\xff\xff\xff\xff\xff\xff\xff"))
    finder, _ = finder_of(tmp_path / "row")
    assert finder.find("192.0.2.7") == ""


def test_an_ipv4_file_knows_no_ipv6(tmp_path: Path) -> None:
    path = tmp_path / "four.mmdb"
    write_mmdb(path, {"192.0.2.0/24": {"country": {"iso_code": "DE"}}}, ip_version=4)
    finder, _ = finder_of(path)
    assert (finder.find("192.0.2.1"), finder.find("2001:db8::1")) == ("DE", "")


def test_a_file_that_takes_its_place_is_opened_and_a_damaged_one_is_not(tmp_path: Path, database: Path) -> None:
    finder, warnings = finder_of(database)
    assert finder.find("192.0.2.7") == "DE"
    write_mmdb(tmp_path / "new", {"192.0.2.0/24": {"country": {"iso_code": "AT"}}})
    (tmp_path / "new").rename(database)
    finder.refresh()
    assert finder.find("192.0.2.7") == "AT"
    (tmp_path / "new").write_bytes(b"half a file")
    (tmp_path / "new").rename(database)
    finder.refresh()
    finder.refresh()
    assert finder.find("192.0.2.7") == "AT"
    assert len(warnings) == 1
    database.unlink()
    finder.refresh()
    assert (finder.find("192.0.2.7"), len(warnings)) == ("AT", 1)


def test_a_file_that_comes_later_is_found(tmp_path: Path) -> None:
    finder, warnings = finder_of(tmp_path / "later.mmdb")
    assert len(warnings) == 1
    write_mmdb(tmp_path / "later.mmdb", ROWS)
    finder.refresh()
    assert finder.find("192.0.2.7") == "DE"
