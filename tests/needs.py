"""What a test needs of its machine. A user who lacks it is told so; CI installs everything, so there the test fails.

In: a program, or whether something is there. Out: a mark for pytest, or a skip in the middle of a test.
"""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

__all__ = ["find", "needs", "needs_that", "skip"]

IS_CI = "CI" in os.environ


def find(program: str) -> str | None:
    """Where a program is, also one for administrators."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def needs(program: str) -> pytest.MarkDecorator:
    """A test that runs a program."""
    return needs_that(find(program) is not None, f"{program} is not installed")


def needs_that(is_there: bool, reason: str) -> pytest.MarkDecorator:
    """A test that runs where something is so."""
    return pytest.mark.skipif(not is_there and not IS_CI, reason=reason)


def skip(reason: str) -> NoReturn:
    """Ends a test that finds out what it lacks."""
    if IS_CI:
        pytest.fail(reason)
    pytest.skip(reason)
