"""Every kind of decision is measured as it is answered."""

from __future__ import annotations

from bench.rules import CASES, measure, table


def test_each_case_is_answered_with_a_redirect_and_has_its_row() -> None:
    rates = measure(0.0)
    assert set(rates) == set(CASES)
    text = table({"heading": "a machine", "hot_path": "compiled", "redirects_per_second": rates})
    assert all(f"| {name} |" in text for name in CASES)
