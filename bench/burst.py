"""Ten thousand requests of one person at once, beside another person who asks one thing after another.

The engine is a stand-in that writes at a steady rate, so an answer takes as long as 32 words do. *Alone* and *beside*
take turns: the light person asks, alone, then while the other's requests come as fast as 128 connections carry them.
Once as the service is set up by itself, once with limits such as a school sets.
"""

import asyncio
import os
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field

import requests
import uvloop
from tests.service import ADMIN, MODEL, Service

from bench._load import Answer, Connection, connect, request
from bench._service import running
from bench.table import show

REQUESTS = int(os.environ.get("INTRAMURAL_BENCH_BURST", "10000"))
CONNECTIONS = 128
ALONE = 40
TOKENS, TOKENS_PER_S = 32, 100.0
#: What it is called, quotas of the heavy person, settings.
CASES: tuple[tuple[str, tuple[str, ...], dict[str, str]], ...] = (
    ("as it comes", (), {}),
    ("quotas: 60 requests a minute, 4 answers at a time", ("60 requests/minute", "4 streams"), {}),
    ("setting: 300 requests a minute each", (), {"QUOTAS_PERSON_REQUESTS_PER_MINUTE": "300"}),
)


@dataclass
class Seen:
    """What came of it: milliseconds of the light person's answers, and how everybody's ended."""

    alone_ms: list[float] = field(default_factory=list)
    beside_ms: list[float] = field(default_factory=list)
    light: Counter[int] = field(default_factory=Counter)
    heavy: Counter[int] = field(default_factory=Counter)
    burst_s: float = 0.0
    #: Of the service, for each request of the burst.
    cpu_ms: float = 0.0


def key_of(service: Service, name: str) -> str:
    """A key of a person who is made for it."""
    body = {"username": name, "password": "a sentence nobody guesses"}
    service.page("POST", "/people", json={**body, "role": "member"})
    base, browser = f"{service.address}/intramural/v1", requests.Session()
    browser.headers["X-CSRF-Token"] = browser.post(f"{base}/login", json=body, timeout=60).json()["csrf_token"]
    made = browser.post(f"{base}/keys", json={"name": "k", "scopes": ["inference"]}, timeout=60)
    return str(made.json()["secret"])


def asked(service: Service, key: str) -> bytes:
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Tell me of a river."}],
        "max_tokens": TOKENS,
        "stream": True,
        "seed": 1,  # at the rate
    }
    return request(service.address, "/v1/chat/completions", key, body)


async def _one(connection: Connection, what: bytes, times_ms: list[float], ended: Counter[int]) -> None:
    answer: Answer = await connection.ask(what)
    ended[answer.status] += 1
    if answer.status == 200:
        times_ms.append((answer.times_s[-1] - answer.sent_s) * 1000)


async def measure(service: Service, light_key: str, heavy_key: str) -> Seen:
    seen, loop = Seen(), asyncio.get_running_loop()
    (mine,) = await connect(service.address, 1)
    others = await connect(service.address, CONNECTIONS)
    light, heavy = asked(service, light_key), asked(service, heavy_key)
    left = iter(range(REQUESTS))
    over = asyncio.Event()

    async def burst(connection: Connection) -> None:
        for _ in left:
            seen.heavy[(await connection.ask(heavy)).status] += 1

    async def beside() -> None:
        while not over.is_set():
            await _one(mine, light, seen.beside_ms, seen.light)

    for _ in range(ALONE):
        await _one(mine, light, seen.alone_ms, Counter())
    began_s, cpu_s = loop.time(), _cpu_s(service)
    asking = asyncio.create_task(beside())
    await asyncio.gather(*(burst(connection) for connection in others))
    seen.burst_s = loop.time() - began_s
    seen.cpu_ms = (_cpu_s(service) - cpu_s) * 1000 / REQUESTS
    over.set()
    await asking
    for connection in (mine, *others):
        connection.close()
    return seen


def _cpu_s(service: Service) -> float:
    return time.clock_gettime((~service.pid << 3) | 2)  # Linux's name for the processor clock of another process


def p95(times_ms: list[float]) -> float:
    return statistics.quantiles(times_ms, n=20)[18]


def rows_of(name: str, seen: Seen) -> list[str]:
    alone, beside = p95(seen.alone_ms), p95(seen.beside_ms)
    said = ", ".join(f"{count} × {status}" for status, count in sorted(seen.heavy.items()))
    failed = sum(count for status, count in seen.light.items() if status != 200)
    return [
        name,
        f"{alone:.0f}",
        f"{beside:.0f}",
        f"{beside / alone:.2f} ×",
        f"{failed} of {sum(seen.light.values())}",
        f"{said} in {seen.burst_s:.0f} s",
        f"{seen.cpu_ms:.2f}",
    ]


def main() -> None:
    """Run it."""
    rows = []
    for name, limits, settings in CASES:
        with running(stand_in_tokens_per_s=TOKENS_PER_S, stand_in="bench._stub", **settings) as service:
            heavy_key = service.new_key()
            light_key = key_of(service, "light")
            for limit in limits:
                service.command("quota", "set", limit, "--user", ADMIN[0])
            rows.append(rows_of(name, uvloop.run(measure(service, light_key, heavy_key))))
    show(
        "A burst of one person",
        f"{REQUESTS} requests over {CONNECTIONS} connections; answers of {TOKENS} words, {TOKENS_PER_S:.0f} a second; "
        f"milliseconds, p95. Load {os.getloadavg()[0]:.1f}.",
        ["", "alone", "beside", "ratio", "failed", "the burst", "cpu ms each"],
        rows,
    )


if __name__ == "__main__":
    main()
