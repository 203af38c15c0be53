"""Scenes as tables of Markdown: what happened how often, how soon it served again, and the account of all clicks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from tests.chaos.stage import Happened, Outcome

FAULTS = ("fault", "times", "again, median ms", "again, max ms", "no redirect for, max ms", "redirects", "unanswered")
ACCOUNTS = ("scene", "requests", "redirects", "unanswered", "503", "counted", "dropped", "lost", "doubled")


def show(outcomes: Sequence[Outcome], *, with_faults: bool = True) -> str:
    """All tables, or only the account."""
    parts = [f"{outcome.name}, seed {outcome.seed}\n\n{_table(FAULTS, _faults(outcome))}" for outcome in outcomes]
    account = _table(ACCOUNTS, (_account(outcome) for outcome in outcomes))
    return "\n\n".join([*parts, account]) if with_faults else account


def _faults(outcome: Outcome) -> Iterable[tuple[object, ...]]:
    """One row for each fault; redirects and unanswered from its begin until what was hit served again."""
    by_name: dict[str, list[Happened]] = {}
    for one in outcome.happened:
        by_name.setdefault(one.fault, []).append(one)
    notes = outcome.notes
    for name, ones in sorted(by_name.items()):
        again_ms = [one.again_ms for one in ones]
        silence_s = max(notes.longest_silence_s(one.begun, one.again) for one in ones)
        redirects = sum(notes.redirects_between(one.begun, one.again) for one in ones)
        unanswered = sum(one.begun <= at <= one.again for one in ones for at in notes.unanswered_at)
        yield (
            name,
            len(ones),
            *(round(ms) for ms in (median(again_ms), max(again_ms), silence_s * 1e3)),
            *(
                redirects,
                unanswered,
            ),
        )


def _account(outcome: Outcome) -> tuple[object, ...]:
    notes = outcome.notes
    sums = (notes.requests, notes.received.total(), notes.unanswered.total(), len(notes.failures))
    return outcome.name, *sums, outcome.counted, outcome.dropped, outcome.lost, outcome.doubled


def _table(head: Sequence[str], rows: Iterable[tuple[object, ...]]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])], *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
