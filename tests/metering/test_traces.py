"""Spans: what they say, where they may go, and that nobody waits for them."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.direct import direct
from tests.fakes.collector import Collector
from tests.metering.exported import ROW, TIMING

from intramural.core.clock import SystemClock
from intramural.core.errors import Misasked
from intramural.core.work import Work
from intramural.metering import Traces, parse_endpoint
from intramural.metering.traces import Endpoint, message, spans

CLOCK = SystemClock()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("unix:/run/otel.sock", Endpoint("/run/otel.sock", "localhost", 0, "/v1/traces", tls=False)),
        ("http://127.0.0.1", Endpoint(None, "127.0.0.1", 4318, "/v1/traces", tls=False)),
        ("http://localhost:99/otlp/", Endpoint(None, "127.0.0.1", 99, "/otlp", tls=False)),
        ("http://[::1]:4318", Endpoint(None, "::1", 4318, "/v1/traces", tls=False)),
        ("https://collector.school.example", Endpoint(None, "collector.school.example", 443, "/v1/traces", tls=True)),
    ],
)
def test_where_spans_may_go(text: str, wanted: Endpoint) -> None:
    assert parse_endpoint(text, allow_network=True) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "collector:4318",
        "http://collector.school.example:4318",
        "http://10.0.0.5",
        "http://127.0.0.1.example",
        "https://user:secret@collector.example",
        "https://collector.example/?key=1",
        "https://collector.example/a\r\nX: y",
        "ftp://127.0.0.1",
        "http://127.0.0.1:port",
        "unix:relative",
        "http://",
    ],
)
def test_where_they_may_not(text: str) -> None:
    with pytest.raises(Misasked) as caught:
        parse_endpoint(text, allow_network=True)
    assert caught.value.code == "bad_traces_endpoint"


def test_without_network_only_this_machine() -> None:
    parse_endpoint("http://127.0.0.1:4318", allow_network=False)
    with pytest.raises(Misasked):
        parse_endpoint("https://collector.example", allow_network=False)


def test_a_request_and_its_parts() -> None:
    whole, *parts = spans(ROW, TIMING, Work.INTERACTIVE, None, CLOCK)
    assert whole["name"] == "chat m"
    assert whole["kind"] == 2
    assert [part["name"] for part in parts] == ["wait", "prompt", "answer", "record"]
    for part in parts:
        assert part["traceId"] == whole["traceId"]
        assert part["parentSpanId"] == whole["spanId"]
        begins, ends = int(str(part["startTimeUnixNano"])), int(str(part["endTimeUnixNano"]))
        assert int(str(whole["startTimeUnixNano"])) <= begins <= ends <= int(str(whole["endTimeUnixNano"]))
    assert len(str(whole["traceId"])) == 32
    assert len({str(each["spanId"]) for each in (whole, *parts)}) == 5
    assert "status" not in whole


def test_one_that_failed_before_its_first_token() -> None:
    failed = replace(ROW, outcome="failed")
    whole, *parts = spans(failed, replace(TIMING, first_s=None), Work.BATCH, "worker_died", CLOCK)
    assert [part["name"] for part in parts] == ["wait", "record"]
    assert whole["status"] == {"code": 2}
    assert {"key": "error.type", "value": {"stringValue": "worker_died"}} in whole["attributes"]  # type: ignore[operator]  # a list
    assert {"key": "intramural.class", "value": {"stringValue": "batch"}} in whole["attributes"]  # type: ignore[operator]  # a list


def test_nobody_is_named() -> None:
    text = repr(message(spans(ROW, TIMING, Work.INTERACTIVE, None, CLOCK)))
    for secret in ("req_secret", "person_a", "key_secret"):
        assert secret not in text


async def test_what_ended_is_sent_at_the_latest_on_closing() -> None:
    with Collector() as collector:
        traces = Traces(CLOCK, parse_endpoint(collector.endpoint, allow_network=False), connect=direct)
        traces.open()
        for _ in range(40):
            traces.ended(ROW, TIMING, Work.INTERACTIVE, None)
        await traces.close()
        assert (traces.sent, traces.dropped) == (200, 0)
        assert len(collector.spans()) == 200
        path, headers, body = collector.messages[0]
        assert path == "/v1/traces"
        assert headers["Content-Type"] == "application/json"
        attributes = body["resourceSpans"][0]["resource"]["attributes"]
        assert attributes[0] == {"key": "service.name", "value": {"stringValue": "intramural"}}


@pytest.mark.parametrize("status", [404, 302, 503])
async def test_a_collector_that_refuses_costs_spans_only(status: int) -> None:
    with Collector(status) as collector:
        traces = Traces(CLOCK, parse_endpoint(collector.endpoint, allow_network=False), connect=direct)
        traces.open()
        traces.ended(ROW, TIMING, Work.INTERACTIVE, None)
        await traces.close()
        assert (traces.sent, traces.dropped) == (0, 5)
        assert len(collector.messages) == 1  # and no redirect is followed


async def test_a_collector_that_is_gone_and_one_that_talks_nonsense(tmp_path: Path) -> None:
    gone = Traces(CLOCK, parse_endpoint(f"unix:{tmp_path}/none.sock", allow_network=False))
    gone.open()
    gone.ended(ROW, TIMING, Work.INTERACTIVE, None)
    await gone.close()
    assert gone.dropped == 5

    async def nonsense(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1\r\n")
        writer.close()

    server = await asyncio.start_unix_server(nonsense, tmp_path / "s")
    async with server:
        traces = Traces(CLOCK, parse_endpoint(f"unix:{tmp_path}/s", allow_network=False), connect=direct)
        traces.open()
        traces.ended(ROW, TIMING, Work.INTERACTIVE, None)
        await traces.close()
    assert traces.dropped == 5


async def test_the_queue_is_bounded() -> None:
    traces = Traces(CLOCK, Endpoint("/nowhere", "localhost", 0, "/", tls=False))
    for _ in range(1000):
        traces.ended(ROW, TIMING, Work.INTERACTIVE, None)
    assert traces.dropped > 0
    assert len(traces._spans) + traces.dropped == 5000
    assert len(traces._spans) <= 2048


async def test_without_an_endpoint_nothing_is_kept_and_nothing_runs() -> None:
    tasks = asyncio.all_tasks()
    traces = Traces(CLOCK)
    traces.open()
    traces.ended(ROW, TIMING, Work.INTERACTIVE, None)
    assert asyncio.all_tasks() == tasks
    assert not traces._spans
    await traces.close()
