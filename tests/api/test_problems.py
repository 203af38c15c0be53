"""Errors: every wrong field at once and by name, crashes that tell nothing but an id, ids that lead to the log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tornado import web
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from app.api.handler import Handler
from app.api.problems import ERRORS_MAX, Problem, ProblemDocument, decode_body, field_errors, wrong_fields
from app.api.wishes import NewLink, read_link
from app.stores import open_mongodb, replica_set_url
from tests import fetch
from tests.api.service import ADMIN_KEY, With, make_services, serve
from tests.conftest import Stores

TARGET = "https://example.com/"


def fields_of(data: dict[str, Any]) -> dict[str, str]:
    return {error.field: error.message for error in field_errors(data, NewLink)}


def test_every_wrong_field_is_named_however_deep() -> None:
    rules: list[Any] = [
        {"target": 5, "when": {"device": ["car"], "color": "red"}},
        {"target": TARGET},
        {"target": TARGET, "when": {"os": ["iOS"]}},
        "x",
    ]
    found = fields_of({"rules": rules, "tags": ["a", "", 5], "title": None, "nonsense": 1})
    assert found == {
        "rules[0].target": "must be a string, not a whole number",
        "rules[0].when.device[0]": "must be one of desktop, mobile, tablet",
        "rules[0].when.color": "is unknown",
        "rules[1].when": "is required",
        "rules[3]": "must be an object, not a string",
        "tags[1]": "must be at least 1 characters long",
        "tags[2]": "must be a string, not a whole number",
        "title": "must be a string, not null",
        "nonsense": "is unknown",
        "target": "is required",
    }


def test_an_array_that_is_only_too_long_is_named_as_a_whole() -> None:
    assert list(fields_of({"target": TARGET, "tags": ["a"] * 33})) == ["tags"]


def test_a_body_full_of_what_is_wrong_costs_no_more_than_what_is_told_of_it() -> None:
    class Counted(str):
        """Counts how often a value is looked at."""

        looks = 0

        def __hash__(self) -> int:
            Counted.looks += 1
            return super().__hash__()

    many = 100_000
    body = {Counted(f"x{n}"): 1 for n in range(many)} | {"target": TARGET, "title": 5, "tags": [1] * many}
    Counted.looks = 0
    reading = read_link(body, str)
    assert len(reading.errors) == ERRORS_MAX
    assert Counted.looks < 2 * many + 10 * ERRORS_MAX  # msgspec's own look, and the way to the first errors
    assert len(field_errors({"target": TARGET, "tags": ["a"] * many}, NewLink)) == 1


def test_errors_of_one_problem_are_bounded() -> None:
    body = json.dumps({f"x{n}": 1 for n in range(ERRORS_MAX * 2)} | {"y" * 1000: 1}).encode()
    with pytest.raises(Problem) as caught:
        decode_body(body, NewLink)
    assert len(caught.value.errors) == ERRORS_MAX
    assert len(wrong_fields(field_errors({"y" * 1000: 1}, NewLink)).errors[0].field) == 200


def test_deep_fields_are_told_to_who_makes_a_link(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            wish = {"target": "ftp://a", "rules": [{"target": "https://b/", "when": {"hours": 5}}], "a.b": 1}
            answer = await api.client.post("/api/v1/links", json=wish)
            assert answer.status_code == 422
            assert {error["field"] for error in answer.json()["errors"]} == {"target", "rules[0].when.hours", "a.b"}

    with_stores(scenario)


BAD_BODIES = [(b"{", 400), (b"[]", 400), (b"", 400), (b"\xff", 400), (b"[" * 100_000, 400), (b'{"a":1}', 422)]


@pytest.mark.parametrize(("body", "status"), BAD_BODIES)
def test_a_body_that_cannot_be_read_is_a_problem(with_stores: With, body: bytes, status: int) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            answer = await api.client.post("/api/v1/links", content=body)
            assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
            assert answer.json()["title"]

    with_stores(scenario)


def test_a_clients_own_id_is_answered_also_with_an_error(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            for path, status in (("/api/v1/links", 200), ("/api/v1/links/none", 404), ("/api/none", 404)):
                answer = await api.client.get(path, headers={"X-Request-Id": "order-4711"})
                assert (answer.status_code, answer.headers["X-Request-Id"]) == (status, "order-4711")
                assert status == 200 or answer.json()["request_id"] == "order-4711"
            replaced = await api.client.get("/api/v1/links", headers={"X-Request-Id": "a b"})
            assert len(replaced.headers["X-Request-Id"]) == 16

    with_stores(scenario)


def test_the_line_of_a_store_that_failed_has_the_requests_id_and_no_secret(
    with_stores: With, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario(stores: Stores) -> None:
        nowhere = open_mongodb(replica_set_url(tmp_path / "none.sock").replace("/?", "/?serverSelectionTimeoutMS=100&"))
        async with serve(stores, make_services(stores, nowhere)) as api:
            answer = await api.client.get("/api/v1/links", headers={"X-Request-Id": "order-4711"})
            assert answer.status_code == 503
        await nowhere.client.close()

    with_stores(scenario)
    written = capsys.readouterr().out
    assert "order-4711" in written
    assert ADMIN_KEY not in written


class CrashHandler(Handler):
    """A mistake of ours."""

    is_public = True

    async def get(self) -> None:
        """Fails."""
        raise ZeroDivisionError("a secret detail")


def test_a_crash_tells_an_id_and_no_more(with_stores: With, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario(stores: Stores) -> None:
        application = web.Application(
            [("/api/v1/crash", CrashHandler, {"services": make_services(stores), "needs": {}})],
            log_function=lambda handler: None,
            on_request=lambda *counted: None,
            cors_origins=(),
        )
        server = HTTPServer(application)
        (sock,) = bind_sockets(0, "127.0.0.1")
        server.add_sockets([sock])
        async with fetch.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://127.0.0.1:{sock.getsockname()[1]}/api/v1/crash")
        server.stop()
        await server.close_all_connections()
        assert answer.status_code == 500
        assert answer.headers["Content-Type"] == "application/problem+json"
        document = ProblemDocument(**answer.json())
        assert document.request_id == answer.headers["X-Request-Id"]
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text
        line = capsys.readouterr().out
        assert document.request_id in line
        assert "a secret detail" in line

    with_stores(scenario)
