"""The gateway next to the same engine spoken to directly on its socket: what a request pays for the way in.

Pairs of requests, direct and through the gateway in alternating order. First token: from sending the request to the
first content, once with a prompt that the engine holds in its cache (it computes one token, so its own time varies
little and the difference is the gateway's) and once with a new prompt for every request. Per token: the mean gap
between content events after the first. Auth, policy, the audit log (durable before the first byte) and the meter are
on. 1 and 16 streams at once. The last rows are with an engine that takes no processor of this machine (the stub, whose
first token comes after 10 ms), as one on a graphics card takes little: what is then added is the gateway's own.
"""

import asyncio
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from tests.service import MODEL, Service

from bench._service import running
from bench.table import show

KNOWN_PAIRS = 120
PAIRS = 24
TOKENS = 48
STREAMS = 16
ROUNDS = 3
ELSEWHERE_TOKENS_PER_S = 100.0


@dataclass(frozen=True)
class Timed:
    first_ms: float
    per_token_ms: float
    tokens: int


@dataclass(frozen=True)
class Way:
    """One way to the engine: how to connect, where to post, with which headers."""

    address: str
    headers: dict[str, str]
    socket: Path | None

    async def ask(self, session: aiohttp.ClientSession, nonce: int, tokens: int = TOKENS) -> Timed:
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": f"{nonce:06d} Tell me a story about a river and a mountain."}],
            "max_tokens": tokens,
            "temperature": 1,
            "seed": nonce,
            "stream": True,
            "logit_bias": {"2": -100},  # never the end-of-turn token: every answer has the same length
        }
        began = time.perf_counter()
        times = []
        async with session.post(f"{self.address}/v1/chat/completions", json=body, headers=self.headers) as answer:
            assert answer.status == 200, await answer.text()
            async for line in answer.content:
                if b'"content":"' in line:
                    times.append(time.perf_counter())
        per_token = (times[-1] - times[0]) / (len(times) - 1)
        return Timed((times[0] - began) * 1000, per_token * 1000, len(times))

    def session(self) -> aiohttp.ClientSession:
        connector = aiohttp.UnixConnector(str(self.socket), force_close=True) if self.socket else None
        return aiohttp.ClientSession(connector=connector)


async def measure(direct: Way, gateway: Way) -> list[list[str]]:
    async with direct.session() as one, gateway.session() as two:
        ways = [(direct, one), (gateway, two)]
        nonce = 0
        for way, session in ways * 3:  # warm up
            await way.ask(session, nonce := nonce + 1)
        known: dict[int, list[Timed]] = {}
        for pair in range(KNOWN_PAIRS):
            for way, session in ways if pair % 2 else reversed(ways):
                known.setdefault(id(way), []).append(await way.ask(session, 0, tokens=4))
        single: dict[int, list[Timed]] = {}
        for pair in range(PAIRS):
            for way, session in ways if pair % 2 else reversed(ways):
                single.setdefault(id(way), []).append(await way.ask(session, nonce := nonce + 1))
        rates: dict[int, list[float]] = {}
        for round_ in range(ROUNDS):
            for way, session in ways if round_ % 2 else reversed(ways):
                began = time.perf_counter()
                asked = [way.ask(session, nonce := nonce + 1) for _ in range(STREAMS)]
                done = await asyncio.gather(*asked)
                rates.setdefault(id(way), []).append(sum(t.tokens for t in done) / (time.perf_counter() - began))
    a, b = id(direct), id(gateway)
    return [
        _first("known", known[a], known[b]),
        _fastest("known", known[a], known[b]),
        _first("new", single[a], single[b]),
        *_rates(single[a], single[b], rates[a], rates[b]),
    ]


async def measure_elsewhere(direct: Way, gateway: Way) -> list[list[str]]:
    """First tokens of the stub, which writes at its rate where the seed is 1."""
    found: dict[int, list[Timed]] = {}
    async with direct.session() as one, gateway.session() as two:
        ways = [(direct, one), (gateway, two)]
        for pair in range(-3, KNOWN_PAIRS):
            for way, session in ways if pair % 2 else reversed(ways):
                timed = await way.ask(session, 1, tokens=4)
                if pair >= 0:
                    found.setdefault(id(way), []).append(timed)
    a, b = found[id(direct)], found[id(gateway)]
    return [_first("elsewhere", a, b), _fastest("elsewhere", a, b)]


def _first(which: str, direct: list[Timed], gateway: list[Timed]) -> list[str]:
    median = statistics.median
    differences = [b.first_ms - a.first_ms for a, b in zip(direct, gateway, strict=True)]
    low, _, high = statistics.quantiles(differences, n=4)
    return [
        f"first token, {which} prompt, ms",
        f"{median(t.first_ms for t in direct):.1f}",
        f"{median(t.first_ms for t in gateway):.1f}",
        f"{median(differences):+.2f} ms ({low:+.1f} … {high:+.1f})",
        "≤ 1 ms",
    ]


def _fastest(which: str, direct: list[Timed], gateway: list[Timed]) -> list[str]:
    """What it takes when nobody else has the cores: where programs wait for them, the medians say how long that is."""
    one, through = (statistics.quantiles([t.first_ms for t in each], n=10)[0] for each in (direct, gateway))
    difference = f"{through - one:+.2f} ms"
    return [f"first token, {which} prompt, fastest tenth", f"{one:.1f}", f"{through:.1f}", difference, "≤ 1 ms"]


def _rates(direct: list[Timed], gateway: list[Timed], rate: list[float], rate_through: list[float]) -> list[list[str]]:
    token = [(b.per_token_ms - a.per_token_ms) * 1000 for a, b in zip(direct, gateway, strict=True)]
    low, _, high = statistics.quantiles(token, n=4)
    one, through = (statistics.median(1000 / t.per_token_ms for t in each) for each in (direct, gateway))
    many, many_through = statistics.median(rate), statistics.median(rate_through)
    median = statistics.median
    return [
        ["per token, ms", f"{median(t.per_token_ms for t in direct):.2f}",
         f"{median(t.per_token_ms for t in gateway):.2f}",
         f"{median(token):+.0f} µs ({low:+.0f} … {high:+.0f})", "≤ 100 µs"],
        ["tokens/s, 1 stream", f"{one:.1f}", f"{through:.1f}", f"{through / one:.3f}×", "≥ 0.98×"],
        [f"tokens/s, {STREAMS} streams", f"{many:.1f}", f"{many_through:.1f}", f"{many_through / many:.3f}×", "≥ 1.0×"],
    ]  # fmt: skip


def main() -> None:
    with running(SERVING_QUEUE_LIMIT="256") as service:
        rows = asyncio.run(measure(*_ways(service)))
    with running(stand_in_tokens_per_s=ELSEWHERE_TOKENS_PER_S, stand_in="bench._stub") as service:
        rows += asyncio.run(measure_elsewhere(*_ways(service)))
    show(
        "The gateway's tax",
        f"{KNOWN_PAIRS} and {PAIRS} interleaved pairs, one engine thread, load {os.getloadavg()[1]:.1f}; differences: "
        "median (quartiles).",
        ["", "engine's socket", "gateway", "difference", "aim"],
        rows,
    )


def _ways(service: Service) -> tuple[Way, Way]:
    """To the loaded model's engine, and to the service in front of it."""
    gateway = Way(service.address, {"Authorization": f"Bearer {service.new_key()}"}, None)
    asyncio.run(_ask_once(gateway))  # which loads the model, where that was not done
    (socket,) = service.data_dir.rglob("worker.sock")
    return Way("http://engine", {}, socket), gateway


async def _ask_once(way: Way) -> None:
    async with way.session() as session:
        await way.ask(session, 0, tokens=4)


if __name__ == "__main__":
    main()
