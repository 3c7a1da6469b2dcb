"""What one whole request costs in processor time, by part, and beside another work tree: `capacity`, looked at closely.

    python -m bench request_cost --clients 1 --against ../other-tree

The service stands before the stub engine with everything on (authentication, policy, metering, the durable log). Each
round asks a few requests, of one tree and the other in turns: a machine that others use changes from second to second
more than within one, so the ratio of neighbours holds where the figures themselves do not. Threads are told apart: the
loop's, and the database's writer with the rest. The first rows are what nothing can go below: uvicorn with an
application that does nothing, and the same with the two durable commits that a request has.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send
from tests.service import MODEL

from bench._load import Connection, connect, request
from bench._service import running
from bench.table import show

ROUNDS = 40
REQUESTS = 32
WARM = 64
TOKENS = 8
COMMITS = 2


@dataclass(frozen=True)
class Asked:
    """Something that is asked again and again. `pid`: of the process that answers."""

    name: str
    pid: int
    connections: list[Connection]
    data: bytes

    async def cost_us(self, number: int) -> tuple[float, float]:
        """Processor time of one of `number` requests, of all threads and of the main one."""
        before = self._used_us()
        each = number // len(self.connections)
        await asyncio.gather(*(self._ask(connection, each) for connection in self.connections))
        count = each * len(self.connections)
        used = {thread: now - before.get(thread, 0.0) for thread, now in self._used_us().items()}
        return sum(used.values()) / count, used[str(self.pid)] / count

    async def _ask(self, connection: Connection, count: int) -> None:
        for _ in range(count):
            answer = await connection.ask(self.data)
            assert answer.status == 200

    def _used_us(self) -> dict[str, float]:
        found = {}
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            found[thread.name] = int((thread / "schedstat").read_text("ascii").split()[0]) / 1000
        return found


@contextmanager
def service(tree: Path | None, clients: int, samples: Path) -> Iterator[tuple[str, int, str]]:
    """Address, process and a key of the service of `tree` (None: this one)."""
    settings = {
        "SERVING_SLOTS": str(clients),
        "SERVING_CONTEXT_TOKENS": "512",
        "SERVING_MEMORY_BUDGET_BYTES": str(10**13),
    }
    with running(stand_in_tokens_per_s=2.0, stand_in="bench._stub", tree=tree, samples=samples, **settings) as found:
        yield found.address, found.pid, found.new_key()


@contextmanager
def floor(commits: int) -> Iterator[tuple[str, int, str]]:
    """The same for uvicorn with an application that does nothing but `commits` durable transactions."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.request_cost", "--floor", str(commits)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}", process.pid, "im-none"
    finally:
        process.kill()
        process.wait()


async def measured(
    trees: dict[str, tuple[str, int, str]], clients: int, sampled: int
) -> dict[str, list[tuple[float, float]]]:
    """What each costs, round by round, in turns. Of the process `sampled` samples are taken afterwards."""
    asked = []
    for name, (address, pid, key) in trees.items():
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Tell me a story of a river."}]}
        data = request(address, "/v1/chat/completions", key, {**body, "max_tokens": TOKENS})
        asked.append(Asked(name, pid, await connect(address, clients), data))
    for each in asked:
        await each.cost_us(WARM)
    found: dict[str, list[tuple[float, float]]] = {each.name: [] for each in asked}
    for round_ in range(ROUNDS):
        for each in asked if round_ % 2 else asked[::-1]:
            found[each.name].append(await each.cost_us(REQUESTS))
    os.kill(sampled, signal.SIGUSR1)
    await next(each for each in asked if each.pid == sampled).cost_us(ROUNDS * REQUESTS)
    os.kill(sampled, signal.SIGUSR2)
    await asyncio.sleep(0.5)  # until they are written down
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--against", type=Path, help="another work tree, such as one of an earlier commit")
    parser.add_argument("--floor", type=int, help=argparse.SUPPRESS)
    told, _ = parser.parse_known_args()
    if told.floor is not None:
        uvloop.run(_serve_floor(told.floor))
        return
    with ExitStack() as stack:
        samples = Path(stack.enter_context(TemporaryDirectory())) / "samples"
        trees = {
            "uvicorn alone": stack.enter_context(floor(0)),
            f"uvicorn and {COMMITS} durable commits": stack.enter_context(floor(COMMITS)),
        }
        if told.against is not None:
            trees[told.against.name] = stack.enter_context(service(told.against, told.clients, samples / "none"))
        trees["here"] = stack.enter_context(service(None, told.clients, samples))
        found = uvloop.run(measured(trees, told.clients, trees["here"][1]))
        parts: dict[str, float] = json.loads(samples.read_text())
    note = (
        f"{told.clients} clients, {ROUNDS} rounds of {REQUESTS} requests in turns, load {os.getloadavg()[0]:.1f}; "
        "medians, the ratio round by round."
    )
    columns = ["", "µs a request", "the loop's thread", "other threads", "beside the one above"]
    show("Processor time of a whole request", note, columns, list(_rows(found)))
    whole, loop_us = sum(parts.values()), statistics.median(main for _, main in found["here"])
    rows = [
        [part, f"{used / whole:.0%}", f"{used / whole * loop_us:.0f}"] for part, used in Counter(parts).most_common()
    ]
    show("Where the loop's thread spends it", "Sampled; rough to a hundredth.", ["", "share", "µs"], rows)


def _rows(found: dict[str, list[tuple[float, float]]]) -> Iterator[list[str]]:
    median, before = statistics.median, None
    for name, rounds in found.items():
        whole, main = median(each[0] for each in rounds), median(each[1] for each in rounds)
        ratio = "" if before is None else f"{median(a[0] / b[0] for a, b in zip(rounds, before, strict=True)):.2f}×"
        yield [name, f"{whole:.0f}", f"{main:.0f}", f"{whole - main:.0f}", ratio]
        before = rounds


async def _serve_floor(commits: int) -> None:
    """Print the port, then serve for ever."""
    folder = TemporaryDirectory()
    connection = sqlite3.connect(Path(folder.name) / "db", check_same_thread=False, isolation_level=None)
    connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t(b BLOB)")
    writer, loop = ThreadPoolExecutor(1), asyncio.get_running_loop()

    def commit() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO t VALUES (?)", (b"x" * 700,))
        connection.execute("COMMIT")

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        for _ in range(commits):
            await loop.run_in_executor(writer, commit)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"600")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * 600})

    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(app, loop="none", http="httptools", ws="none", lifespan="off", access_log=False)
    await uvicorn.Server(config).serve([listener])


if __name__ == "__main__":
    main()
