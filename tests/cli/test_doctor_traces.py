"""What doctor says of traces."""

from __future__ import annotations

import subprocess
import sys

from app.cli.doctor.traces import about_traces
from app.settings import Settings
from tests.observe.receiver import receiving
from tests.system.conftest import free_ports


def states(**environ: str) -> list[tuple[str, str]]:
    return [(finding.state.value, finding.found) for finding in about_traces(Settings.from_environ(environ))]


def test_without_a_collector_all_is_well() -> None:
    assert states() == [("ok", "none are made")]


def test_a_collector_that_is_there_is_well_and_one_that_is_not_is_named() -> None:
    with receiving() as receiver:
        ((state, _),) = states(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
        assert state == "ok"
    (port,) = free_ports(1)
    ((state, found),) = states(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"http://127.0.0.1:{port}/mine")
    assert state == "warn"
    assert str(port) in found


def test_a_missing_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from app.cli.doctor.traces import about_traces\n"
        "from app.settings import Settings\n"
        "print(*about_traces(Settings.from_environ({'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://127.0.0.1:1'})))\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "boltlink[tracing]" in said
    assert "WARN" in said
