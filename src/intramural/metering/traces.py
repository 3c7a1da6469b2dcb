"""Spans of requests for an OpenTelemetry collector, if an administrator named one; else nothing here does anything.

OTLP over HTTP in its JSON form, written by hand: an SDK brings threads of its own, and settings from the environment
that could send spans elsewhere. A span says what the usage row says and how long each part took; never who, never a
word. Spans wait in a bounded queue and are sent by one task, so no request waits for the collector, and one that is
gone costs spans only.
"""

import asyncio
import ipaddress
import logging
import ssl
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from intramural import __version__
from intramural.core.clock import Clock
from intramural.core.errors import IntramuralError, Misasked
from intramural.core.outward import Connect, no_way_out, opened
from intramural.core.work import Work
from intramural.metering.metrics import OPERATIONS, PROVIDER, WAIT_KNOWN, Timing
from intramural.metering.usage import UsageRow

log = logging.getLogger(__name__)

_QUEUE = 2048
_BATCH = 128
_PAUSE_S = 2.0
_TIMEOUT_S = 5.0
_PATH = "/v1/traces"
_INTERNAL, _SERVER = 1, 2
_ERROR = 2
#: What an attribute is called by its type in OTLP's JSON.
_KINDS: Mapping[type, str] = {str: "stringValue", int: "intValue", float: "doubleValue"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a collector is: a Unix socket, or a host and port, with TLS unless it is this machine."""

    socket: str | None
    host: str
    port: int
    path: str
    tls: bool


def parse_endpoint(text: str, *, allow_network: bool) -> Endpoint:
    """`unix:/run/otel.sock`, `http://127.0.0.1:4318` (this machine only) or `https://collector.inside.example:4318`.

    Raises Misasked(`bad_traces_endpoint`), also for another machine where `allow_network` is false.
    """
    if text.startswith("unix:/"):
        return Endpoint(text.removeprefix("unix:"), "localhost", 0, _PATH, tls=False)
    try:
        url = urlsplit(text)
        host, port = url.hostname or "", url.port
    except ValueError:
        raise _bad(text) from None
    if url.scheme not in ("http", "https") or not host or "@" in url.netloc or url.query or url.fragment:
        raise _bad(text)
    if not (here := _is_here(host)) and (url.scheme == "http" or not allow_network):
        raise _bad(text)
    if not all(33 <= ord(each) < 127 for each in text):
        raise _bad(text)
    tls = url.scheme == "https"
    address = "127.0.0.1" if here and host == "localhost" else host
    return Endpoint(None, address, port or (443 if tls else 4318), url.path.rstrip("/") or _PATH, tls)


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bad(text: str) -> Misasked:
    return Misasked(
        "bad_traces_endpoint",
        f"traces.endpoint is {text!r}, to which no traces are sent.",
        "Write unix:/path, http:// and an address of this machine, or https:// and one of another (which "
        "library.allow_network must not forbid).",
    )


class Traces:
    """Sends what `ended` is told. Without an endpoint it keeps nothing and sends nothing."""

    def __init__(
        self, clock: Clock, endpoint: Endpoint | None = None, ca_file: str = "", connect: Connect = no_way_out
    ) -> None:
        """`connect`: the way to a collector that is no Unix socket."""
        self._clock = clock
        self._connect = connect
        self._endpoint = endpoint
        self._ca_file = ca_file
        self._spans: deque[Mapping[str, object]] = deque()
        self._there = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failing = False
        self.sent = 0
        self.dropped = 0

    def open(self) -> None:
        """Begin sending, if there is somewhere to send to."""
        if self._endpoint is not None:
            self._task = asyncio.create_task(self._run(), name="traces")

    async def close(self) -> None:
        """Send what is left, if that goes quickly, and stop."""
        if self._task is None or self._endpoint is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        with suppress(TimeoutError):
            async with asyncio.timeout(_TIMEOUT_S):
                while self._spans and await self._send(self._endpoint):
                    pass

    def ended(self, row: UsageRow, timing: Timing, work: Work, code: str | None) -> None:
        """A request that has ended and is written down."""
        if self._endpoint is None:
            return
        made = spans(row, timing, work, code, self._clock)
        if len(self._spans) + len(made) > _QUEUE:
            self.dropped += len(made)
            return
        self._spans.extend(made)
        self._there.set()

    async def _run(self) -> None:
        assert self._endpoint is not None
        while True:
            await self._there.wait()
            await asyncio.sleep(_PAUSE_S)  # many requests, one message
            self._there.clear()
            while self._spans:
                await self._send(self._endpoint)

    async def _send(self, endpoint: Endpoint) -> bool:
        """Send the oldest; they are gone whether or not it succeeds."""
        batch = [self._spans.popleft() for _ in range(min(_BATCH, len(self._spans)))]
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                status = await self._post(endpoint, msgspec.json.encode(message(batch)))
        except (OSError, ValueError, IntramuralError) as error:
            status, reason = 0, repr(error)
        else:
            reason = f"status {status}"
        if status == 200:
            self.sent += len(batch)
        else:
            self.dropped += len(batch)
            if not self._failing:  # said once, until it works again
                log.warning("the traces' collector does not take spans: %s", reason)
        self._failing = status != 200
        return status == 200

    async def _post(self, endpoint: Endpoint, body: bytes) -> int:
        """The collector's status."""
        if endpoint.socket is not None:
            reader, writer = await asyncio.open_unix_connection(endpoint.socket)
        else:
            context = await asyncio.to_thread(self._context) if endpoint.tls else None
            made = await self._connect(endpoint.host, endpoint.port, _TIMEOUT_S)
            reader, writer = await opened(made, context, endpoint.host)
        try:
            host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
            head = (
                f"POST {endpoint.path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
                f"User-Agent: intramural/{__version__}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode("ascii") + body)
            await writer.drain()
            line = await reader.readline()
            return int(line.split()[1]) if line.startswith(b"HTTP/1.") else 0
        except IndexError:
            return 0
        finally:
            writer.close()

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(Path(self._ca_file)) if self._ca_file else None)


def spans(row: UsageRow, timing: Timing, work: Work, code: str | None, clock: Clock) -> list[Mapping[str, object]]:
    """A request's span by the gen_ai conventions, and its parts: wait, prompt, answer, record."""
    ended_s = clock.now_s() - timing.written_s
    began_s = ended_s - timing.took_s
    trace, root = clock.token_bytes(16).hex(), clock.token_bytes(8).hex()
    operation = OPERATIONS[row.operation]
    attributes: dict[str, str | int | float] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": row.model,
        "gen_ai.usage.input_tokens": row.prompt_tokens,
        "gen_ai.usage.output_tokens": row.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": row.cached_tokens,
        "intramural.class": work.label,
        "intramural.dialect": row.dialect,
        "intramural.outcome": row.outcome,
    }
    if row.outcome != "finished":
        attributes["error.type"] = code or row.outcome

    def span(name: str, from_s: float, to_s: float, parent: str = root) -> dict[str, object]:
        own = clock.token_bytes(8).hex()
        times = {"startTimeUnixNano": _nano(from_s), "endTimeUnixNano": _nano(max(from_s, to_s))}
        return {"traceId": trace, "spanId": own, "parentSpanId": parent, "name": name, "kind": _INTERNAL, **times}

    whole = span(f"{operation} {row.model}", began_s, ended_s + timing.written_s, "")
    whole |= {"spanId": root, "kind": _SERVER, "attributes": _attributes(attributes)}
    if row.outcome == "failed":
        whole["status"] = {"code": _ERROR}
    parts = [whole]
    if row.operation in WAIT_KNOWN:
        parts.append(span("wait", began_s, min(ended_s, began_s + row.waited_ms / 1000)))
    if timing.first_s is not None:
        first_s = began_s + timing.first_s
        parts.append(span("prompt", max(began_s, first_s - row.prompt_ms / 1000), first_s))
        parts.append(span("answer", first_s, ended_s))
    return [*parts, span("record", ended_s, ended_s + timing.written_s)]


def message(batch: Sequence[Mapping[str, object]]) -> Mapping[str, object]:
    """OTLP's `ExportTraceServiceRequest` of these spans."""
    resource = {"attributes": _attributes({"service.name": PROVIDER, "service.version": __version__})}
    scope = {"scope": {"name": "intramural.metering", "version": __version__}, "spans": batch}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}


def _attributes(values: Mapping[str, str | int | float]) -> list[Mapping[str, object]]:
    # OTLP's JSON writes 64-bit integers as text.
    return [{"key": k, "value": {_KINDS[type(v)]: str(v) if type(v) is int else v}} for k, v in values.items()]


def _nano(seconds: float) -> str:
    return str(int(seconds * 1e9))
