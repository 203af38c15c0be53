"""Many rows in one body: each is read, nothing is half read, and others have their turn meanwhile."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.problems import Problem
from app.api.rows import ROW_BYTES_MAX, ROWS_MAX, read_rows, write_results

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(max_size=9),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)


def read(body: bytes) -> list[Any]:
    return asyncio.run(read_rows(body))


@given(st.lists(VALUES, min_size=1, max_size=9))
def test_rows_are_what_json_says(rows: list[Any]) -> None:
    assert read(json.dumps({"more": rows, "links": rows}).encode()) == rows


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "not valid JSON"),
        (b"[]", 400, "must be a JSON object"),
        (b'{"links": [{"a": 1}, {"a": \x80}]}', 400, "not valid JSON"),
        (b'{"links": [{"a": 1}, {"a": "\xff"}]}', 400, "not valid JSON"),
        (b'{"links": [{"a": 1}, {"a": 01}]}', 400, "not valid JSON"),
        (b'{"links": [{"a": "\\q"}]}', 400, "not valid JSON"),
        (b'{"links": [1', 400, "not valid JSON"),
        (b'{"links": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}", 400, "nested too deep"),
        (b"{}", 422, ""),
        (b'{"links": 7}', 422, ""),
        (b'{"links": []}', 422, ""),
        (b'{"links": [' + b"1," * ROWS_MAX + b"1]}", 422, ""),
        (b'{"links": ["' + b"x" * ROW_BYTES_MAX + b'"]}', 422, ""),
    ],
)
def test_a_body_that_is_wrong_anywhere_is_refused_as_a_whole(body: bytes, status: int, said: str) -> None:
    with pytest.raises(Problem) as caught:
        read(body)
    assert caught.value.status == status
    assert said in caught.value.detail
    assert bool(caught.value.errors) == (status == 422)


def test_others_have_their_turn_while_a_long_body_is_read_and_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.turns.TURN_S", 0.0)
    body = json.dumps({"links": [{"target": "https://example.com/" + "x" * 750} for _ in range(ROWS_MAX)]}).encode()

    class Result(msgspec.Struct):
        text: str

    async def scenario() -> tuple[int, int]:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        rows = await read_rows(body)
        reading, turns = turns, 0
        answer = await write_results([Result(row["target"]) for row in rows])
        counting.cancel()
        assert json.loads(answer) == {"results": [{"text": row["target"]} for row in rows]}
        return reading, turns

    reading, answering = asyncio.run(scenario())
    assert reading >= ROWS_MAX
    assert answering >= ROWS_MAX


def test_no_results_are_an_empty_array() -> None:
    assert json.loads(asyncio.run(write_results([]))) == {"results": []}
