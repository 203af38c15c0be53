"""The access log: a share of redirects, the same whoever reads them, with an address only where that is allowed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.agents import CountryFinder, TraitsReader
from app.analytics import AccessLog, Folding
from app.analytics.access import LINES_MAX, Taken
from app.journal import NO_LINK, REDIRECT_GET, REDIRECT_HEAD, Outcome, RawRecord, flags_of
from app.observe import RotatedLog
from app.settings.parse import networks

RECORD_BYTES = 648
GONE = flags_of(Outcome.GONE, is_head=False)
FIREFOX = b"Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0"
HEAD = (
    b"GET /spring?token=hunter2 HTTP/1.1\r\nHost: sho.rt\r\nUser-Agent: "
    + FIREFOX
    + b"\r\nReferer: https://a.test/b\r\n\r\n"
)
PEER = b"\0" * 10 + b"\xff\xff" + bytes([203, 0, 113, 9])
OFFICE = b"\0" * 10 + b"\xff\xff" + bytes([10, 1, 2, 3])
FOLDING = Folding(traits=TraitsReader(), countries=CountryFinder(None, print), excluded=networks("10.0.0.0/8"))


def record(
    number: int, *, flags: int = REDIRECT_GET, link: int = 7, peer: bytes = PEER, head: bytes = HEAD
) -> RawRecord:
    return number * RECORD_BYTES, 1_700_000_000_123, link.to_bytes(8, "big"), 0, flags, peer, head


def open_log(folder: Path, share: float = 1.0, *, has_addresses: bool = False) -> AccessLog:
    return AccessLog(
        RotatedLog(folder / "access.log"),
        FOLDING.describe_with_address,
        share=share,
        has_addresses=has_addresses,
        program="aggregator",
    )


def take(log: AccessLog, *records: RawRecord) -> Taken:
    taken = Taken()
    log.take(records, len(records), taken)
    return taken


def written(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "access.log").read_text().splitlines()]


def test_a_line_has_the_form_of_every_log_and_says_what_was_asked_of_what_link(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.write(take(log, record(1)))
    assert written(tmp_path) == [
        {
            "time": "2023-11-14T22:13:20.123Z",
            "level": "info",
            "program": "aggregator",
            "event": "redirect",
            "link": "0000000000000007",
            "host": "sho.rt",
            "slug": "spring",
            "kind": "person",
            "device": "desktop",
            "browser": "Firefox",
            "os": "Linux",
            "referrer": "a.test",
        }
    ]


def test_neither_a_query_nor_an_address_is_written(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.write(take(log, record(1)))
    text = (tmp_path / "access.log").read_text()
    assert "hunter2" not in text
    assert "203.0.113.9" not in text


def test_an_address_is_written_where_the_setting_permits_it(tmp_path: Path) -> None:
    log = open_log(tmp_path, has_addresses=True)
    log.write(take(log, record(1)))
    assert written(tmp_path)[0]["address"] == "203.0.113.9"


def test_only_redirects_of_links_are_taken_and_none_that_is_excluded_or_not_folded(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    nobody = int.from_bytes(NO_LINK, "big")
    others = (record(1, flags=REDIRECT_HEAD), record(2, flags=GONE), record(3, link=nobody), record(4, peer=OFFICE))
    assert take(log, *others).lines == []
    taken = Taken()
    log.take([record(1), record(2)], 1, taken)
    assert len(taken.lines) == 1


@pytest.mark.parametrize("share", [0.01, 0.5])
def test_the_share_is_kept_and_the_same_records_are_taken_by_whoever_reads_them(tmp_path: Path, share: float) -> None:
    count = 20_000
    clicks = [record(number, link=number) for number in range(1, count + 1)]

    def taken_in(chunk: int) -> list[str]:
        log = open_log(tmp_path, share)
        return [
            line["link"] for start in range(0, count, chunk) for line in take(log, *clicks[start : start + chunk]).lines
        ]

    found = taken_in(1_000)
    assert abs(len(found) - share * count) < 4 * (share * (1 - share) * count) ** 0.5
    assert taken_in(37) == found


def test_more_than_a_batch_may_hold_is_counted_in_the_next_line(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    taken = take(log, *(record(number) for number in range(LINES_MAX + 3)))
    assert (len(taken.lines), taken.left_out) == (LINES_MAX, 3)
    log.write(taken)
    log.write(take(log, record(1)))
    lines = written(tmp_path)
    assert [line.get("lines_dropped") for line in (lines[0], lines[1], lines[-1])] == [3, None, None]
