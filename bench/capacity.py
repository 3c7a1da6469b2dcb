"""What stands before the engine, next to LiteLLM's proxy: requests a second per core, streams, and what 1,000 cost.

Both stand before the same stub (`bench._stub`), which costs next to nothing, and are asked in turns by the same
clients. Ours has authentication, policy, metering and the durable audit log on; the proxy has a master key and no
database. The main figure is how many requests a core carries: requests, over seconds of processor time of the
process that is measured. Other programs on the machine change it less than requests per second by the clock.

1,000 open streams: each gets TOKENS_PER_S, all are open at once; by how much is a token later than it should be, and
how much memory does the process have while they are. `python -m bench capacity --without-litellm` leaves the other out.
"""

import argparse
import asyncio
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests
import uvloop
from tests.clients.environments import environment
from tests.service import MODEL

from bench._load import Answer, connect, press, request
from bench._service import running
from bench.table import show

CLIENTS = 16
ROUNDS = 4
LASTING_S = 4.0
CHUNKS = 50
STREAMS = 1000
TOKENS_PER_S = 2.0
STREAM_TOKENS = 30
#: Streams are begun over so long, so that the start of all is no single moment.
BEGIN_OVER_S = 8.0
#: Of a thousand streams the first seconds are their beginning and not their life.
SKIPPED_TOKENS = 10
_START_S = 90
_MASTER_KEY = "sk-0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class System:
    """One that is measured. `pid`: of the process whose processor time counts."""

    name: str
    address: str
    key: str
    model: str
    pid: int

    def request(self, **fields: Any) -> bytes:
        body = {"model": self.model, "messages": [{"role": "user", "content": "Tell me a story of a river."}], **fields}
        return request(self.address, "/v1/chat/completions", self.key, body)

    def cpu_s(self) -> float:
        return time.clock_gettime((~self.pid << 3) | 2)  # Linux's name for the processor clock of another process

    def rss_mib(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text("ascii")
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024


@dataclass(frozen=True)
class Pressed:
    """A while of asking: per core, by the clock, and how long an answer took (median)."""

    per_core: float
    per_s: float
    took_ms: float


@contextmanager
def stub() -> Iterator[int]:
    """The stub on a port of its own, for the proxy."""
    port = _free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench._stub", str(port), "--tokens-per-s", str(TOKENS_PER_S)])
    try:
        yield port
    finally:
        process.kill()
        process.wait()


@contextmanager
def litellm() -> Iterator[System]:
    """The proxy as its documentation starts it, one worker, saying nothing to anybody else."""
    port = _free_port()
    with stub() as behind, TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(
            "model_list:\n"
            f"  - model_name: {MODEL}\n"
            f"    litellm_params: {{model: openai/stub, api_base: 'http://127.0.0.1:{behind}/v1', api_key: none}}\n"
            f"general_settings: {{master_key: {_MASTER_KEY}}}\n"
            "litellm_settings: {telemetry: false}\n"
        )
        command = [str(environment("litellm-proxy") / "bin/litellm"), "--config", str(config), "--host", "127.0.0.1"]
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "--port", str(port), "--num_workers", "1"],
                env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "*", "LITELLM_LOG": "ERROR"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            address = f"http://127.0.0.1:{port}"
            _until_alive(f"{address}/health/liveliness", Path(folder) / "log")
            yield System("LiteLLM's proxy", address, _MASTER_KEY, MODEL, process.pid)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def intramural(slots: int) -> Iterator[System]:
    """The product with the stub in its engine's place; what the stub does not need is not planned for."""
    settings = {
        "SERVING_SLOTS": str(slots),
        "SERVING_CONTEXT_TOKENS": "512",
        "SERVING_MEMORY_BUDGET_BYTES": str(10**13),
        "SERVING_QUEUE_LIMIT": str(STREAMS),
    }
    with running(stand_in_tokens_per_s=TOKENS_PER_S, stand_in="bench._stub", **settings) as service:
        yield System("intramural", service.address, service.new_key(), MODEL, service.pid)


async def pressed(system: System, fields: dict[str, Any], lasting_s: float = LASTING_S) -> Pressed:
    """Ask as fast as answers come."""
    connections = await connect(system.address, CLIENTS)
    before_s = system.cpu_s()
    answers, lasted_s = await press(connections, system.request(**fields), lasting_s)
    cpu_s = system.cpu_s() - before_s
    for connection in connections:
        connection.close()
    assert all(answer.status == 200 for answer in answers)
    took_ms = statistics.median(answer.times_s[-1] - answer.sent_s for answer in answers) * 1000
    return Pressed(len(answers) / cpu_s, len(answers) / lasted_s, took_ms)


async def compared(systems: list[System]) -> dict[str, dict[str, list[Pressed]]]:
    """What is asked → system → its rounds, all in turns."""
    asked: dict[str, dict[str, Any]] = {
        "whole answers": {"max_tokens": 8},
        f"streams of {CHUNKS} chunks": {"max_tokens": CHUNKS, "stream": True},
    }
    found: dict[str, dict[str, list[Pressed]]] = {name: {system.name: [] for system in systems} for name in asked}
    for system in systems:
        await pressed(system, {"max_tokens": 8}, 2.0)  # warm up
    for round_ in range(ROUNDS):
        for system in systems if round_ % 2 else systems[::-1]:
            for name, fields in asked.items():
                found[name][system.name].append(await pressed(system, fields))
    return found


@dataclass(frozen=True)
class Open:
    """Many streams at once: memory before and while, processor share, and how late tokens are, in milliseconds."""

    answered: int
    before_mib: float
    most_mib: float
    cores: float
    late_median_ms: float
    late_p99_ms: float


async def opened(system: System) -> Open:
    """Open STREAMS streams, and read them all."""
    before_mib, most_mib = system.rss_mib(), 0.0
    connections = await connect(system.address, STREAMS)
    data = system.request(max_tokens=STREAM_TOKENS, stream=True, seed=1)
    began_s, cpu_s = time.perf_counter(), system.cpu_s()

    async def one(number: int) -> Answer | None:
        await asyncio.sleep(number * BEGIN_OVER_S / STREAMS)
        try:
            return await connections[number].ask(data)
        except ConnectionError:
            return None

    tasks = [asyncio.create_task(one(number)) for number in range(STREAMS)]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0.5)
        most_mib = max(most_mib, system.rss_mib())
    lasted_s, cpu_s = time.perf_counter() - began_s, system.cpu_s() - cpu_s
    for connection in connections:
        connection.close()
    answers = [answer for task in tasks if (answer := task.result()) is not None and answer.status == 200]
    lives = [answer.times_s[SKIPPED_TOKENS:-1] for answer in answers]
    gaps = [(later - sooner - 1 / TOKENS_PER_S) * 1000 for life in lives for sooner, later in pairwise(life)]
    late = sorted(max(0.0, gap) for gap in gaps) or [float("nan")]
    return Open(
        len(answers), before_mib, most_mib, cpu_s / lasted_s, statistics.median(late), late[int(len(late) * 0.99)]
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--without-litellm", action="store_true")
    told, _ = parser.parse_known_args()
    with ExitStack() as stack:
        other = [] if told.without_litellm else [stack.enter_context(litellm())]
        with intramural(CLIENTS) as ours:
            found = uvloop.run(compared([ours, *other]))
        with intramural(STREAMS) as ours:
            streams = {system.name: uvloop.run(opened(system)) for system in [ours, *other]}
    note = (
        f"{CLIENTS} clients, {ROUNDS} rounds of {LASTING_S:g} s in turns, load {os.getloadavg()[0]:.1f}; medians. Per "
        "core: requests over processor seconds of the measured process."
    )
    rows = [row for name, each in found.items() for row in _rows(name, each)]
    columns = ["", "per core", "per second", "took, ms", "ratio per core"]
    show("Capacity, the same stub behind both", note, columns, rows)
    columns = ["", "answered", "MiB before", "MiB most", "cores", "late, median ms", "late, p99 ms"]
    show(
        f"{STREAMS} open streams, {TOKENS_PER_S:g} tokens/s each",
        "Late: by how much the gap between two tokens is longer than the stub's.",
        columns,
        [
            [name, str(each.answered), f"{each.before_mib:.0f}", f"{each.most_mib:.0f}", f"{each.cores:.2f}",
             f"{each.late_median_ms:.1f}", f"{each.late_p99_ms:.1f}"]
            for name, each in streams.items()
        ],
    )  # fmt: skip


def _rows(asked: str, found: dict[str, list[Pressed]]) -> Iterator[list[str]]:
    median = statistics.median
    base = list(found.values())[-1]
    for name, rounds in found.items():
        ratio = median(one.per_core / other.per_core for one, other in zip(rounds, base, strict=True))
        yield [
            f"{asked}: {name}",
            f"{median(each.per_core for each in rounds):.0f}",
            f"{median(each.per_s for each in rounds):.0f}",
            f"{median(each.took_ms for each in rounds):.1f}",
            f"{ratio:.1f}×",
        ]


def _free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def _until_alive(address: str, log: Path) -> None:
    end_s = time.monotonic() + _START_S
    while time.monotonic() < end_s:
        try:
            if requests.get(address, timeout=2).status_code == 200:
                return
        except requests.RequestException:
            pass
        time.sleep(0.2)
    raise AssertionError(log.read_text(errors="replace")[-2000:])


if __name__ == "__main__":
    main()
