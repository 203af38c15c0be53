"""Every method of every route is declared."""

from __future__ import annotations

import pytest
from tornado import web

from app.api import ROUTES
from app.api.operation import operation_of

METHODS = ("get", "post", "put", "patch", "delete")


@pytest.mark.parametrize(("path", "handler"), ROUTES, ids=[path for path, _ in ROUTES])
def test_every_method_is_declared_and_says_what_it_does(path: str, handler: type[web.RequestHandler]) -> None:
    own = [method for method in METHODS if getattr(handler, method) is not getattr(web.RequestHandler, method)]
    assert own
    for method in own:
        assert operation_of(handler, method.upper()) is not None, f"{method} {path}"
        assert (getattr(handler, method).__doc__ or "").split("\n")[0].endswith("."), f"{method} {path}"


def test_head_is_declared_as_get_and_what_is_missing_not_at_all() -> None:
    handler = dict(ROUTES)["/api/v1/links"]
    assert operation_of(handler, "HEAD") is operation_of(handler, "GET") is not None
    assert operation_of(handler, "TRACE") is None
