"""Spans: whose part they are, what they hold; nobody waits for a collector, and without one nothing is there."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import structlog

from app.observe import (
    OFF,
    TraceWish,
    asking,
    begin,
    begin_question,
    configure_logs,
    enter,
    get_logger,
    is_tracing,
    parent_in,
    parent_of,
    start_traces,
    stop_traces,
    traced,
    within,
)
from app.observe.collector import QUEUE_SPANS_MAX, ROOTS_S_MAX
from app.observe.traces import Parent, trace_counts
from app.outbound import Fetcher
from tests.conftest import wait_for
from tests.observe.receiver import Receiver, receiving

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
FIELD = f"00-{TRACE}-{PARENT}-01"
MEANT = Parent(int(TRACE, 16), int(PARENT, 16), is_sampled=True)
#: W3C Trace Context, 3.2; the third is a later version, which may append.
BELIEVED = [FIELD, f" {FIELD}\t", f"01-{TRACE}-{PARENT}-01-what-the-future-has", f"00-{TRACE}-{PARENT}-03"]
NOT_BELIEVED = [
    None,
    "",
    "00",
    FIELD.upper(),
    f"ff-{TRACE}-{PARENT}-01",
    f"00-{'0' * 32}-{PARENT}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"00-{TRACE}-{PARENT}-01-more",
    f"00-{TRACE}-{PARENT}-1",
    f"00-{TRACE}-{PARENT}",
    f"00-{TRACE[:-1]}-{PARENT}-01",
    f"0{FIELD}",
    f"{FIELD}, {FIELD}",
    f"{FIELD}\n",
    "00-" + "٠" * 32 + f"-{PARENT}-01",
    f"01-{TRACE}-{PARENT}-01-" + "x" * 500,
    "0" * 16_000,
]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def trace(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Starts traces of this process to `receiver`."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")

    def start(sampler: str = "parentbased_always_on", share: float = 1.0, **headers: str) -> None:
        start_traces("web_7", TraceWish(f"{receiver.url}/v1/traces", tuple(headers.items()), sampler, share))

    yield start
    receiver.goes_on.set()
    stop_traces()


@pytest.mark.parametrize("field", BELIEVED)
def test_a_traceparent_of_the_standard_is_believed(field: str) -> None:
    assert parent_of(field) == MEANT


def test_a_traceparent_says_whether_it_is_sampled() -> None:
    assert parent_of(FIELD[:-1] + "0") == MEANT._replace(is_sampled=False)


@pytest.mark.parametrize("field", NOT_BELIEVED)
def test_any_other_is_as_if_it_were_not_there(field: str | None) -> None:
    assert parent_of(field) is None


def test_of_a_raw_head_one_traceparent_is_believed_and_two_are_not() -> None:
    head = b"GET /a HTTP/1.1\r\nHost: h\r\n%b\r\n"
    line = b"TraceParent:  " + FIELD.encode() + b" \r\n"
    assert parent_in(head % line) == MEANT
    assert parent_in(head % (line + line)) is None
    assert parent_in(head % b"X-Traceparent: %b\r\n" % FIELD.encode()) is None
    assert parent_in(head % b"") is None
    assert parent_in(head % (b"traceparent: " + b"0" * 16_000 + b"\r\n")) is None
    assert parent_in(head % b"traceparent: \xff\xfe\r\n") is None


def test_without_a_collector_every_span_is_off_and_what_sends_them_is_not_loaded() -> None:
    assert not is_tracing()
    assert begin("a", {}) is OFF
    with traced("a") as span, within(span), asking("redis", "GET"):
        assert span is OFF
        assert begin_question("redis", "GET") is OFF
        assert structlog.contextvars.get_contextvars() == {}
    code = "import sys, app.main, workers.aggregator, workers.rollup; print('app.observe.collector' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_request_is_a_part_of_what_it_names_and_questions_are_parts_of_it(
    receiver: Receiver, trace: Callable[..., None]
) -> None:
    trace()
    span = begin("GET links", {"http.route": "links"}, parent=MEANT, is_request=True)
    with within(span), asking("redis", "GET"):
        pass
    with pytest.raises(ValueError, match="hunter2"), within(span), asking("mongodb", "find"):
        raise ValueError("hunter2")
    span.set("http.response.status_code", 200)
    span.end()
    wait_for(lambda: len(receiver.spans) == 3)
    (whole,) = receiver.named("GET links")
    assert (whole.trace_id, whole.parent_id, whole.kind) == (TRACE, PARENT, 2)
    assert (whole.program, whole.service) == ("web_7", "boltlink")
    assert whole.attributes == {"http.route": "links", "http.response.status_code": 200}
    good, bad = receiver.parts_of(whole)
    assert (good.name, good.kind, good.is_error) == ("redis GET", 3, False)
    assert good.attributes == {"db.system.name": "redis", "db.operation.name": "GET"}
    assert (bad.name, bad.is_error, bad.attributes["error.type"]) == ("mongodb find", True, "ValueError")
    assert not any(b"hunter2" in body for body in receiver.raw)


def test_a_span_is_present_in_its_task_and_those_it_starts_and_in_no_other(
    receiver: Receiver, trace: Callable[..., None]
) -> None:
    trace()

    async def ask() -> None:
        with asking("redis", "GET"):
            await asyncio.sleep(0)

    async def request(name: str) -> None:
        span = begin(name, {})
        enter(span)
        await asyncio.gather(ask(), asyncio.create_task(ask()))
        span.end()

    async def both() -> None:
        await asyncio.gather(request("a"), request("b"), ask())

    asyncio.run(both())
    wait_for(lambda: len(receiver.spans) == 6)
    for name in ("a", "b"):
        (whole,) = receiver.named(name)
        assert len(receiver.parts_of(whole)) == 2


def test_another_machine_is_told_whose_part_its_request_is(receiver: Receiver, trace: Callable[..., None]) -> None:
    trace()
    receiver.status = 204

    async def request() -> None:
        span = begin("GET session", {}, parent=MEANT)
        with within(span):
            answer = await Fetcher(allows_http=True).fetch(f"{receiver.url}/v1/traces", form={"code": "hunter2"})
        assert answer.status == 204
        receiver.status = 200
        span.end()

    asyncio.run(request())
    asked = receiver.fields[0]["Traceparent"]
    (whole,) = wait_for(lambda: receiver.named("GET session"))
    (part,) = wait_for(lambda: receiver.parts_of(whole))
    assert (part.name, part.kind, part.attributes["http.response.status_code"]) == ("fetch POST", 3, 204)
    assert parent_of(asked) == Parent(int(TRACE, 16), int(part.span_id, 16), is_sampled=True)


@pytest.mark.usefixtures("_logs_restored")
def test_log_lines_hold_the_trace_while_its_span_is_present(trace: Callable[..., None]) -> None:
    trace()
    reader, writer = os.pipe()
    configure_logs("web_7", "info", writer)
    try:
        span = begin("a", {}, parent=MEANT)
        with within(span):
            get_logger().info("within")
        get_logger().info("behind")
    finally:
        os.close(writer)
        structlog.reset_defaults()
    with os.fdopen(reader) as lines:
        assert [json.loads(line).get("trace_id") for line in lines] == [TRACE, None]


def test_who_says_not_sampled_is_not_told_of_but_its_trace_stands_in_the_log(
    receiver: Receiver, trace: Callable[..., None]
) -> None:
    trace()
    span = begin("a", {}, parent=MEANT._replace(is_sampled=False))
    assert not span.is_on
    assert span.trace_id == TRACE
    with within(span), traced("part") as part, asking("redis", "GET"):
        assert part is OFF
    span.end()
    begin("last", {}).end()
    wait_for(lambda: receiver.named("last"))
    assert len(receiver.spans) == 1


@pytest.mark.parametrize(("sampler", "share", "told"), [("always_off", 1.0, False), ("traceidratio", 0.0, False)])
def test_the_sampler_of_the_settings_decides(
    trace: Callable[..., None], sampler: str, share: float, told: bool
) -> None:
    trace(sampler, share)
    assert begin("a", {}, parent=MEANT).is_on is told


def test_headers_go_with_the_spans(receiver: Receiver, trace: Callable[..., None]) -> None:
    trace(**{"x-token": "for the collector"})
    begin("a", {}).end()
    wait_for(lambda: receiver.fields)
    assert receiver.fields[0]["x-token"] == "for the collector"


def test_whoever_asks_for_traces_gets_so_many_in_a_second_and_the_rest_is_counted(trace: Callable[..., None]) -> None:
    trace()
    count = 5 * ROOTS_S_MAX
    spans = [begin("a", {}, parent=MEANT) for _ in range(count)]
    told = sum(span.is_on for span in spans)
    assert ROOTS_S_MAX <= told < count  # the clock may have turned meanwhile
    assert trace_counts()[1] == count - told
    whole = next(span for span in spans if span.is_on)
    assert whole.part("part", {}).is_on  # what is told is told whole


def test_a_collector_that_hangs_costs_what_finds_no_room_and_no_more(
    receiver: Receiver, trace: Callable[..., None]
) -> None:
    receiver.goes_on.clear()
    trace()
    whole = begin("whole", {})
    for _ in range(2 * QUEUE_SPANS_MAX):
        whole.part("part", {}).end()
    wait_for(lambda: receiver.asked)
    before = trace_counts()
    for _ in range(2 * QUEUE_SPANS_MAX):
        whole.part("part", {}).end()
    sent, dropped = trace_counts()
    assert sent == 0
    assert dropped - before[1] >= QUEUE_SPANS_MAX
    receiver.goes_on.set()
    wait_for(lambda: trace_counts()[0] == 4 * QUEUE_SPANS_MAX - dropped)  # what was let in comes, and nothing else
    assert len(receiver.spans) == 4 * QUEUE_SPANS_MAX - dropped


def test_the_end_waits_for_no_collector_that_hangs(receiver: Receiver, trace: Callable[..., None]) -> None:
    receiver.goes_on.clear()
    trace()
    begin("a", {}).end()
    stop_traces()  # returns
    assert receiver.spans == []
    assert begin("b", {}) is OFF


@pytest.mark.usefixtures("_logs_restored")
@pytest.mark.parametrize("fault", ["refuses", "away"])
def test_a_collector_that_fails_is_said_once_and_its_spans_are_counted(
    fault: str, receiver: Receiver, trace: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    receiver.status = 400
    if fault == "away":
        receiver.close()
    reader, writer = os.pipe()
    configure_logs("web_7", "info", writer)
    try:
        trace()
        for count in (1, 2, 3):
            begin("a", {}).end()
            wait_for(lambda count=count: trace_counts()[1] == count)  # type: ignore[misc]
        if fault == "refuses":
            receiver.status = 200
            begin("a", {}).end()
            wait_for(lambda: trace_counts()[0] == 1)
    finally:
        os.close(writer)
        structlog.reset_defaults()
    with os.fdopen(reader) as output:
        lines = [json.loads(line) for line in output]
    said = [(line["level"], line["event"]) for line in lines]
    back = [("info", "spans are sent again")] if fault == "refuses" else []
    assert said == [("warning", "spans are not sent"), *back]
    assert lines[0]["reason"]


def test_where_the_extra_is_missing_one_line_says_so_and_the_program_goes_on() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from app.observe import *\n"
        "configure_logs('web_0', 'info')\n"
        "start_traces('web_0', TraceWish('http://127.0.0.1:1/v1/traces', (), 'always_on', 1.0))\n"
        "get_logger().info('goes on', is_tracing=is_tracing())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert (first["level"], first["event"]) == ("error", "no traces are sent")
    assert "boltlink[tracing]" in first["do"]
    assert (last["event"], last["is_tracing"]) == ("goes on", False)
