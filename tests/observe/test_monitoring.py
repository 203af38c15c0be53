"""Rules, alerts and dashboard: valid, each alert shown to fire, each with a paragraph on what to do."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "etc" / "prometheus"
RULES = PROMETHEUS / "boltlink.rules.yml"
ALERT = re.compile(r"- alert: (\w+)\n")


def run(program: str, *arguments: str) -> str:
    """A checker's output; skipped where a user has no such program, never in CI."""
    if shutil.which(program) is None and "CI" not in os.environ:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def alerts() -> list[str]:
    return ALERT.findall(RULES.read_text())


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
    text = RULES.read_text() + (ROOT / "etc" / "grafana" / "dashboards" / "boltlink.json").read_text()
    for metric in set(re.findall(r"\bboltlink_\w+", text)):
        name = re.sub(r"_(bucket|sum|count)$", "", metric)
        assert f"`{name}" in documented, name


def test_panels_do_not_overlap_and_fill_their_rows() -> None:
    panels = json.loads((ROOT / "etc" / "grafana" / "dashboards" / "boltlink.json").read_text())["panels"]
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        own = {(place["x"] + i, place["y"] + j) for i in range(place["w"]) for j in range(place["h"])}
        assert not own & cells, panel["title"]
        cells |= own
    assert len(cells) == 24 * (max(y for _, y in cells) + 1)
    assert len({panel["id"] for panel in panels}) == len(panels)
