"""One person with twenty streams against five with one each, at the run loop: turns by what was used against none.

The stand-in engine writes at a steady rate on four slots, so that this says nothing of any model and all of the order
in which slots are given. Without turns everybody is the same owner, which is first come, first served. A light person
asks again at once, or after a pause as long as an answer takes, or all do in the same instant, again and again; `alone`
is one light person on an idle worker. With `pauses` answers pause for whoever has none.

The light ones come one after the other, and answers are of different lengths: else all would begin and end in the same
instants as long as it lasts, and the first token would be that of such an instant. That is a row of its own.
"""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from random import Random

from tests.fakes.spawner import PlainSpawner
from tests.serving.pools import model, request, running

from bench.table import show
from intramural.core.chat import Delta
from intramural.serving import Owner, Pool

RATE, TOKENS, SLOTS, HEAVY_STREAMS, RUN_S, SLICE_S = 50, 100, 4, 20, 30.0, 5.0
LIGHT = ("a", "b", "c", "d", "e")
#: The next light person comes so much later.
COMES_S = 0.3
#: Of one alone only the first token is asked for, so that there are as many of them.
ALONE_TOKENS = 10


class Play:
    """What everybody got: tokens by person, and the light ones' first tokens in seconds."""

    def __init__(self, pool: Pool, *, turns: bool, together: bool = False) -> None:
        self._pool = pool
        self._turns = turns
        self._served = model(slots=SLOTS)
        self._together = asyncio.Barrier(len(LIGHT)) if together else None
        self.tokens: Counter[str] = Counter()
        self.first_s: list[float] = []

    async def stream(self, person: str, tokens: int, pause_s: float, comes_s: float, chance: Random) -> None:
        owner = Owner((person,)) if self._turns else Owner()
        await asyncio.sleep(comes_s)
        while True:
            if self._together is not None and person in LIGHT:
                await self._together.wait()
            began_s, first = time.perf_counter(), True
            asked = request(max_tokens=chance.randint(tokens // 2, tokens * 3 // 2))
            async for event in self._pool.chat(self._served, asked, owner=owner):
                if isinstance(event, Delta):
                    self.tokens[person] += 1
                    if first and person in LIGHT:
                        self.first_s.append(time.perf_counter() - began_s)
                    first = False
            await asyncio.sleep(pause_s)

    async def run(self, heavy_streams: int, heavy_tokens: int, light: Sequence[str], pause_s: float) -> None:
        await self._pool.load(self._served)
        light_tokens = TOKENS if heavy_streams else ALONE_TOKENS
        streams = [self.stream("heavy", heavy_tokens, 0, 0, Random(number)) for number in range(heavy_streams)]
        for place, person in enumerate(light, 1):  # those who ask in the same instant ask for as much
            chance = Random("light" if self._together else person)
            streams.append(self.stream(person, light_tokens, pause_s, place * COMES_S, chance))
        tasks = [asyncio.create_task(each) for each in streams]
        await asyncio.sleep(len(light) * COMES_S)
        self.tokens.clear()  # now all are there
        await asyncio.sleep(RUN_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def play(
    heavy_streams: int,
    heavy_tokens: int,
    light: Sequence[str],
    pause_s: float,
    *,
    turns: bool,
    slice_s: float = 0.0,
    together: bool = False,
) -> Play:
    spawner = PlainSpawner(per_start=(("--tokens-per-s", str(RATE), "--slots", str(SLOTS)),))
    async with running(spawner, slice_s=slice_s) as pool:
        found = Play(pool, turns=turns, together=together)
        await found.run(heavy_streams, heavy_tokens, light, pause_s)
        return found


def jain(shares: Sequence[float]) -> float:
    """1: all the same; 1/n: one has everything."""
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares)) if any(shares) else 0.0


def row(label: str, found: Play, alone_s: float) -> list[str]:
    shares = [float(found.tokens[person]) for person in ("heavy", *LIGHT)]
    light = statistics.mean(shares[1:])
    return [label, f"{shares[0]:.0f} : {light:.0f}", f"{jain(shares):.3f}", *firsts(found.first_s, alone_s)]


def firsts(first_s: Sequence[float], alone_s: float | None = None) -> list[str]:
    """How many first tokens there were, their median and p95, and that against `alone_s` (None: this is alone)."""
    if len(first_s) < 2:
        return [f"{len(first_s)}", "", "", ""]
    p95_s = p95(first_s)
    against = p95_s / (alone_s or p95_s)
    return [f"{len(first_s)}", f"{statistics.median(first_s):.3f} s", f"{p95_s:.3f} s", f"{against:.1f}×"]


def p95(first_s: Sequence[float]) -> float:
    return statistics.quantiles(first_s, n=20, method="inclusive")[-1]


async def alone() -> list[float]:
    return (await play(0, TOKENS, LIGHT[:1], 0.0, turns=True)).first_s


async def measure() -> list[list[str]]:
    before_s = await alone()
    took_s = TOKENS / RATE
    with_pauses = ("turns, pauses", True, SLICE_S)
    ways = (("first come", False, 0.0), ("turns", True, 0.0), with_pauses)
    found = []
    for tokens, pause_s, together, label, hows in (
        (TOKENS, 0.0, False, "at once", ways),
        (TOKENS, took_s, False, "after a pause", ways),
        (4 * TOKENS, 0.0, False, "at once; heavy's answers four times as long", ways),
        (TOKENS, 0.0, True, "all in the same instant", (with_pauses,)),
    ):
        for how, turns, slice_s in hows:
            each = await play(HEAVY_STREAMS, tokens, LIGHT, pause_s, turns=turns, slice_s=slice_s, together=together)
            found.append((f"{label}, {how}", each))
    alone_s = [*before_s, *await alone()]  # what else the machine does changes meanwhile
    rows = [["one light person alone", "", "", *firsts(alone_s)]]
    return rows + [row(label, each, p95(alone_s)) for label, each in found]


def main() -> None:
    show(
        "Twenty streams against five",
        f"{SLOTS} slots, {RATE} tokens/s each, answers of {TOKENS} tokens, give or take half, {RUN_S:g} s a row. "
        "Tokens: heavy's against the mean of the light ones'. First token: the light ones'.",
        ["", "tokens", "Jain", "first tokens", "median", "p95", "against alone"],
        asyncio.run(measure()),
    )


if __name__ == "__main__":
    main()
