"""Spawns a child that ignores SIGTERM, prints its process id and waits to be killed."""

import asyncio

from intramural.sandbox import Launch, spawn


async def main() -> None:
    child = await spawn(Launch("engine", "tests.sandbox.entries:ignore_sigterm", {}))
    while "ready" not in child.log_tail():
        await asyncio.sleep(0.01)
    print(child.pid, flush=True)
    await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(main())
