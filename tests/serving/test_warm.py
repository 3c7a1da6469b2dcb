"""Conversations that come back: the real engine, really confined, and what is on the disk of them meanwhile."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.serving.pools import MiB, model, request

from intramural.core.chat import ChatRequest, Delta, Message, Usage
from intramural.core.clock import SystemClock
from intramural.core.config import ServingConfig
from intramural.sandbox import probe
from intramural.serving import ModelToServe, Owner, Pool, SandboxedSpawner
from intramural.serving.states import State, States
from intramural.serving.warmth import Allowance, Warmth, home_of

ENGINE = "an engine"


def key_of(tenant: str) -> bytes:
    return sha256(f"secret of {tenant}".encode()).digest()


def of(person: str, **more: bool) -> Owner:
    return Owner((person,), tenant=person, **more)


class Bench:
    """A service's serving part, as it is between two restarts."""

    def __init__(self, pool: Pool, warmth: Warmth, served: ModelToServe) -> None:
        self.pool = pool
        self.warmth = warmth
        self.served = served

    async def ask(self, owner: Owner, asked: ChatRequest) -> tuple[str, Usage]:
        *events, last = [event async for event in self.pool.chat(self.served, asked, owner=owner)]
        assert isinstance(last, Usage)
        return "".join(event.text for event in events if isinstance(event, Delta)), last


@asynccontextmanager
async def service(
    folder: Path, weights: Path, *, limit_bytes: int = 100 * MiB, buffer_bytes: int = 64 * MiB, slots: int = 1
) -> AsyncIterator[Bench]:
    states = States(folder / "states", key_of, limit_bytes, ENGINE)
    states.open()
    warmth = Warmth(states, SystemClock(), stall_s=60)
    spawner = SandboxedSpawner(folder / "run", "full", await probe(), buffer_bytes)
    pool = Pool(ServingConfig(threads=1), SystemClock(), spawner, 1000 * MiB, warmth)
    await pool.start()
    try:
        yield Bench(pool, warmth, model(slots=slots, context_tokens=1024, weights=weights))
    finally:
        await pool.close()


def chat(*turns: str, max_tokens: int = 4) -> ChatRequest:
    said = tuple(Message("assistant" if at % 2 else "user", text) for at, text in enumerate(turns))
    return replace(request(max_tokens=max_tokens, temperature=0.0), messages=said)


def files(folder: Path) -> list[Path]:
    return sorted((folder / "states").glob("*/*"))


PROSE = " ".join((Path(__file__).parents[2] / "docs" / "architecture.md").read_text().split())
PROSE = "".join(character for character in PROSE if character.isalnum() or character in " ,.")
LONG = "The stone heron of Wallbeck waits. " + PROSE[2000:3300]
OTHER = "Another matter altogether is this. " + PROSE[4000:5300]


async def test_a_conversation_survives_unloading_and_a_restart(weights: Path, tmp_path: Path) -> None:
    async with service(tmp_path, weights) as bench:
        said, first = await bench.ask(of("ann"), chat(LONG))
        assert first.prompt_tokens > 300 > first.cached_tokens
        assert await bench.pool.unload("m")
        assert len(files(tmp_path)) == 1 and bench.warmth.counts.saved == 1
        second, usage = await bench.ask(of("ann"), chat(LONG, said, "Go on."))
        assert usage.cached_tokens >= first.prompt_tokens
    assert len(files(tmp_path)) == 1  # what went on took the place of what it goes on from
    async with service(tmp_path, weights) as bench:
        _, usage = await bench.ask(of("ann"), chat(LONG, said, "Go on.", second, "And then?"))
        assert usage.cached_tokens >= first.prompt_tokens
        assert bench.warmth.counts.restored == 1

        # It is what was computed, and not only as long: the same answer comes of it.
        warm, _ = await bench.ask(of("ann"), chat(LONG, max_tokens=12))
        cold, usage = await bench.ask(of("nobody yet"), chat(LONG, max_tokens=12))
        assert usage.cached_tokens == 0
        assert warm == cold


async def test_nothing_of_it_is_another_persons(weights: Path, tmp_path: Path) -> None:
    async with service(tmp_path, weights) as bench:
        await bench.ask(of("ann"), chat(LONG))
    (kept,) = files(tmp_path)
    async with service(tmp_path, weights) as bench:
        assert (await bench.ask(of("ben"), chat(LONG)))[1].cached_tokens == 0
        assert (await bench.ask(of(""), chat(LONG)))[1].cached_tokens == 0
        assert bench.warmth.counts.restored == 0
    # Not even where somebody has put the file among his own.
    (own,) = {path.parent for path in files(tmp_path)} - {kept.parent}
    for path in own.iterdir():
        path.unlink()
    kept.rename(own / kept.name)
    async with service(tmp_path, weights) as bench:
        assert (await bench.ask(of("ben"), chat(LONG)))[1].cached_tokens == 0
        assert bench.warmth.counts.restored == 0
    assert kept.name not in {path.name for path in files(tmp_path)}


async def test_on_the_disk_there_is_nothing_to_read(weights: Path, tmp_path: Path) -> None:
    async with service(tmp_path, weights) as bench:
        await bench.ask(of("ann"), chat(LONG))
        tokens = await bench.pool.tokenize(bench.served, LONG)
        home = home_of(bench.served)
    states = States(tmp_path / "states", key_of, 100 * MiB, ENGINE)
    states.open()
    clear = in_clear(states, next(iter(states._of("ann").values())))
    assert home == next(iter(states._of("ann").values())).home
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert len(written) > len(clear) > MiB
    words = b"".join(token.id.to_bytes(4, "little") for token in tokens[5:25])
    assert words in clear  # a state has the conversation in it, token by token
    windows = [clear[at : at + 16] for at in range(0, len(clear) - 16, 4099)]
    for secret in (
        b"heron of Wallbeck",
        LONG[40:60].encode(),
        words,
        *(each for each in windows if len(set(each)) > 8),
    ):
        assert secret not in written
    assert b"ann" not in b"".join(str(path.relative_to(tmp_path)).encode() for path in files(tmp_path))


def in_clear(states: States, state: State) -> bytes:
    memory = os.memfd_create("clear")
    try:
        assert states.bring(state, memory)
        return os.pread(memory, state.size_bytes, 0)
    finally:
        os.close(memory)


async def test_what_has_to_make_room_is_saved_and_comes_back(weights: Path, tmp_path: Path) -> None:
    async with service(tmp_path, weights) as bench:
        _, first = await bench.ask(of("ann"), chat(LONG))
        _, other = await bench.ask(of("ben"), chat(LONG))
        assert other.cached_tokens == 0
        await bench.warmth.done()
        assert bench.warmth.counts.saved == 1
        _, again = await bench.ask(of("ann"), chat(LONG, "So", "And?"))
        assert again.cached_tokens > first.prompt_tokens - 20
        _, own = await bench.ask(of("ben"), chat(OTHER))
        assert own.cached_tokens < 40


def test_no_more_is_written_for_those_who_make_room_than_may_be_kept_in_an_hour() -> None:
    allowance = Allowance(1000, 0.0)
    written = 0
    for second in range(0, 36_000, 10):
        if allowance.is_left(float(second)):
            allowance.spend(300)
            written += 300
    assert 10_000 <= written <= 11_500
    assert allowance.is_left(100_000.0)


async def test_what_is_not_to_be_stored_is_not(weights: Path, tmp_path: Path) -> None:
    async with service(tmp_path, weights) as bench:
        await bench.ask(of("ann", passing=True), chat(LONG))
        await bench.ask(of(""), chat(LONG))
        await bench.ask(of("ben"), chat("Hello."))  # read sooner than brought back
        await bench.ask(
            of("cas"), replace(chat(LONG), deterministic=True, sampling=request(seed=1, max_tokens=2).sampling)
        )
    assert [path for path in files(tmp_path) if path.suffix == ".state"] == files(tmp_path)
    assert len(files(tmp_path)) <= 1  # that of the last one, who may have it stored
    async with service(tmp_path, weights) as bench:
        asked = replace(chat(LONG), deterministic=True, sampling=request(seed=1, max_tokens=2).sampling)
        assert (await bench.ask(of("cas"), asked))[1].cached_tokens == 0
        assert bench.warmth.counts.restored == 0


async def test_a_person_who_is_gone_leaves_nothing(weights: Path, tmp_path: Path) -> None:
    async with service(tmp_path, weights) as bench:
        await bench.ask(of("ann"), chat(LONG))
        await bench.ask(of("ben"), chat(OTHER))
        await bench.warmth.done()
        assert len(files(tmp_path)) == 1
        await bench.pool.forget("ann", for_good=True)
        await bench.pool.forget("ben", for_good=False)  # whose state is in the worker still
        assert list((tmp_path / "states").iterdir()) == []
    assert list((tmp_path / "states").iterdir()) == []


async def test_what_is_too_large_to_hand_over_stays(weights: Path, tmp_path: Path) -> None:
    async with service(tmp_path, weights, buffer_bytes=MiB) as bench:
        said, _ = await bench.ask(of("ann"), chat(LONG))
        await bench.pool.unload("m")
        assert files(tmp_path) == [] and bench.warmth.counts.failed == 1
        _, usage = await bench.ask(of("ann"), chat(LONG, said, "Go on."))
        assert usage.cached_tokens == 0


@pytest.mark.parametrize("harm", ["flipped", "another's"])
async def test_a_damaged_state_costs_nothing_but_time(harm: str, weights: Path, tmp_path: Path) -> None:
    async with service(tmp_path, weights) as bench:
        said, _ = await bench.ask(of("ann"), chat(LONG))
    (path,) = files(tmp_path)
    data = bytearray(path.read_bytes())
    if harm == "flipped":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    if harm == "another's":  # sealed as it should be, and nonsense to the engine
        clear = os.memfd_create("clear")
        os.write(clear, b"x" * MiB)
        states = States(tmp_path / "states", key_of, 100 * MiB, ENGINE)
        states.open()
        (state,) = states._of("ann").values()
        path.unlink()
        assert states.keep("ann", state.home, state.marks, clear, MiB)
        os.close(clear)
    async with service(tmp_path, weights) as bench:
        _, usage = await bench.ask(of("ann"), chat(LONG, said, "Go on."))
        assert usage.cached_tokens == 0
        assert bench.warmth.counts.restored == 0
        assert files(tmp_path) == []
        _, usage = await bench.ask(of("ann"), chat(LONG, said, "Go on."))
        assert usage.cached_tokens > 300
