"""A share of `make fuzz` in every run of the tests: other streams each time, the seed in the failure."""

from __future__ import annotations

import os
import secrets

from tests.front.cases import cases, read_cases, write_case
from tests.front.fuzzing import fuzz

SECONDS = float(os.environ.get("FUZZ_SECONDS", "20"))


def test_mutated_streams_are_answered_as_h11_says() -> None:
    report = fuzz(secrets.randbelow(2**31), inputs=1_000_000, seconds=SECONDS)
    assert report.inputs > 0
    assert 0 < report.fast < report.answered < report.inputs


def test_a_find_is_written_as_the_corpus_is_read() -> None:
    for case in cases():
        shown = write_case(case.name, case.raw, case.verdict)
        assert read_cases(shown, case.theme) == [case]
