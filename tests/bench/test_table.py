"""Policies hold what they may and answer with what was put; the comparison is what it says."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from bench.policies import POLICIES, Fifo, Lru
from bench.table import hit_ratio, main


@pytest.mark.parametrize("name", POLICIES)
def test_policy_answers_with_what_was_put_and_is_bounded(name: str) -> None:
    policy: Any = POLICIES[name](100)
    rng = random.Random(1)
    kept: dict[bytes, bytes] = {}
    for number in range(20_000):
        key = b"%d" % min(rng.randrange(1_000), rng.randrange(1_000))
        entry = policy.get(key)
        if entry is None:
            kept[key] = bytes(20) + b"%d" % number
            policy.put(key, kept[key])
        else:
            assert entry == kept[key]
    assert 90 <= sum(policy.get(b"%d" % number) is not None for number in range(1_000)) <= 100


def test_hits_of_the_second_half_count_without_the_scan() -> None:
    trace = [b"a", b"b"] * 50
    assert hit_ratio(Lru(2), trace, has_scan=False) == 1.0
    assert hit_ratio(Fifo(2), trace, has_scan=True) == 0.0  # each is pushed out before it is asked for again
    assert hit_ratio(Lru(1), [b"a", b"a", b"b", b"a"], has_scan=False) == 0.0


def test_every_policy_has_its_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--requests", "20000", "--links", "5000", "--limit", "500", "--out", str(tmp_path)]
    assert main([*words, "--json"]) == 0
    kept = json.loads(capsys.readouterr().out)
    assert kept == json.loads((tmp_path / "table.json").read_text())
    assert list(kept["rows"]) == list(POLICIES)
    assert all(0 < row["scanned"] < row["plain"] < 1 for row in kept["rows"].values())
