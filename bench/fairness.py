"""One person with twenty streams against five with one each, at the run loop: turns by what was used against none.

The stand-in engine writes at a steady rate on four slots, so that this says nothing of any model and all of the order
in which slots are given. Without turns everybody is the same owner, which is first come, first served. A light person
asks again at once, or after a pause as long as an answer takes; `alone` is one light person on an idle worker. With
`pauses` answers pause for whoever has none.
"""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Sequence

from tests.fakes.spawner import PlainSpawner
from tests.serving.pools import model, request, running

from bench.table import show
from intramural.core.chat import Delta
from intramural.serving import Owner, Pool

RATE, TOKENS, SLOTS, HEAVY_STREAMS, RUN_S, SLICE_S = 50, 100, 4, 20, 15.0, 5.0
LIGHT = ("a", "b", "c", "d", "e")


class Play:
    """What everybody got: tokens by person, and the light ones' first tokens in seconds."""

    def __init__(self, pool: Pool, *, turns: bool) -> None:
        self._pool = pool
        self._turns = turns
        self._served = model(slots=SLOTS)
        self.tokens: Counter[str] = Counter()
        self.first_s: list[float] = []

    async def stream(self, person: str, tokens: int, pause_s: float) -> None:
        owner = Owner((person,)) if self._turns else Owner()
        while True:
            began_s, first = time.perf_counter(), True
            async for event in self._pool.chat(self._served, request(max_tokens=tokens), owner=owner):
                if isinstance(event, Delta):
                    self.tokens[person] += 1
                    if first and person in LIGHT:
                        self.first_s.append(time.perf_counter() - began_s)
                    first = False
            await asyncio.sleep(pause_s)

    async def run(self, heavy_streams: int, heavy_tokens: int, light: Sequence[str], pause_s: float) -> None:
        await self._pool.load(self._served)
        streams = [self.stream("heavy", heavy_tokens, 0) for _ in range(heavy_streams)]
        streams += [self.stream(person, TOKENS, pause_s) for person in light]
        tasks = [asyncio.create_task(each) for each in streams]
        await asyncio.sleep(RUN_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def play(
    heavy_streams: int, heavy_tokens: int, light: Sequence[str], pause_s: float, *, turns: bool, slice_s: float = 0.0
) -> Play:
    spawner = PlainSpawner(per_start=(("--tokens-per-s", str(RATE), "--slots", str(SLOTS)),))
    async with running(spawner, slice_s=slice_s) as pool:
        found = Play(pool, turns=turns)
        await found.run(heavy_streams, heavy_tokens, light, pause_s)
        return found


def jain(shares: Sequence[float]) -> float:
    """1: all the same; 1/n: one has everything."""
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares)) if any(shares) else 0.0


def row(label: str, found: Play, alone_s: float) -> list[str]:
    shares = [float(found.tokens[person]) for person in ("heavy", *LIGHT)]
    p95_s = statistics.quantiles(found.first_s, n=20)[-1] if len(found.first_s) > 1 else float("nan")
    median_s = statistics.median(found.first_s) if found.first_s else float("nan")
    light = statistics.mean(shares[1:])
    times = (f"{median_s:.2f} s", f"{p95_s:.2f} s", f"{p95_s / alone_s:.0f}×")
    return [label, f"{shares[0]:.0f} : {light:.0f}", f"{jain(shares):.3f}", *times]


async def measure() -> list[list[str]]:
    alone = await play(0, TOKENS, LIGHT[:1], 0.0, turns=True)
    alone_s = statistics.quantiles(alone.first_s, n=20)[-1]
    rows = [["one light person alone", "", "", f"{statistics.median(alone.first_s):.2f} s", f"{alone_s:.2f} s", "1×"]]
    took_s = TOKENS / RATE
    for tokens, pause_s, label in (
        (TOKENS, 0.0, "at once"),
        (TOKENS, took_s, "after a pause"),
        (4 * TOKENS, 0.0, "at once; heavy's answers four times as long"),
    ):
        for how, turns, slice_s in (("first come", False, 0.0), ("turns", True, 0.0), ("turns, pauses", True, SLICE_S)):
            found = await play(HEAVY_STREAMS, tokens, LIGHT, pause_s, turns=turns, slice_s=slice_s)
            rows.append(row(f"{label}, {how}", found, alone_s))
    return rows


def main() -> None:
    show(
        "Twenty streams against five",
        f"{SLOTS} slots, {RATE} tokens/s each, answers of {TOKENS} tokens, {RUN_S:g} s a row. Tokens: heavy's against "
        "the mean of the light ones'. First token: the light ones'.",
        ["", "tokens", "Jain", "first token, median", "p95", "against alone"],
        asyncio.run(measure()),
    )


if __name__ == "__main__":
    main()
