"""JSON schemas of all types that routes declare, made by msgspec.

In: routes. Out: schemas, by reference to the named ones, and examples of them. Pure. May import: operation, problems.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from app.api.examples import example_of
from app.api.operation import Operation, operation_of
from app.api.problems import ProblemDocument

__all__ = ["METHODS", "Json", "Routes", "Schemas"]

Json = dict[str, Any]
Routes = Sequence[tuple[str, Any]]
METHODS = ("get", "post", "put", "patch", "delete")
SCHEMAS = "#/components/schemas/{name}"


class Schemas:
    """Schemas of all types that routes declare. `components` holds the named ones, as the document shows them."""

    def __init__(self, routes: Routes) -> None:
        kinds = list(_kinds(routes))
        found: Iterable[Json]
        self.components: dict[str, Json]
        found, self.components = msgspec.json.schema_components(kinds, ref_template=SCHEMAS)
        self._of: dict[Any, Json] = dict(zip(kinds, found, strict=True))
        #: Queries are shown as parameters.
        self._queries = {kind: self.components.pop(kind.__name__) for kind in _queries(routes)}

    def of(self, kind: Any) -> Json:
        """A declared type's schema, by reference."""
        return self._of[kind]

    def of_query(self, kind: type[msgspec.Struct]) -> Json:
        """The schema of a query."""
        return self._queries[kind]

    def example(self, kind: Any, *, required_only: bool = False) -> Any:
        """A value of a declared type."""
        return example_of(self._of[kind], self.components, required_only=required_only)


def _declared(routes: Routes) -> Iterable[Operation]:
    for _, handler in routes:
        yield from filter(None, (operation_of(handler, method.upper()) for method in METHODS))


def _queries(routes: Routes) -> set[type[msgspec.Struct]]:
    return {declared.query for declared in _declared(routes)}


def _kinds(routes: Routes) -> Iterable[Any]:
    """Every type that the document needs a schema of, once."""
    found: dict[Any, None] = {ProblemDocument: None}
    for declared in _declared(routes):
        kinds = [declared.query, declared.body, *(answer.kind for answer in declared.answers.values())]
        found |= dict.fromkeys(kind for kind in kinds if kind is not None)
    return found
