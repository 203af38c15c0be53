"""What a soak found, in words: faults, and a table.

In: what `bench.soak` keeps. Out: text. May import: visitors.
"""

from __future__ import annotations

from typing import Any

from bench.soak.visitors import UNAVAILABLE

__all__ = ["faults_of", "table"]

UNAVAILABLE_SHARE = 0.001  # of answers may say 503: what memory did not know, when a store took too long


def faults_of(found: dict[str, Any]) -> list[str]:
    """What must not be, in words."""
    faults = [f"{name} grows" for name, row in found["growths"].items() if row["grows"]]
    if found["counted"] != found["redirects"]:
        faults.append(f"{found['redirects']} redirects were received, {found['counted']} are counted")
    if found["wrong"]:
        faults.append(f"{found['wrong']} requests failed: {'; '.join(sorted(set(found['wrong_first'])))}")
    if found["calls_failed"]:
        faults.append(f"{len(found['calls_failed'])} calls failed: {found['calls_failed'][0]}")
    unavailable, answers = found["statuses"].get(UNAVAILABLE, 0), sum(found["statuses"].values())
    if unavailable > UNAVAILABLE_SHARE * answers:
        faults.append(f"{unavailable} of {answers} answers were 503")
    last = {row["name"]: row["restarts"] for row in found["samples"]}
    allowed = len(found["reloads_s"])
    faults += [f"{name} was restarted {count} times" for name, count in last.items() if count > allowed]
    return faults


def table(found: dict[str, Any]) -> str:
    """Markdown."""

    def times(row: dict[str, float]) -> str:
        return ", ".join(f"{name} {value:.1f}" for name, value in row.items())

    lines = [
        found["machine"],
        "",
        f"- {found['minutes']:g} minutes, {len(found['reloads_s'])} rolling reloads",
        f"- {found['redirects']:,} redirects received, {found['counted']:,} counted; {found['wrong']} requests failed, "
        f"{found['statuses'].get(UNAVAILABLE, 0)} answered by 503",
        f"- answers to visitors in ms: {times(found['quantiles_ms'])}",
        f"- {sum(found['calls'].values()):,} calls of the API, {len(found['calls_failed'])} failed; in ms: "
        + times(found["calls_ms"]),
        "",
        "| program | memory MB, second quarter | last quarter | descriptors | last quarter | |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for name, row in found["growths"].items():
        cells = [name, f"{row['memory_before'] / 1e6:.1f}", f"{row['memory_after'] / 1e6:.1f}"]
        cells += [f"{row['descriptors_before']:.0f}", f"{row['descriptors_after']:.0f}"]
        lines.append(f"| {' | '.join(cells)} | {'**grows**' if row['grows'] else ''} |")
    lines += ["", *(f"FAULT: {fault}" for fault in found["faults"])]
    return "\n".join(lines)
