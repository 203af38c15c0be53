"""Starts a program of the tree sooner: `python -m app.launch app.main`.

A killed program is away until its modules are loaded, so that most of this time is theirs. While they are loaded

    nothing looks for cycles   a module makes many objects and next to no garbage
    HIDDEN are not there       libraries load them because they are installed, and none of our programs needs that

`run_program` ends this by `settle` before its program begins. What it is worth: docs/performance.md#restart.
In: a module's name, the first argument. Out: that module, run as the program. May import: the standard library.
"""

from __future__ import annotations

import gc
import runpy
import sys
from typing import Any

__all__ = ["launch", "settle"]

#: rich draws tracebacks for structlog's console; OpenTelemetry's metrics count redis-py's calls; PyOpenSSL, of which
#: PyMongo's asynchronous half makes no use, begins with all of cryptography; ua-parser could read its table as YAML.
HIDDEN = ("opentelemetry", "rich", "pymongo.pyopenssl_context", "yaml")
_modules: dict[str, Any] = sys.modules


def launch(module: str) -> None:
    """Runs `module` as a program; returns or exits as it does."""
    gc.disable()
    # None: an import of it fails as if it were not installed (Python's reference, 5.3.1, the module cache).
    _modules.update(dict.fromkeys(HIDDEN))
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def settle() -> None:
    """All modules are loaded: what they made is not looked through any more, and everything is there again."""
    for name in HIDDEN:
        if _modules.get(name, sys) is None:
            del _modules[name]
    gc.freeze()
    gc.enable()


if __name__ == "__main__":
    launch(sys.argv.pop(1))
