"""The API's description in OpenAPI 3.1, made of the routing table and what stands beside the handlers.

In: routes. Out: a document, as plain data. Nothing of it is written by hand twice: paths and methods are those of the
table, summaries the methods' docstrings, parameters and bodies the declared types, errors what `Handler` answers.

    operation         own answers and refusals, then those that follow: a key is asked for (401, 429), there is a body
                      (400, 413, 415, 422), there is a query (422), If-Match is honoured (400, 412)
    HEAD              as its GET, without bodies
    examples          made of those of the fields (`app.api.examples`)

Pure. May import: headers, operation, parameters, problems, schemas.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from app.api.headers import COOKIE, HEADERS, IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH, REQUEST_ID, header, header_ref
from app.api.operation import Answer, Operation, operation_of
from app.api.parameters import PATH_PARAMETERS
from app.api.problems import PROBLEM_MEDIA, ProblemDocument, phrase_of
from app.api.schemas import METHODS, Json, Routes, Schemas

__all__ = ["make_document"]

OPEN = "open"
ABOUT = """Links are made, changed and counted here; `GET /{slug}` itself follows one.

Every call of `/api/v1` but for this description and signing in needs a key, `Authorization: Bearer KEY`, or the cookie
of a session. Errors are `application/problem+json` (RFC 9457) and name every wrong field at once. Unknown fields and
parameters are refused. Each answer carries `X-Request-Id`."""
#: What follows from a declaration: status -> when.
REFUSALS = {
    400: "The request cannot be understood: the body is no JSON object, or a header field is wrong.",
    401: "No key, or one that is unknown, revoked or expired.",
    403: "The key lacks the right, or a page of an origin that may not call.",
    412: "It is at another version than `If-Match` says.",
    413: "The body is too long.",
    415: "The body is declared as something else than JSON.",
    422: "Fields or parameters that cannot be used, each with its reason.",
    429: "Too much of this key, or from one address too much without a key or with keys that are not valid.",
    500: "Something failed here; the log has it under the request's id.",
    503: "A store does not answer right now.",
}
_FIELDS_OF = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}


def make_document(routes: Routes) -> Json:
    """The document of all routes."""
    schemas = Schemas(routes)
    return {
        "openapi": "3.1.0",
        "info": {"title": "BoltLink", "version": "1", "description": ABOUT},
        "servers": [{"url": "/"}],
        "security": [{"key": []}, {"cookie": []}],
        "tags": [{"name": name} for name in sorted({_group(path) for path, _ in routes}, key=_rank)],
        "paths": {path: _path_item(path, handler, schemas) for path, handler in routes},
        "components": {
            "schemas": schemas.components,
            "parameters": {told["name"]: told for told in (IF_MATCH, IF_NONE_MATCH, IDEMPOTENCY_KEY, REQUEST_ID)},
            "headers": {name: header(name) for name in HEADERS},
            "responses": {str(status): _problem(status, says, schemas) for status, says in REFUSALS.items()},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key: `blk_…`."},
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": COOKIE,
                    "description": "A session of somebody who signed in. Changes also need an `Origin` of this "
                    "instance or `Sec-Fetch-Site: same-origin`, as browsers send them.",
                },
            },
        },
    }


def _path_item(path: str, handler: Any, schemas: Schemas) -> Json:
    item: Json = {}
    names = re.findall(r"\{([a-z_]+)\}", path)
    if names:
        item["parameters"] = [_path_parameter(name) for name in names]
    for method in METHODS:
        declared = operation_of(handler, method.upper())
        if declared is not None:
            item[method] = _operation(path, method, handler, declared, schemas)
    if "get" in item:
        item["head"] = _head_of(item["get"])
    return item


def _operation(path: str, method: str, handler: Any, declared: Operation, schemas: Schemas) -> Json:
    summary, _, text = (getattr(handler, method).__doc__ or "").partition("\n")
    words = re.findall(r"[A-Za-z0-9]+", path.removeprefix("/api/v1")) or ["root"]
    found: Json = {
        "operationId": "_".join([method, *words]),
        "tags": [_group(path)],
        "summary": summary.strip().rstrip("."),
        "description": " ".join([*text.split(), *_costs(handler)]),
        "parameters": [*_query_parameters(declared, schemas), *_header_parameters(method, declared)],
    }
    if handler.is_public:
        found["security"] = [{"cookie": []}] if declared.needs_session else []
    if declared.body is not None:
        schema = schemas.of(declared.body)
        example = declared.example or schemas.example(declared.body, required_only=True)
        found["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": example}},
        }
    found["responses"] = dict(sorted(_responses(method, handler, declared, schemas).items()))
    return {name: value for name, value in found.items() if value not in ("", []) or name == "security"}


def _responses(method: str, handler: Any, declared: Operation, schemas: Schemas) -> dict[str, Json]:
    has_rate = handler.is_metered
    found = {
        str(status): _answer(status, answer, method, has_rate, schemas) for status, answer in declared.answers.items()
    }
    if method == "get" and 200 in declared.answers and "text/event-stream" not in declared.answers[200].media:
        fields = {name: header_ref(name) for name in ("ETag", "X-Request-Id")}
        found["304"] = {"description": "As `If-None-Match` says.", "headers": fields}
    for status in _following(handler, declared):
        found.setdefault(str(status), {"$ref": f"#/components/responses/{status}"})
    return found | {str(status): _problem(status, says, schemas) for status, says in declared.refuses.items()}


def _following(handler: Any, declared: Operation) -> Iterable[int]:
    """Statuses of the errors that follow from a declaration."""
    yield from (400, 500)
    if not handler.is_public:
        yield from (401, 403, 422, 429, 503)
    elif declared.query.__struct_fields__:
        yield 422
    if handler.is_public and handler.is_metered:
        yield 429
    if declared.body is not None:
        yield from (413, 415, 422)
    if declared.is_conditional:
        yield 412


def _answer(status: int, answer: Answer, method: str, has_rate: bool, schemas: Schemas) -> Json:
    names = ["X-Request-Id", *(["RateLimit", "RateLimit-Policy"] if has_rate else []), *answer.headers]
    if method == "get" and status == HTTPStatus.OK and "text/event-stream" not in answer.media:
        names.append("ETag")
    found: Json = {
        "description": answer.says or phrase_of(status),
        "headers": {name: header_ref(name) for name in sorted(set(names))},
    }
    content: Json = {}
    if answer.kind is not None:
        example = schemas.example(answer.kind)
        content["application/json"] = {"schema": schemas.of(answer.kind), "example": example}
    content |= {media: {"schema": {"type": "string"}} for media in answer.media}
    return found | ({"content": content} if content else {})


def _problem(status: int, says: str, schemas: Schemas) -> Json:
    phrase = phrase_of(status)
    example = schemas.example(ProblemDocument, required_only=status != HTTPStatus.UNPROCESSABLE_ENTITY)
    names = ["X-Request-Id", *_FIELDS_OF.get(status, ())]
    return {
        "description": says,
        "headers": {name: header_ref(name) for name in names},
        "content": {
            PROBLEM_MEDIA: {
                "schema": schemas.of(ProblemDocument),
                "example": {**example, "title": phrase, "status": status, "detail": says},
            }
        },
    }


def _head_of(get: Json) -> Json:
    """GET's description without bodies."""
    responses = {}
    for status, shown in get["responses"].items():
        response = {"description": REFUSALS[int(status)]} if "$ref" in shown else shown
        responses[status] = {name: value for name, value in response.items() if name != "content"}
    found = {**get, "operationId": get["operationId"].replace("get_", "head_", 1), "responses": responses}
    found.pop("description", None)
    return found | {"summary": "As GET, without the body"}


def _query_parameters(declared: Operation, schemas: Schemas) -> Iterable[Json]:
    schema = schemas.of_query(declared.query)
    for name, field in schema["properties"].items():
        told = _without_null(field)
        found = {"name": name, "in": "query", "required": name in schema["required"]}
        if "description" in told:
            found["description"] = told.pop("description")
        if "examples" in told:
            found["example"] = told.pop("examples")[0]
        yield found | {"schema": told}


def _without_null(schema: Json) -> Json:
    """A schema as a query can hold it: there is no null there, only nothing."""
    choices = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
    kept = {name: value for name, value in schema.items() if (name, value) != ("default", None)}
    if len(choices) == 1:
        del kept["anyOf"]
        kept |= choices[0]
    return kept


def _rank(group: str) -> tuple[bool, bool, str]:
    """Links come first, what is open to everyone last."""
    return group == OPEN, group != "links", group


def _path_parameter(name: str) -> Json:
    told = PATH_PARAMETERS[name]
    schema = {"type": "string", "pattern": f"^{told.pattern}$"}
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": told.says,
        "schema": schema,
        "example": told.example,
    }


def _costs(handler: Any) -> list[str]:
    return [] if handler.cost == 1 or handler.is_public else [f"Costs {handler.cost} of what a key may do."]


def _group(path: str) -> str:
    """What a route belongs to: the first word behind /api/v1, or OPEN."""
    word = re.match(r"/api/v1/([a-z]+)(/|$)", path)
    return word[1] if word else OPEN


def _header_parameters(method: str, declared: Operation) -> Iterable[Json]:
    told = [
        *([IF_MATCH] if declared.is_conditional else []),
        *([IDEMPOTENCY_KEY] if declared.is_repeatable else []),
        *([IF_NONE_MATCH] if method == "get" else []),
        REQUEST_ID,
    ]
    return [{"$ref": f"#/components/parameters/{parameter['name']}"} for parameter in told]
