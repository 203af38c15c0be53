"""The real tree with a collector: what each program tells, nothing secret in it, and the access log beside it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

import pytest

from tests import fetch
from tests.conftest import wait_for
from tests.observe.receiver import Receiver, receiving
from tests.system.conftest import Tree, make_tree

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

TARGET = "https://www.rfc-editor.org/rfc/rfc9110.html"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
FIELD = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
SECRET = "hunter2-hunter2-hunter2"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def traced(receiver: Receiver) -> Iterator[Tree]:
    for tree in make_tree(
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_BSP_SCHEDULE_DELAY="200",
        BOLTLINK_ACCESS_LOG_SAMPLE="1",
        BOLTLINK_WEB_PROCESSES="2",
    ):
        tree.environ["BOLTLINK_BACKUP_DIR"] = str(tree.state.parent / "backups")
        tree.up()
        yield tree


def test_every_program_tells_its_work_and_nothing_that_is_secret(traced: Tree, receiver: Receiver) -> None:
    headers = {"Authorization": f"Bearer {traced.key}", "X-Request-Id": "the-request", **FIELD}
    link = {"target": f"{TARGET}?token={SECRET}", "slug": "spring", "title": SECRET, "password": SECRET}
    plain = {"target": TARGET, "slug": "plain"}
    for body in (link, plain):
        assert fetch.post(f"{traced.url}/api/v1/links", json=body, headers=headers).status_code == 201
    posted = wait_for(lambda: receiver.named("POST links"))[0]
    assert (posted.trace_id, posted.parent_id) == (TRACE, PARENT)
    assert posted.attributes["boltlink.request_id"] == "the-request"
    assert posted.attributes["http.response.status_code"] == 201
    asked = {span.name for span in receiver.parts_of(posted)}
    assert {"mongodb insert", "mongodb commitTransaction", "redis announce"} <= asked

    for name in ("web_0", "web_1"):  # the one that made the link may know it
        transport = fetch.HTTPTransport(uds=str(traced.state / "run" / f"{name}.sock"))
        with fetch.Client(transport=transport) as client:
            for slug in ("plain", "spring", "none"):
                answer = client.get(f"http://127.0.0.1:{traced.port}/{slug}?token={SECRET}", headers=FIELD)
                assert answer.status_code == {"plain": 302, "spring": 200, "none": 404}[slug]
    looked = wait_for(lambda: [span for span in receiver.named("GET /{slug}") if receiver.parts_of(span)])
    assert {span.trace_id for span in looked} == {TRACE}
    assert {part.name for span in looked for part in receiver.parts_of(span)} <= {"redis look-up", "mongodb look-up"}
    assert {span.attributes["http.response.status_code"] for span in looked} <= {302, 200, 404}

    names = ("aggregate", "announce", "rollup sums", "backup")
    for name in names:
        wait_for(lambda name=name: any(map(receiver.parts_of, receiver.named(name))))  # type: ignore[misc]
    programs = {"web_0", "web_1", "aggregator", "announcer", "rollup", "backup"}
    wait_for(lambda: programs <= {span.program for span in receiver.spans})
    text = b"".join(receiver.raw)
    for secret in (SECRET, traced.key, "127.0.0.1", "python-httpx", "rfc9110"):
        assert secret.encode() not in text, secret
    sent = re.compile(r"^boltlink_spans_sent_total (\S+)", re.MULTILINE)
    wait_for(lambda: float(sent.findall(fetch.get(traced.metrics_url).text)[0]) > 0)  # told once a second

    log = traced.state / "log" / "access.log"
    wait_for(lambda: log.exists() and log.read_text().count("\n") == 2)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {(line["program"], line["event"], line["slug"]) for line in lines} == {("aggregator", "redirect", "plain")}
    assert SECRET not in json.dumps(lines)
    assert "127.0.0.1" not in {line.get("address") for line in lines}
    assert '"event": "redirect"' in traced.command("logs", "access").stdout


def test_spans_that_wait_are_sent_when_a_program_ends(traced: Tree, receiver: Receiver) -> None:
    headers = {"Authorization": f"Bearer {traced.key}"}
    fetch.get(f"{traced.url}/api/v1/links", headers={**headers, **FIELD}).raise_for_status()
    traced.down()
    assert TRACE in {span.trace_id for span in receiver.named("GET links")}


def test_a_tree_whose_collector_hangs_serves_and_ends_in_order(traced: Tree, receiver: Receiver) -> None:
    receiver.goes_on.clear()
    slug = traced.shorten(TARGET)
    wait_for(lambda: traced.location(slug) == TARGET)
    traced.down()
    assert traced.left() == []
    logs = {path.stem: path.read_text() for path in (traced.state / "log").glob("*.log")}
    assert '"event": "stopped"' in logs["web_0"]
    assert "killing" not in logs["supervisord"]
    os.stat(traced.state / "journal")
