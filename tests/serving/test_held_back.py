"""An answer that nobody reads: the engine is held back, and little of it waits here."""

import asyncio
import json
from contextlib import aclosing

from tests.fakes.spawner import PlainSpawner
from tests.serving.pools import model, request, running

from intramural.serving import WorkerProcess

TOKENS = 10_000
#: The exchange's own limit, what the kernel holds of a Unix socket, and what the engine's library has not yet written.
BOUND_BYTES = 2**20


async def written_bytes(worker: WorkerProcess) -> int:
    """How much the stand-in has written so far."""
    _, body = await worker.ask_whole("GET", "/written", b"", stall_s=30.0)
    return int(json.loads(body)["bytes"])


async def test_the_engine_is_held_back_by_a_reader_who_does_not_read() -> None:
    spawner = PlainSpawner(per_start=(("--tokens-per-s", "1e9"),))
    async with (
        running(spawner) as pool,
        aclosing(pool.chat(model(context_tokens=100_000), request(max_tokens=TOKENS))) as stream,
    ):
        first = await anext(stream)
        (worker,) = spawner.workers
        before, now = -1, 0
        while before != now:  # until it writes nothing more
            await asyncio.sleep(0.3)
            before, now = now, await written_bytes(worker)
        assert 0 < before < BOUND_BYTES
        text = getattr(first, "text", "")
        async for event in stream:
            text += getattr(event, "text", "")
        assert text.split()[-1] == f"word{TOKENS - 1}"
        assert await written_bytes(worker) > 3 * before
        assert stream.usage.completion_tokens == TOKENS
