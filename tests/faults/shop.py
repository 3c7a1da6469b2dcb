"""A registry to pull from, beside tests that are not of the loop's."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.fakes.registry import OLLAMA, Registry
from tests.fakes.web import serving
from tests.service import Service


@contextmanager
def registry_with(*models: bytes, first: int = 0) -> Iterator[Registry]:
    """A registry on loopback with `tiny:0`, `tiny:1` … (or from `first` on), served by a thread."""
    registry, ready, over = Registry(), threading.Event(), threading.Event()
    for number, model in enumerate(models, first):
        registry.manifest(str(number), registry.layer(f"{OLLAMA}.model", model))

    async def serve() -> None:
        async with serving(registry) as server:
            registry.url = server.url
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait()
    try:
        yield registry
    finally:
        over.set()
        thread.join()


def state_of(house: Service, source: str) -> str:
    pulls = house.page("GET", "/pulls").json()["pulls"]
    return str(next(each["state"] for each in pulls if each["source"] == source))
