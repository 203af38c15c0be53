"""A real Prometheus that scrapes the real tree: every panel has data, and alerts fire when their causes are made."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.settings import Settings
from app.tree import Tree as Processes
from tests import fetch
from tests.conftest import wait_for
from tests.needs import needs
from tests.system.conftest import ROOT, Tree, free_ports, make_tree

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(300),
    needs("prometheus"),
]

FIRING_S = 60
TARGET = "https://www.rfc-editor.org/rfc/rfc9110.html"


class Prometheus:
    """One that scrapes a tree every second, with our rules, whose alerts do not wait."""

    def __init__(self, tree: Tree, folder: Path) -> None:
        rules = (ROOT / "etc" / "prometheus" / "boltlink.rules.yml").read_text()
        (folder / "boltlink.rules.yml").write_text(re.sub(r"for: \w+", "for: 2s", rules))
        config = (ROOT / "etc" / "prometheus" / "prometheus.yml").read_text()
        config = config.replace("15s", "1s").replace("127.0.0.1:8001", f"127.0.0.1:{tree.metrics_port}")
        (folder / "prometheus.yml").write_text(config)
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}/api/v1"
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=error",
            ]
        )
        wait_for(self._is_up)

    def _is_up(self) -> bool:
        with suppress(httpx.HTTPError):
            return fetch.get(f"{self.url}/status/buildinfo").is_success
        return False

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The vector that a query gives now."""
        answer = fetch.get(f"{self.url}/query", params={"query": query}).json()
        assert answer["status"] == "success", (query, answer)
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def firing(self) -> set[str]:
        """Names of the alerts that fire."""
        return {row["metric"]["alertname"] for row in self.ask('ALERTS{alertstate="firing"}')}

    def wait_until_firing(self, *names: str) -> None:
        """Waits until all these alerts fire; else says which do not."""
        deadline = time.monotonic() + FIRING_S
        while missing := set(names) - self.firing():
            assert time.monotonic() < deadline, missing
            time.sleep(0.2)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    """A tree that runs, with backups."""
    for tree in make_tree(BOLTLINK_BACKUP_DIR=str(tmp_path_factory.mktemp("backups"))):
        tree.up()
        yield tree


@pytest.fixture
def prometheus(running: Tree, tmp_path: Path) -> Iterator[Prometheus]:
    prometheus = Prometheus(running, tmp_path)
    try:
        yield prometheus
    finally:
        prometheus.stop()


def queries() -> list[str]:
    """Of every panel, for all nodes."""
    panels = json.loads((ROOT / "etc" / "grafana" / "dashboards" / "boltlink.json").read_text())["panels"]
    found = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    return [query.replace("$instance", ".*").replace("$__rate_interval", "1m") for query in found]


def alert_query() -> str:
    """Of the panel that lists the alerts that fire."""
    (query,) = (query for query in queries() if "ALERTS" in query)
    return query


def test_every_panel_has_data_and_a_healthy_tree_has_no_alert(running: Tree, prometheus: Prometheus) -> None:
    slug = running.shorten(TARGET)
    wanted = {query for query in queries() if query != alert_query() and "probe_" not in query}
    assert len(wanted) > 30
    deadline = time.monotonic() + 60
    while wanted and time.monotonic() < deadline:
        running.shorten(TARGET)
        for _ in range(100):
            assert running.location(slug) == TARGET
        assert running.location("unknown") is None
        wanted = {query for query in wanted if not _has_data(prometheus, query)}
    assert not wanted
    wait_for(lambda: not prometheus.firing())
    assert not prometheus.ask(alert_query())


def test_alerts_fire_when_their_causes_are_made(running: Tree, prometheus: Prometheus) -> None:
    wait_for(lambda: prometheus.ask("boltlink_announcer_active == 1") and not prometheus.firing())

    pids = running.pids()
    for name in ("redis", "mongod"):
        os.kill(pids[name], signal.SIGSTOP)
    try:
        wanted = {"BoltLinkStoreDown", "BoltLinkErrorBudgetBurnsFast"}
        wait_for(lambda: running.location("nobody-knows") or wanted <= prometheus.firing())
        assert wanted <= {row["metric"]["alertname"] for row in prometheus.ask(alert_query())}
    finally:
        for name in ("redis", "mongod"):
            os.kill(pids[name], signal.SIGCONT)
    wait_for(lambda: "BoltLinkStoreDown" not in prometheus.firing())

    started = ""
    for _ in range(5):
        started = wait_for(partial(_start_time_other_than, prometheus, started, "rollup"))
        os.kill(running.pids()["rollup"], signal.SIGKILL)
    prometheus.wait_until_firing("BoltLinkCrashLoop")

    processes = Processes(Settings.from_environ(running.environ))
    processes.ask("stopProcess", "announcer")
    prometheus.wait_until_firing("BoltLinkNoAnnouncer", "BoltLinkProcessMissing")
    processes.ask("startProcess", "announcer")
    wait_for(lambda: "BoltLinkNoAnnouncer" not in prometheus.firing())

    running.down()
    prometheus.wait_until_firing("BoltLinkDown")
    running.up()
    wait_for(lambda: "BoltLinkDown" not in prometheus.firing())


def _has_data(prometheus: Prometheus, query: str) -> bool:
    rows = prometheus.ask(query)
    return any(row["value"][1] != "NaN" for row in rows)


def _start_time_other_than(prometheus: Prometheus, known: str, program: str) -> str:
    """When a program was started, as soon as that is not `known` any more; else nothing."""
    rows = prometheus.ask(f'boltlink_process_start_time_seconds{{program="{program}"}}')
    return "".join({row["value"][1] for row in rows} - {known})
