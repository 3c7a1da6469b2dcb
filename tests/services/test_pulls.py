"""Pulls: durable, paused and gone on with, shared, cancelled; each ending one entry of the log."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from tests import databases
from tests.fakes.gguf_file import tiny_model
from tests.fakes.source import LyingSource, flipped
from tests.library.shop import Shop
from tests.library.test_quarantine import SUSPICIOUS

from intramural.audit import AuditLog
from intramural.core.actor import SCOPES, SYSTEM, Actor
from intramural.core.clock import SystemClock
from intramural.core.config import AuditConfig
from intramural.core.errors import Conflicting, IntramuralError, Misasked, Missing, Refused, Untrusted
from intramural.library import Source
from intramural.services.gate import Gate
from intramural.services.pulls import Pulls, rate_of

BODY = tiny_model(extra_bytes=4096)
MEMBER = Actor("person", "person_mia", "mia", "member", frozenset(SCOPES), "session_1")


class Desk:
    """Pulls over a real database, log and library; sources are looked up in `sources` by their text."""

    def __init__(self, pulls: Pulls, audit: AuditLog, shop: Shop, sources: dict[str, LyingSource]) -> None:
        self.pulls = pulls
        self.audit = audit
        self.shop = shop
        self.sources = sources

    async def events(self) -> list[tuple[str, str]]:
        """(event, outcome), oldest first, of everything the log holds about models."""
        entries = await self.audit.entries()
        return [(e.event, e.outcome) for e in reversed(entries) if e.event.startswith("model.")]


@asynccontextmanager
async def opened(root: Path, sources: dict[str, LyingSource]) -> AsyncIterator[Desk]:
    """A service's part that pulls models, from its start to its end."""

    def parse(text: str, actor: Actor) -> Source:
        if text not in sources:
            raise Misasked("bad_source", f"{text} is not a source.")
        return sources[text]

    async with AsyncExitStack() as stack:
        clock = SystemClock()
        db = await databases.opened(root / "test.db")
        stack.push_async_callback(db.close)
        audit = await AuditLog.open(db, root / "secrets", AuditConfig(), clock)
        stack.push_async_callback(audit.close)
        shop = Shop(root / "library")
        pulls = Pulls(Gate(audit), shop.library, audit, db, clock, parse)
        await pulls.recall()
        stack.push_async_callback(pulls.close)
        yield Desk(pulls, audit, shop, sources)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with opened(tmp_path, {}) as desk:
        yield desk


class Tap:
    """Lets a source's bytes through, or holds them."""

    def __init__(self, passes: int) -> None:
        self.left = passes
        self.opened = asyncio.Event()

    async def __call__(self) -> None:
        if self.left == 0:
            await self.opened.wait()
        self.left -= 1

    def open(self) -> None:
        self.opened.set()


def held(after: int = 3) -> tuple[LyingSource, Tap]:
    tap = Tap(after)
    return LyingSource(BODY, gate=tap), tap  # type: ignore[arg-type]  # any awaitable will do


async def until_bytes(desk: Desk, least: int) -> None:
    """Wait until the only pull has taken so many bytes."""
    while (await desk.pulls.list(SYSTEM))[0].done_bytes < least:
        await asyncio.sleep(0.001)


async def test_a_model_is_got_and_written_down(desk: Desk) -> None:
    desk.sources["fake:tiny"] = LyingSource(BODY)
    view = await desk.pulls.get(SYSTEM, "fake:tiny")
    assert (view.state, view.model, view.step, view.code) == ("shelved", "tiny", "shelved", None)
    assert await desk.events() == [("model.requested", "allowed"), ("model.shelved", "allowed")]
    assert [each.id for each in await desk.pulls.list(SYSTEM)] == [view.id]
    desk.shop.check_invariant()


async def test_a_quarantined_model_is_kept_and_said_so(desk: Desk) -> None:
    desk.sources["fake:tiny"] = LyingSource(SUSPICIOUS)
    view = await desk.pulls.get(SYSTEM, "fake:tiny")
    assert (view.state, view.model) == ("quarantined", "tiny")
    with pytest.raises(Refused) as refused:
        await desk.shop.library.open_verified(desk.shop.library.get("tiny"))
    assert refused.value.code == "model_quarantined"


async def test_a_refusal_says_why_and_is_written_down(desk: Desk) -> None:
    desk.sources["fake:tiny"] = LyingSource(BODY, flip=100)
    with pytest.raises(Untrusted) as refused:
        await desk.pulls.get(SYSTEM, "fake:tiny")
    assert refused.value.code == "digest_mismatch"
    view = (await desk.pulls.list(SYSTEM))[0]
    assert (view.state, view.step, view.code) == ("refused", "verifying", "digest_mismatch")
    assert view.message
    assert await desk.events() == [("model.requested", "allowed"), ("model.refused", "refused")]


async def test_what_breaks_off_can_be_gone_on_with(desk: Desk) -> None:
    source = desk.sources["fake:tiny"] = LyingSource(BODY, fail_after=1024)
    with pytest.raises(IntramuralError):
        await desk.pulls.get(SYSTEM, "fake:tiny")
    stopped = (await desk.pulls.list(SYSTEM))[0]
    assert (stopped.state, stopped.code) == ("stopped", "source_failed")
    source.fail_after = None
    again = await desk.pulls.get(SYSTEM, "fake:tiny")
    assert (again.id, again.state) == (stopped.id, "shelved")
    assert source.opened == [0, 1024]
    events = [event for event, _ in await desk.events()]
    assert events == ["model.requested", "model.pull_stopped", "model.pull_changed", "model.shelved"]


async def test_paused_and_resumed_from_where_it_was(desk: Desk) -> None:
    source, tap = held(after=4)
    desk.sources["fake:tiny"] = source
    view, is_new = await desk.pulls.begin(SYSTEM, "fake:tiny", None)
    assert is_new
    await until_bytes(desk, 512)
    paused = await desk.pulls.pause(SYSTEM, view.id)
    assert (paused.state, paused.bytes_per_s) == ("paused", None)
    with pytest.raises(Conflicting, match="paused"):
        await desk.pulls.pause(SYSTEM, view.id)
    tap.open()
    await desk.pulls.resume(SYSTEM, view.id)
    assert [each.state async for each in desk.pulls.watch(SYSTEM, view.id)][-1] == "shelved"
    assert source.opened[1] > 0


async def test_cancelled_leaves_nothing_behind(desk: Desk) -> None:
    desk.sources["fake:tiny"], _ = held()
    view, _ = await desk.pulls.begin(SYSTEM, "fake:tiny", None)
    await until_bytes(desk, 512)
    assert desk.shop.incoming()
    assert (await desk.pulls.cancel(SYSTEM, view.id)).state == "cancelled"
    assert desk.shop.incoming() == []
    with pytest.raises(Conflicting) as refused:
        await desk.pulls.resume(SYSTEM, view.id)
    assert refused.value.code == "pull_not_resumable"
    await desk.pulls.forget(SYSTEM, view.id)
    assert await desk.pulls.list(SYSTEM) == []


async def test_two_who_ask_for_the_same_share_it(desk: Desk) -> None:
    source, tap = held()
    desk.sources["fake:tiny"] = source
    first, _ = await desk.pulls.begin(SYSTEM, "fake:tiny", None)
    second, is_new = await desk.pulls.begin(SYSTEM, "fake:tiny", None)
    assert (second.id, is_new) == (first.id, False)
    tap.open()
    await desk.pulls.get(SYSTEM, "fake:tiny")
    assert source.opened == [0]


async def test_the_end_of_the_service_interrupts_and_its_start_goes_on(tmp_path: Path) -> None:
    source, tap = held(after=4)
    async with opened(tmp_path, {"fake:tiny": source}) as desk:
        view, _ = await desk.pulls.begin(SYSTEM, "fake:tiny", None)
        await until_bytes(desk, 512)
    tap.open()
    async with opened(tmp_path, {"fake:tiny": source}) as desk:
        assert (await desk.pulls.list(SYSTEM))[0].state == "stopped"
        await desk.pulls.go_on()
        views = [each async for each in desk.pulls.watch(SYSTEM, view.id)]
        assert views[-1].state == "shelved"
        assert source.opened[1] > 0
    async with opened(tmp_path, {}) as desk:
        assert (await desk.pulls.list(SYSTEM))[0].step == "shelved"
        assert [(each.id, each.state) for each in await desk.pulls.list(SYSTEM)] == [(view.id, "shelved")]


async def test_a_paused_pull_stays_paused_over_a_restart(tmp_path: Path) -> None:
    source, _ = held()
    async with opened(tmp_path, {"fake:tiny": source}) as desk:
        view, _ = await desk.pulls.begin(SYSTEM, "fake:tiny", None)
        await until_bytes(desk, 512)
        await desk.pulls.pause(SYSTEM, view.id)
    async with opened(tmp_path, {"fake:tiny": source}) as desk:
        await desk.pulls.go_on()
        assert (await desk.pulls.list(SYSTEM))[0].state == "paused"
        assert desk.shop.incoming()
        await desk.pulls.cancel(SYSTEM, view.id)
        assert desk.shop.incoming() == []


async def test_a_watcher_sees_the_bytes_come(desk: Desk) -> None:
    source, tap = held()
    desk.sources["fake:tiny"] = source
    view, _ = await desk.pulls.begin(SYSTEM, "fake:tiny", None)
    seen: list[int] = []

    async def watch() -> None:
        seen.extend([each.done_bytes async for each in desk.pulls.watch(SYSTEM, view.id)])

    watcher = asyncio.create_task(watch())
    await until_bytes(desk, 512)
    tap.open()
    await watcher
    assert seen[-1] == len(BODY)


async def test_who_may_not_is_refused_and_nothing_starts(desk: Desk) -> None:
    desk.sources["fake:tiny"] = LyingSource(BODY)
    with pytest.raises(Refused):
        await desk.pulls.begin(MEMBER, "fake:tiny", None)
    assert await desk.pulls.list(SYSTEM) == []


async def test_what_is_no_source_and_what_is_no_pull(desk: Desk) -> None:
    with pytest.raises(Misasked):
        await desk.pulls.begin(SYSTEM, "nonsense", None)
    with pytest.raises(Missing):
        await desk.pulls.pause(SYSTEM, "pull_none")
    assert await desk.events() == []


async def test_a_body_that_changed_during_the_pause_is_fetched_anew(desk: Desk) -> None:
    source, tap = held(after=4)
    source.body_after_resume = flipped(BODY, len(BODY) - 1)
    desk.sources["fake:tiny"] = source
    view, _ = await desk.pulls.begin(SYSTEM, "fake:tiny", None)
    await until_bytes(desk, 512)
    await desk.pulls.pause(SYSTEM, view.id)
    tap.open()
    await desk.pulls.get(SYSTEM, "fake:tiny")
    assert source.opened[1] > 0
    assert source.opened[2:] == [0]
    desk.shop.check_invariant()


RATES = [
    ([], None),
    ([(0.0, 100)], None),
    ([(0.0, 100), (2.0, 300)], 100.0),
    ([(0.0, 100), (1.0, 200), (4.0, 500)], 100.0),
    ([(1.0, 100), (1.0, 200)], None),
    ([(0.0, 100), (2.0, 100)], None),
]


@pytest.mark.parametrize(("samples", "rate"), RATES)
def test_the_rate_is_that_of_the_window(samples: list[tuple[float, int]], rate: float | None) -> None:
    assert rate_of(deque(samples)) == rate
