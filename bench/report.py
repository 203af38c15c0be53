"""What measurements say: medians, ratios round by round, Markdown, and which figures are reached. Pure.

In: case -> row -> runs, as kept in JSON. Out: text. A ratio compares two rows of the same round, so that a machine that
is slower for a minute is slower for both; shown are the median of the rounds and, behind it, the least and the most.
May import: cases, load.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from bench.cases import CASES, MIXED, Case
from bench.load import CONNECTIONS, Run
from bench.servers import COMPILED, INTERPRETED

__all__ = ["BUSY_SHARE", "FOREIGN_SHARE", "Rows", "base_of", "case_table", "findings", "goal_lines", "ratios", "report"]

#: Above this share of its CPU the load may be what limits a rate.
BUSY_SHARE = 0.95
#: Above this share, others on the machine have disturbed a run.
FOREIGN_SHARE = 0.05
#: With more links than that, how much memory they take is said.
LINKS_AS_SHIPPED = 100_000
#: From this share on a case counts as answered from memory; the rest are look-ups in the background.
L1_SHARE_ALL = 0.995

Rows = Mapping[str, Sequence[Run]]


def median(runs: Sequence[Run], name: str) -> float:
    """Of one field."""
    values: list[float] = [getattr(run, name) for run in runs]
    return statistics.median(values)


def ratios(by: str, runs: Sequence[Run], base: Sequence[Run]) -> list[float]:
    """How many times as good as `base`, round by round: more answers, or less CPU time or latency for each.

    Args:
        by: "rate", "cpu" or "p99".
    """
    field = {"rate": "rate", "cpu": "cpu_us", "p99": "p99"}[by]
    theirs = {run.number: getattr(run, field) for run in base}
    pairs = [(getattr(run, field), theirs.get(run.number, 0.0)) for run in runs]
    return [mine / other if by == "rate" else other / mine for mine, other in pairs if mine and other]


def base_of(case: Case, row: str, rows: Rows) -> str | None:
    """The row that `row` is compared with; None when it was not measured."""
    base = case.base
    if case.is_own_base:
        base = next(name for name in case.servers if row.startswith(name))
    return base if base in rows else None


def findings(case: Case, rows: Rows) -> list[str]:
    """What makes a comparison worthless: answers that were not the wanted ones, lost ones, clicks not journaled.

    wrk forgets what is under way at its end, so there may be as many clicks more as there are connections.
    """
    found = []
    for row, runs in rows.items():
        for run in runs:
            where = f"{case.name}, {row}, round {run.number}"
            redirects = run.statuses.get(case.status, 0) if case.tool == "generator" else run.answered
            apis = run.statuses.get("200", 0) if row.endswith(MIXED) else 0
            others = run.answered - redirects - apis
            if run.errors or others or "others" in run.statuses:
                found.append(f"{where}: {run.errors} errors, answers {run.statuses}")
            surplus = 0 if run.clicks is None else run.clicks - redirects
            if surplus < 0 or surplus > (CONNECTIONS if case.tool == "wrk" else 0):
                found.append(f"{where}: {run.clicks} clicks in the journal, {redirects} answers")
    return found


def case_table(case: Case, rows: Rows, l1_share: float | None = None) -> str:
    """Markdown of one case; `l1_share` of the look-ups were answered from BoltLink's memory."""
    by = "p99" if case.by == "p99" else "rate"
    of = "itself" if case.is_own_base else case.base
    lines = [
        f"### {case.title}",
        "",
        f"| server | requests/s | x {of} by {by} | CPU µs | x by CPU | server | load | p50 ms | p95 | p99 | p99.9 |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row, runs in rows.items():
        base = base_of(case, row, rows)
        over = [_spread(ratios(kind, runs, rows[base])) if base else "–" for kind in (by, "cpu")]
        load = median(runs, "load_share")
        mark = " (limit)" if by == "rate" and load > BUSY_SHARE else ""
        quantiles = " | ".join(f"{median(runs, name):.2f}" for name in ("p50", "p95", "p99", "p999"))
        lines.append(
            f"| {row} | {median(runs, 'rate'):,.0f} | {over[0]} | {median(runs, 'cpu_us'):.1f} | {over[1]} "
            f"| {median(runs, 'server_share'):.0%} | {load:.0%}{mark} | {quantiles} |"
        )
    notes = _notes(case, rows)
    if case.status == "302" and l1_share is not None and l1_share < L1_SHARE_ALL:
        notes.append(f"of BoltLink's look-ups {l1_share:.1%} were answered from memory")
    return "\n".join([*lines, *[""] * bool(notes), *(f"- {note}" for note in notes)]) + "\n"


def _spread(values: Sequence[float]) -> str:
    """The median and the middle half of the rounds, which one slow round does not widen."""
    if not values:
        return "–"
    low, middle, high = statistics.quantiles([*values, values[0]][: max(2, len(values))], n=4, method="inclusive")
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"


def _notes(case: Case, rows: Rows) -> list[str]:
    notes = findings(case, rows)
    runs = [run for row in rows.values() for run in row]
    disturbed = sum(run.foreign_share > FOREIGN_SHARE for run in runs)
    if disturbed:
        notes.append(f"in {disturbed} of {len(runs)} runs others took more than {FOREIGN_SHARE:.0%} of the CPUs")
    if case.links > LINKS_AS_SHIPPED:
        for row, of_row in rows.items():
            held = [run.anonymous_bytes / 1e6 for run in of_row if run.anonymous_bytes]
            if held:
                notes.append(
                    f"{row} held {held[0]:.0f} MB after its first run, {held[-1]:.0f} after its last (RssAnon)"
                )
    if case.by == "p99":
        late = max(run.late_ms for run in runs)
        notes.append(f"the load itself was late by at most {late:.2f} ms (p99), which is in the figures above")
    return notes


def goal_lines(results: Mapping[str, Rows]) -> list[str]:
    """Rows of the table of figures, for the cases that were measured."""
    lines = []
    for case in CASES:
        rows = results.get(case.name, {})
        for goal in case.goals:
            if goal.server in rows and goal.versus in rows:
                value = statistics.median(ratios(case.by, rows[goal.server], rows[goal.versus]))
                lines.append(
                    _goal_line(
                        case,
                        f"{goal.server} / {goal.versus}",
                        f">= {goal.least:g}x",
                        f"{value:.2f}x",
                        value >= goal.least,
                    )
                )
        for row, runs in rows.items():
            if case.p99_ms is not None and row.startswith((COMPILED, INTERPRETED)):
                value = median(runs, "p99")
                lines.append(
                    _goal_line(case, f"{row}, p99", f"< {case.p99_ms:g} ms", f"{value:.2f} ms", value < case.p99_ms)
                )
    return lines


def _goal_line(case: Case, what: str, wanted: str, value: str, is_reached: bool) -> str:
    return f"| {case.title} | {what} | {wanted} | {value} | {'yes' if is_reached else '**no**'} |"


def report(results: Mapping[str, Rows], heading: str, l1_shares: Mapping[str, float] | None = None) -> str:
    """All cases, in their order, behind the figures to reach."""
    goals = goal_lines(results)
    shares = l1_shares or {}
    parts = [heading, ""]
    if goals:
        parts += ["| case | ratio | to reach | measured | reached |", "|---|---|--:|--:|---|", *goals, ""]
    parts += [case_table(case, results[case.name], shares.get(case.name)) for case in CASES if results.get(case.name)]
    return "\n".join(parts)
