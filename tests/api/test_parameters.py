"""Parameters of a query: read by their declaration, every wrong one named, and in no other way."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from app.api.parameters import NoQuery, read_query
from app.api.problems import Problem
from tests.api.service import With, serve
from tests.conftest import Stores

API = Path(__file__).resolve().parents[2] / "app" / "api"


class Wanted(msgspec.Struct):
    """One of each."""

    word: Literal["a", "b"]
    count: Annotated[int, Meta(ge=1, le=9)] = 5
    start: str = msgspec.field(default="", name="from")


def test_declared_parameters_are_read_by_their_types() -> None:
    found = read_query({"word": [b"b"], "count": [b"7"], "from": ["ü ".encode()]}, Wanted, is_strict=True)
    assert found == Wanted("b", 7, "ü ")
    assert read_query({"word": [b"a"]}, Wanted, is_strict=True) == Wanted("a")


def test_every_wrong_parameter_is_named_at_once() -> None:
    with pytest.raises(Problem) as caught:
        read_query({"count": [b"10"], "from": [b"\xff"], "x" * 99: [b""], "y": [b""]}, Wanted, is_strict=True)
    assert caught.value.status == 422
    assert {error.field: error.message for error in caught.value.errors} == {
        "count": "must be at most 9",
        "from": "is not UTF-8",
        "x" * 64 + "…": "is no parameter here",
        "y": "is no parameter here",
        "word": "is required",
    }


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(Problem) as caught:
        read_query({"word": [b"a", b"a"]}, Wanted, is_strict=True)
    assert [error.message for error in caught.value.errors] == ["is given more than once"]


def test_null_is_a_word_like_others() -> None:
    class Perhaps(msgspec.Struct):
        word: Annotated[Literal["a"] | None, Meta(description="?")] = None
        text: Annotated[str, Meta(max_length=9)] | None = None

    assert read_query({"text": [b"null"]}, Perhaps, is_strict=True) == Perhaps(text="null")
    with pytest.raises(Problem) as caught:
        read_query({"word": [b"null"]}, Perhaps, is_strict=True)
    assert [error.message for error in caught.value.errors] == ["must be one of a"]


def test_a_number_is_no_time() -> None:
    class Timed(msgspec.Struct):
        at: Annotated[datetime, Meta(tz=True)] | None = None
        is_all: bool = False

    found = read_query({"at": [b"2026-01-01T00:00:00Z"], "is_all": [b"true"]}, Timed, is_strict=True)
    assert found == Timed(datetime(2026, 1, 1, tzinfo=UTC), is_all=True)
    for text in (b"0.5", b"1764111600", b"2026-01-01"):
        with pytest.raises(Problem):
            read_query({"at": [text]}, Timed, is_strict=True)


def test_a_wrong_choice_is_told_which_there_are() -> None:
    with pytest.raises(Problem) as caught:
        read_query({"word": [b"c"]}, Wanted, is_strict=True)
    assert [error.message for error in caught.value.errors] == ["must be one of a, b"]


def test_unknown_parameters_pass_where_everybody_may_come() -> None:
    assert read_query({"utm_source": [b"x"]}, NoQuery, is_strict=False) == NoQuery()


def test_handlers_read_parameters_by_their_declaration_alone() -> None:
    for path in API.glob("*.py"):
        assert not re.search(r"get_(query_|body_)?arguments?\(", path.read_text()), path.name


def test_unknown_parameter_is_refused_by_name_where_a_key_is_asked_for(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            answer = await api.client.get("/api/v1/links", params={"domian": "a", "limit": "0"})
            assert answer.status_code == 422
            assert {error["field"] for error in answer.json()["errors"]} == {"domian", "limit"}
            assert (await api.client.get("/health?x=1")).status_code == 200
            assert (await api.client.get("/ready?degraded=x")).status_code == 422

    with_stores(scenario)
