"""Starts a spawner and a child that ignores SIGTERM, prints the process ids of both, and waits to be killed."""

import asyncio
import json
import tempfile
from pathlib import Path

from intramural.sandbox import Launch, spawn
from intramural.sandbox.launch import Rules
from intramural.sandbox.spawning import Spawner


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="intramural-") as run_dir:
        spawner = Spawner(Rules("tests", frozenset(), Path(run_dir), None, frozenset()))
        spawner.attach()
        child = await spawn(Launch("engine", "tests.sandbox.entries:ignore_sigterm", {}))
        while "ready" not in child.log_tail():
            await asyncio.sleep(0.01)
        print(json.dumps([spawner.pid, child.pid]), flush=True)
        await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(main())
