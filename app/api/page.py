"""The API's description as a page: plain HTML and one style sheet in it, no script, nothing from elsewhere.

In: the OpenAPI document. Out: the page, and the policy under which a browser shows it: nothing but this
very style sheet (by its hash). Pure. May import: problems, schemas.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

from app.api.problems import PROBLEM_MEDIA
from app.api.schemas import METHODS, Json

__all__ = ["POLICY", "make_page"]

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--link:#0b57d0;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--link:#8ab4f8;--bad:#f2b8b5}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem;overflow-wrap:anywhere}
a{color:var(--link)}h1{margin:.5rem 0}h2{margin:3rem 0 0;border-bottom:2px solid var(--line)}
h3{font-size:1.05rem;margin:2.5rem 0 0}h3 a{color:inherit;text-decoration:none}h4{margin:1rem 0 .25rem;font-size:.9rem}
code,pre{font:.88em/1.45 ui-monospace,monospace}
pre{background:var(--soft);border:1px solid var(--line);border-radius:6px;padding:.6rem .8rem;margin:.5rem 0;
white-space:pre-wrap}
nav{columns:18rem;font-size:.9rem}nav h4{margin-top:0}nav ul{list-style:none;margin:0 0 1rem;padding:0}
nav section{break-inside:avoid}nav a{text-decoration:none}
dl{margin:0}dt{margin-top:.35rem}dd{margin:0 0 0 1.2rem}small{opacity:.75}
.method{display:inline-block;min-width:4.2rem;font-weight:700}.bad{color:var(--bad)}
summary{cursor:pointer}details{margin-top:.5rem}
""".strip()
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {}",
    "maxItems": "at most {}",
    "maxProperties": "at most {}",
    "pattern": "matching {}",
}


def make_page(document: Json) -> str:
    """The page of a document."""
    return "".join(_page(document))


def _page(document: Json) -> Iterator[str]:
    info = document["info"]
    yield '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    yield f"<title>{escape(info['title'])}: the API</title><style>{_STYLE}</style></head>\n"
    yield f"<body><h1>{escape(info['title'])}: the API</h1>"
    yield "".join(f"<p>{_prose(part)}</p>" for part in info["description"].split("\n\n"))
    yield '<p>For programs: <a href="/api/v1/openapi.json">openapi.json</a> (OpenAPI 3.1).</p>\n'
    groups = {tag["name"]: list(_operations(document, tag["name"])) for tag in document["tags"]}
    yield from _contents(groups)
    for group, operations in groups.items():
        yield f'<h2 id="{group}">{group.capitalize()}</h2>\n'
        for path, method, operation in operations:
            yield from _operation(document, path, method, operation)
    errors = "".join(_answer(status, told) for status, told in document["components"]["responses"].items())
    yield '<h2 id="errors">Errors</h2><p>Each as a <a href="#type-ProblemDocument">ProblemDocument</a>.</p>'
    yield f"<dl>{errors}</dl>\n"
    yield '<h2 id="types">Types</h2>\n'
    for name, schema in document["components"]["schemas"].items():
        yield f'<section id="type-{name}"><h3><a href="#type-{name}">{name}</a></h3>'
        yield f"<p>{_prose(schema.get('description', ''))}</p>{_fields(schema)}</section>\n"
    yield "</body></html>\n"


def _operations(document: Json, group: str) -> Iterator[tuple[str, str, Json]]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item and group in item[method]["tags"]:
                yield path, method, item[method]


def _contents(groups: dict[str, list[tuple[str, str, Json]]]) -> Iterator[str]:
    yield "<nav>"
    for group, operations in groups.items():
        yield f'<section><h4><a href="#{group}">{group.capitalize()}</a></h4><ul>'
        for _, _, operation in operations:
            yield f'<li><a href="#{operation["operationId"]}">{escape(operation["summary"])}</a></li>'
        yield "</ul></section>"
    yield "</nav>\n"


def _operation(document: Json, path: str, method: str, operation: Json) -> Iterator[str]:
    anchor = operation["operationId"]
    yield f'<section id="{anchor}"><h3><a href="#{anchor}"><code><span class="method">{method.upper()}</span>'
    yield f"{escape(path)}</code></a></h3><p>{_prose(operation['summary'])}."
    yield f" {_prose(operation.get('description', ''))}</p>"
    parameters = [
        *document["paths"][path].get("parameters", []),
        *(_resolve(document, parameter) for parameter in operation.get("parameters", [])),
    ]
    shown = [parameter for parameter in parameters if parameter["name"] not in ("X-Request-Id", "If-None-Match")]
    if shown:
        yield f"<h4>Parameters</h4><dl>{''.join(map(_parameter, shown))}</dl>"
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        yield f"<h4>Body</h4><p>{_type(schema)}</p>"
    yield f"<pre>{escape(_curl(path, method, operation, parameters))}</pre>"
    yield f"<h4>Answers</h4><dl>{''.join(_answers(operation))}</dl></section>\n"


def _parameter(parameter: Json) -> str:
    need = " needed" if parameter["required"] and parameter["in"] != "path" else ""
    where = f"<small>in the {parameter['in']}{need}, {_type(parameter['schema'])}</small>"
    return f"<dt><code>{escape(parameter['name'])}</code> {where}</dt><dd>{_prose(parameter['description'])}</dd>"


def _answers(operation: Json) -> Iterator[str]:
    for status, answer in operation["responses"].items():
        if "$ref" not in answer:
            yield _answer(status, answer)
    common = [status for status, answer in operation["responses"].items() if "$ref" in answer]
    if common:
        yield f'<dt>and <a href="#errors">{", ".join(common)}</a></dt>'


def _answer(status: str, told: Json) -> str:
    kinds = [
        _type(held["schema"]) if media == "application/json" else f"<code>{escape(media)}</code>"
        for media, held in told.get("content", {}).items()
        if media != PROBLEM_MEDIA
    ]
    mark = ' class="bad"' if status >= "4" else ""
    shown = f": {' or '.join(kinds)}" if kinds else ""
    return f"<dt><code{mark}>{status}</code> {_prose(told['description'])}{shown}</dt>"


def _curl(path: str, method: str, operation: Json, parameters: Iterable[Json]) -> str:
    """The request by command, with the examples of the parameters in the path and of the body."""
    for parameter in parameters:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
    words = ["curl", *([f"-X {method.upper()}"] if method != "get" else []), f'"$BOLTLINK_URL{path}"']
    lines = [" ".join(words)]
    if operation.get("security") == [{"cookie": []}]:
        lines += (
            ['-H "Sec-Fetch-Site: same-origin"', '-b "boltlink=TOKEN"'] if method != "get" else ['-b "boltlink=TOKEN"']
        )
    elif operation.get("security") != []:
        lines.append('-H "Authorization: Bearer $BOLTLINK_API_KEY"')
    if "requestBody" in operation:
        lines.append('-H "Content-Type: application/json"')
        lines.append(f"-d '{json.dumps(operation['requestBody']['content']['application/json']['example'])}'")
    return " \\\n  ".join(lines)


def _fields(schema: Json) -> str:
    """The fields of an object."""
    needed = schema.get("required", [])
    rows = []
    for name, field in schema.get("properties", {}).items():
        need = " needed," if name in needed else ""
        text = _prose(_note(field))
        rows.append(f"<dt><code>{escape(name)}</code> <small>{need} {_type(field)}</small></dt><dd>{text}</dd>")
    return f"<dl>{''.join(rows)}</dl>"


def _note(field: Json) -> str:
    notes = [field, *field.get("anyOf", [])]
    return next((str(note["description"]) for note in notes if "description" in note), "")


def _type(schema: Json) -> str:
    """What a value may be, in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#type-{name}">{name}</a>'
    if "enum" in schema:
        return ", ".join(f"<code>{escape(str(word))}</code>" for word in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    kind = schema.get("format") or schema.get("type", "anything")
    if kind == "array":
        kind = f"array of {_type(schema.get('items', {}))}"
    bounds = [
        text.format(f"{value:,}" if isinstance(value, int) else f"<code>{escape(value)}</code>")
        for name, text in _BOUNDS.items()
        if (value := schema.get(name)) is not None
    ]
    return ", ".join([kind, *bounds])


def _resolve(document: Json, shown: Json) -> Json:
    """What a reference stands for."""
    found: Any = document
    if "$ref" not in shown:
        return shown
    for word in shown["$ref"].removeprefix("#/").split("/"):
        found = found[word]
    resolved: Json = found
    return resolved


def _prose(text: str) -> str:
    """Text with `code` in it."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))
