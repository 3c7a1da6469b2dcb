"""How quickly `/healthz` and `/readyz` answer while every slot of the engine is busy and more requests wait."""

import asyncio
import statistics
import time

import aiohttp
from tests.service import MODEL, Service

from bench._service import running
from bench.table import show

STREAMS = 12
ASKED = 300


async def load(session: aiohttp.ClientSession, service: Service, key: str, stop: asyncio.Event) -> None:
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Write a long story."}],
        "max_tokens": 256,
        "stream": True,
    }
    while not stop.is_set():
        url, headers = f"{service.address}/v1/chat/completions", {"Authorization": f"Bearer {key}"}
        async with session.post(url, json=body, headers=headers) as answer:
            async for _ in answer.content:
                if stop.is_set():
                    break


async def timed(session: aiohttp.ClientSession, url: str) -> list[float]:
    times = []
    for _ in range(ASKED):
        began = time.perf_counter()
        async with session.get(url) as answer:
            await answer.read()
            assert answer.status == 200
        times.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(0.01)
    return times


async def measure(service: Service, key: str) -> list[list[str]]:
    stop = asyncio.Event()
    rows = []
    async with aiohttp.ClientSession() as loading, aiohttp.ClientSession() as asking:
        tasks = [asyncio.ensure_future(load(loading, service, key, stop)) for _ in range(STREAMS)]
        await asyncio.sleep(2)
        for path in ("/healthz", "/readyz"):
            times = sorted(await timed(asking, service.address + path))
            p99 = times[int(len(times) * 0.99)]
            rows.append([path, f"{statistics.median(times):.2f}", f"{p99:.2f}", f"{times[-1]:.2f}", "< 5 ms"])
        stop.set()
        await asyncio.gather(*tasks)
    return rows


def main() -> None:
    with running() as service:
        rows = asyncio.run(measure(service, service.new_key()))
    show(
        "Health while saturated",
        f"{ASKED} requests each while {STREAMS} streams keep every slot and the queue busy; milliseconds.",
        ["", "median", "p99", "worst", "aim"],
        rows,
    )


if __name__ == "__main__":
    main()
