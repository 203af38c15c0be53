"""The API's description: complete, true to the routing table, valid, and shown as a page that loads nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from tornado import web

from app.api import ROUTES
from app.api.examples import example_of
from app.api.openapi import make_document
from app.api.operation import operation_of
from app.api.page import POLICY, make_page
from tests.api.service import With, serve
from tests.conftest import Stores

DOCUMENT = make_document(ROUTES)
METHODS = ("get", "post", "put", "patch", "delete")
OPERATIONS = [
    (path, method, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method != "parameters"
]
IDS = [f"{method} {path}" for path, method, _ in OPERATIONS]


def resolve(shown: dict[str, Any]) -> dict[str, Any]:
    found: Any = DOCUMENT
    for word in shown["$ref"].removeprefix("#/").split("/") if "$ref" in shown else ():
        found = found[word]
    return found if "$ref" in shown else shown


def test_every_route_and_method_is_described_and_no_other() -> None:
    implemented = {
        (path, method)
        for path, handler in ROUTES
        for method in METHODS
        if getattr(handler, method) is not getattr(web.RequestHandler, method)
    }
    heads = {(path, "head") for path, method in implemented if method == "get"}
    assert {(path, method) for path, method, _ in OPERATIONS} == implemented | heads


def test_names_of_operations_are_given_once() -> None:
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=IDS)
def test_parameters_are_those_that_the_handler_reads(path: str, method: str, operation: dict[str, Any]) -> None:
    declared = operation_of(dict(ROUTES)[path], method.upper())
    assert declared is not None
    told = [resolve(parameter) for parameter in operation["parameters"]]
    fields = {field.encode_name for field in msgspec.structs.fields(declared.query)}
    assert {parameter["name"] for parameter in told if parameter["in"] == "query"} == fields
    in_path = [parameter["name"] for parameter in DOCUMENT["paths"][path].get("parameters", [])]
    assert in_path == re.findall(r"\{([a-z_]+)\}", path)
    for parameter in told:
        assert parameter["description"], parameter["name"]


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=IDS)
def test_errors_are_problem_documents_and_all_answers_have_an_id(
    path: str, method: str, operation: dict[str, Any]
) -> None:
    for status, shown in operation["responses"].items():
        answer = resolve(shown)
        assert answer["description"]
        if method != "head":
            assert "X-Request-Id" in answer["headers"], status
        if status >= "400" and (path, status) != ("/ready", "503"):
            assert list(answer.get("content", {"application/problem+json": 1})) == ["application/problem+json"]
    is_public = dict(ROUTES)[path].is_public
    declared = operation_of(dict(ROUTES)[path], method.upper())
    assert declared is not None
    schemes: list[Any] | None = [{"cookie": []}] if declared.needs_session else [] if is_public else None
    assert operation.get("security") == schemes
    assert declared.needs_session == (declared.refuses.get(401) == "Nobody is signed in.")
    assert ("401" in operation["responses"]) == (not is_public or 401 in declared.refuses)


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=IDS)
def test_examples_are_what_the_types_allow(path: str, method: str, operation: dict[str, Any]) -> None:
    declared = operation_of(dict(ROUTES)[path], method.upper())
    assert declared is not None
    if declared.body is not None:
        msgspec.convert(operation["requestBody"]["content"]["application/json"]["example"], declared.body)
    for status, answer in declared.answers.items():
        if answer.kind is not None and method != "head":
            content = operation["responses"][str(status)]["content"]["application/json"]
            msgspec.convert(content["example"], answer.kind)


def test_every_reference_leads_somewhere() -> None:
    for reference in set(re.findall(r'"(#/components/[^"]+)"', msgspec.json.encode(DOCUMENT).decode())):
        assert resolve({"$ref": reference}), reference


def test_an_example_has_the_examples_bounds_and_defaults_of_its_fields() -> None:
    schema = {
        "type": "object",
        "required": ["a"],
        "properties": {
            "a": {"type": "integer", "minimum": 3},
            "b": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
            "c": {"type": "array", "items": {"$ref": "#/components/schemas/C"}},
            "d": {"enum": ["x", "y"], "default": "y"},
        },
    }
    components = {"C": {"type": "string", "examples": ["see"]}}
    found = {"a": 3, "b": "2026-11-25T20:00:00Z", "c": ["see"], "d": "y"}
    assert example_of(schema, components) == found
    assert example_of(schema, components, required_only=True) == {"a": 3}


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        found = dict(attrs)
        if found.get("id"):
            self.ids.append(str(found["id"]))
        if tag == "a":
            self.links.append(str(found["href"]))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_shows_every_operation_and_loads_nothing() -> None:
    text = make_page(DOCUMENT)
    page = Page()
    page.feed(text)
    assert page.open == []
    assert len(set(page.ids)) == len(page.ids)
    assert {operation["operationId"] for _, method, operation in OPERATIONS if method != "head"} <= set(page.ids)
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} <= set(page.ids)
    assert {link for link in page.links if not link.startswith("#")} == {"/api/v1/openapi.json"}
    assert not page.tags & {"script", "img", "link", "iframe", "form", "object"}
    assert not page.attributes & {"style", "src", "onclick"}
    assert "http-equiv" not in page.attributes


@pytest.mark.parametrize(
    ("path", "media"), [("/api/v1/openapi.json", "application/json"), ("/docs", "text/html; charset=utf-8")]
)
def test_description_is_open_cached_and_not_sent_again(with_stores: With, path: str, media: str) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            answer = await api.client.get(path, headers={"Authorization": ""})
            assert (answer.status_code, answer.headers["Content-Type"]) == (200, media)
            assert answer.headers["Cache-Control"] == "public, max-age=300"
            again = await api.client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["ETag"] == answer.headers["ETag"]
            if path == "/docs":
                assert answer.headers["Content-Security-Policy"] == POLICY
                assert "script" not in POLICY
            else:
                assert answer.json() == msgspec.json.decode(msgspec.json.encode(DOCUMENT))

    with_stores(scenario)


def test_a_link_that_is_known_is_not_sent_again(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await api.make("one")
            shown = await api.client.get("/api/v1/links/one")
            headers = {"If-None-Match": f'"0", W/{shown.headers["ETag"]}'}
            again = await api.client.get("/api/v1/links/one", headers=headers)
            assert (again.status_code, again.content) == (304, b"")
            assert "Content-Type" not in again.headers
            await api.client.patch("/api/v1/links/one", json={"title": "new"})
            assert (await api.client.get("/api/v1/links/one", headers=headers)).status_code == 200

    with_stores(scenario)
