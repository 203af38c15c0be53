"""Rules, alerts and dashboard: valid, each alert shown to fire, each with a paragraph on what to do."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from tests.needs import find, skip

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "etc" / "prometheus"
RULES = PROMETHEUS / "boltlink.rules.yml"
DASHBOARD = ROOT / "etc" / "grafana" / "dashboards" / "boltlink.json"
ALERT = re.compile(r"- alert: (\w+)\n")


def run(program: str, *arguments: str) -> str:
    """A checker's output; skipped where a user has no such program, never in CI."""
    if find(program) is None:
        skip(f"{program} is not installed")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def alerts() -> list[str]:
    return ALERT.findall(RULES.read_text())


def panels() -> list[dict[str, Any]]:
    """Of the dashboard, rows among them."""
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def series(expression: str) -> set[str]:
    """Metrics and recorded rules that an expression names, the latter without the window."""
    return set(re.findall(r"\bboltlink_\w+|\bboltlink:\w+:|\bup(?=\{)|\bprobe_\w+", expression))


def test_rules_and_configurations_are_valid() -> None:
    assert "SUCCESS" in run("promtool", "check", "config", str(PROMETHEUS / "prometheus.yml"))
    assert "SUCCESS" in run("promtool", "check", "rules", str(RULES))
    assert "SUCCESS" in run("amtool", "check-config", str(ROOT / "etc" / "alertmanager" / "alertmanager.yml"))


def test_what_others_read_is_in_no_folder_of_ours() -> None:
    """/etc/boltlink and the state folder are closed to all but BoltLink's user."""
    files = [*(ROOT / "etc" / "alertmanager").rglob("*.yml"), *(ROOT / "etc" / "grafana").rglob("*.yml")]
    assert len(files) == 3
    assert not [file for file in files if re.search(r": +(/etc|/var/lib)/boltlink", file.read_text())]


def test_each_alert_is_shown_to_fire_and_to_be_quiet() -> None:
    run("promtool", "test", "rules", str(PROMETHEUS / "boltlink.rules.test.yml"))
    tests = (PROMETHEUS / "boltlink.rules.test.yml").read_text()
    assert set(re.findall(r"exp_labels", tests))
    assert set(re.findall(r"  - name: (\w+)\n", tests)) == set(alerts())


def test_each_alert_has_its_paragraph_and_leads_to_it() -> None:
    headings = set(re.findall(r"^### (BoltLink\w+)$", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE))
    assert headings == set(alerts())
    assert len(alerts()) == len(headings)
    leads = re.findall(r'runbook: "docs/operations\.md#(\w+)"', RULES.read_text())
    assert leads == [name.lower() for name in alerts()]


def test_alertmanager_knows_the_alerts_that_it_names_and_their_severities() -> None:
    named = set(re.findall(r"BoltLink\w+", (ROOT / "etc" / "alertmanager" / "alertmanager.yml").read_text()))
    assert named <= set(alerts())
    assert set(re.findall(r"severity: (\w+)", RULES.read_text())) == {"page", "ticket"}


def test_every_metric_that_rules_and_panels_name_is_documented() -> None:
    documented = (ROOT / "docs" / "operations.md").read_text()
    text = RULES.read_text() + DASHBOARD.read_text()
    for metric in set(re.findall(r"\bboltlink_\w+", text)):
        name = re.sub(r"_(bucket|sum|count)$", "", metric)
        assert f"`{name}" in documented, name


def test_panels_do_not_overlap_and_fill_their_rows() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        own = {(place["x"] + i, place["y"] + j) for i in range(place["w"]) for j in range(place["h"])}
        assert not own & cells, panel["title"]
        cells |= own
    assert len(cells) == 24 * (max(y for _, y in cells) + 1)
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_each_alert_is_named_by_a_panel_that_shows_what_it_judges() -> None:
    rules = dict(re.findall(r"- alert: (\w+)\n\s+expr: (.*?)\n\s+(?:for|labels):", RULES.read_text(), re.DOTALL))
    assert set(rules) == set(alerts())
    for alert, rule in rules.items():
        own = [panel for panel in panels() if re.search(rf"\b{alert}\b", panel.get("description", ""))]
        assert own, alert
        assert any(series(rule) & series(target["expr"]) for panel in own for target in panel["targets"]), alert


def test_a_dashed_line_is_where_its_alert_begins() -> None:
    rules = RULES.read_text()
    lines = [panel for panel in panels() if "Dashed: " in panel.get("description", "")]
    for panel in lines:
        (alert,) = re.findall(r"Dashed: (\w+)", panel["description"])
        (limit,) = re.findall(rf"- alert: {alert}\n\s+expr: [^>]* > (\S+)", rules)
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]["value"] == float(limit), alert
    drawn = [
        panel
        for panel in panels()
        if "thresholdsStyle" in panel.get("fieldConfig", {}).get("defaults", {}).get("custom", {})
    ]
    assert drawn == lines


def test_no_tile_takes_colours_from_grafana() -> None:
    """Where nothing is said, it paints everything above 80 red."""
    tiles = [panel["fieldConfig"]["defaults"] for panel in panels() if panel["type"] == "stat"]
    assert tiles
    assert all("thresholds" in tile or tile["color"]["mode"] == "fixed" for tile in tiles)
