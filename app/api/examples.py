"""Examples of bodies, made of the examples, defaults and bounds of their fields.

In: a JSON schema. Out: a value that it allows. Pure. May import: nothing.
"""

from __future__ import annotations

from typing import Any

__all__ = ["example_of"]

Json = dict[str, Any]
_BY_FORMAT = {"date-time": "2026-11-25T20:00:00Z", "date": "2026-11-25", "uri": "https://example.com/"}
_BY_TYPE: Json = {"string": "", "integer": 0, "number": 0, "boolean": False, "null": None, "array": [], "object": {}}


def example_of(schema: Json, components: Json, *, required_only: bool = False) -> Any:
    """A value that the schema allows; of objects all fields, or `required_only`."""
    if "$ref" in schema:
        return example_of(components[schema["$ref"].rpartition("/")[2]], components, required_only=required_only)
    if "examples" in schema:
        return schema["examples"][0]
    for name in ("default", "const"):
        if name in schema:
            return schema[name]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0], components, required_only=required_only)
    return _by_type(schema, components, required_only)


def _by_type(schema: Json, components: Json, required_only: bool) -> Any:
    kind = schema.get("type")
    if kind == "object" and "properties" in schema:
        names = schema["required"] if required_only else schema["properties"]
        return {name: example_of(schema["properties"][name], components, required_only=required_only) for name in names}
    if kind == "array" and "items" in schema:
        return [example_of(schema["items"], components, required_only=required_only)]
    if kind == "integer":
        return schema.get("minimum", 0)
    return _BY_FORMAT.get(schema.get("format", "")) or _BY_TYPE.get(kind or "")
