"""What becomes of batches: expiry, faults of the service, fair turns, people first."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest
from sqlalchemy import delete
from tests import databases
from tests.audit.settable_clock import SettableClock
from tests.vaults import vault_in

from intramural.audit import AuditLog
from intramural.batches import Batches, Line
from intramural.core.actor import SCOPES, Actor
from intramural.core.config import AuditConfig, BatchesConfig, FilesConfig
from intramural.core.errors import Conflicting, Misasked, Refused, Unauthenticated
from intramural.files import Disk, Files
from intramural.services.batch_work import Item, Reply, Workshop
from intramural.services.batches import WINDOW_MS, BatchDesk
from intramural.services.gate import Gate
from intramural.storage import Database
from intramural.storage.schema import people
from intramural.vault import Vault

MIA, BOB = (Actor("person", name, name, "member", frozenset(SCOPES), f"session_{name}") for name in ("mia", "bob"))


class Form:
    """The plainest form there is: a line is its own name and its own request."""

    dialect, prefix, writes_files = "plain", "plain", False

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.turn = asyncio.Semaphore(0)
        self.replies: list[Reply | Exception] = []

    def item(self, line: bytes, endpoint: str) -> Item:
        return Item(line.decode().strip(), line.strip())

    async def ask(self, actor: Actor, endpoint: str, body: bytes) -> Reply:
        self.asked.append(f"{actor.username} {body.decode()}")
        await self.turn.acquire()
        reply = self.replies.pop(0) if self.replies else Reply(200, b"{}", "req")
        if isinstance(reply, Exception):
            raise reply
        return reply

    def result(self, line: Line) -> tuple[bytes | None, bytes | None]:
        raise AssertionError


class Bench:
    """A desk over a real database, disk and log."""

    def __init__(self, db: Database, vault: Vault, audit: AuditLog, root: Path, clock: SettableClock) -> None:
        self.db, self.clock, self.audit, self.form = db, clock, audit, Form()
        self.barred = set[str]()
        self.inputs = Disk(root / "batches", vault, 0)
        self.rows = Batches(db, vault, clock)
        shop = Workshop(
            rows=self.rows,
            inputs=self.inputs,
            files=Files(db, vault, root / "files", FilesConfig(keep_free_bytes=0), clock),
            audit=audit,
            again=self.again,
            clock=clock,
            config=BatchesConfig(parallel=2, max_person_open=3, max_requests=4),
            max_line_bytes=1000,
        )
        self.desk = BatchDesk(Gate(audit), shop)
        self.desk.speak(self.form)

    async def again(self, kind: str, person_id: str, credential_id: str, *_workspace: str | None) -> Actor:
        if person_id in self.barred:
            raise Unauthenticated("disabled_person", "Not any more.")
        return {"mia": MIA, "bob": BOB}[person_id]

    async def begin(self, actor: Actor, *lines: str) -> str:
        batch = await self.desk.create_from_lines(actor, "plain", "/x", [line.encode() for line in lines])
        return batch.id

    async def asked(self, count: int) -> list[str]:
        """Once so many were asked."""
        while len(self.form.asked) < count:
            await asyncio.sleep(0.001)
        return self.form.asked

    async def ended(self, batch_id: str) -> tuple[str, list[tuple[str, str]]]:
        """State and (name, outcome) of every line, once it is over."""
        while (found := await self.rows.find(batch_id)) is not None and found.is_open:
            await asyncio.sleep(0.001)
        assert found is not None
        async with aclosing(self.rows.lines(found)) as lines:
            return found.state, [(line.custom_id, line.outcome) async for line in lines]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        clock = SettableClock()
        db = await databases.opened(tmp_path / "test.db")
        stack.push_async_callback(db.close)
        await databases.add_people(db, "mia", "bob")
        audit = await AuditLog.open(db, tmp_path / "secrets", AuditConfig(), clock)
        stack.push_async_callback(audit.close)
        bench = Bench(db, await vault_in(db, tmp_path, "mia", "bob"), audit, tmp_path, clock)
        await bench.desk.recall()
        await bench.desk.go_on()
        stack.push_async_callback(bench.desk.close)
        yield bench


async def test_one_line_at_a_time_and_one_batch_of_each_person(bench: Bench) -> None:
    mine = [await bench.begin(MIA, "a", "b") for _ in range(2)]
    his = await bench.begin(BOB, "x")
    assert sorted(await bench.asked(2)) == ["bob x", "mia a"]
    await asyncio.sleep(0.02)
    assert len(bench.form.asked) == 2
    for _ in range(5):
        bench.form.turn.release()
    for each in (*mine, his):
        assert (await bench.ended(each))[0] == "completed"
    assert [each for each in bench.form.asked if each.startswith("mia")] == ["mia a", "mia b"] * 2
    assert bench.inputs.ids() == set()


async def test_after_a_day_what_is_left_expires(bench: Bench) -> None:
    batch = await bench.begin(MIA, "a", "b", "c")
    await bench.asked(1)
    bench.clock.offset_s += WINDOW_MS / 1000
    bench.form.turn.release()
    assert await bench.ended(batch) == ("expired", [("a", "succeeded"), ("b", "expired"), ("c", "expired")])


async def test_cancelling_ends_the_line_that_is_being_answered(bench: Bench) -> None:
    batch = await bench.begin(MIA, "a", "b")
    bench.form.turn.release()
    await bench.asked(2)
    await bench.desk.cancel(MIA, "plain", batch)
    assert await bench.ended(batch) == ("cancelled", [("a", "succeeded"), ("b", "canceled")])
    with pytest.raises(Conflicting):
        await bench.desk.cancel(MIA, "plain", batch)


async def test_one_that_waits_is_cancelled_at_once(bench: Bench) -> None:
    for _ in range(2):
        waits = await bench.begin(MIA, "a")
    await bench.asked(1)
    await bench.desk.cancel(MIA, "plain", waits)
    assert await bench.ended(waits) == ("cancelled", [("a", "canceled")])


async def test_who_is_shut_out_is_answered_no_more(bench: Bench) -> None:
    batch = await bench.begin(MIA, "a", "b")
    await bench.asked(1)
    bench.barred.add("mia")
    bench.form.turn.release()
    assert await bench.ended(batch) == ("cancelled", [("a", "succeeded"), ("b", "canceled")])
    found = await bench.rows.find(batch)
    assert found is not None and found.errors[0]["code"] == "disabled_person"


async def test_a_removed_person_ends_it_without_a_trace(bench: Bench) -> None:
    await bench.begin(MIA, "a", "b")
    await bench.asked(1)
    async with bench.db.writing() as connection:
        await connection.execute(delete(people).where(people.c.id == "mia"))
    bench.form.turn.release()
    his = await bench.begin(BOB, "x")
    bench.form.turn.release()
    assert (await bench.ended(his))[0] == "completed"
    await bench.desk.sweep()
    assert bench.inputs.ids() == set() and bench.form.asked == ["mia a", "bob x"]


async def test_a_fault_of_the_service_ends_one_batch_and_not_the_others(bench: Bench) -> None:
    bench.form.replies = [ZeroDivisionError("ours")]
    batch = await bench.begin(MIA, "a", "b")
    bench.form.turn.release()
    assert await bench.ended(batch) == ("cancelled", [("a", "canceled"), ("b", "canceled")])
    again = await bench.begin(MIA, "c")
    bench.form.turn.release()
    assert (await bench.ended(again))[0] == "completed"


async def test_an_overloaded_service_is_asked_again(bench: Bench) -> None:
    bench.form.replies = [Reply(503, b"{}", None), Reply(200, b"{}", "req")]
    batch = await bench.begin(MIA, "a")
    for _ in range(2):
        bench.form.turn.release()
    assert await bench.ended(batch) == ("completed", [("a", "succeeded")])
    assert bench.form.asked == ["mia a"] * 2


async def test_what_is_not_finished_goes_on_at_the_next_start(bench: Bench, tmp_path: Path) -> None:
    batch = await bench.begin(MIA, "a", "b", "c")
    bench.form.turn.release()
    await bench.asked(2)
    await bench.desk.close()
    later = Bench(bench.db, await vault_in(bench.db, tmp_path), bench.audit, tmp_path, bench.clock)
    await later.desk.recall()
    await later.desk.go_on()
    for _ in range(2):
        later.form.turn.release()
    assert (await later.ended(batch))[0] == "completed"
    assert (bench.form.asked, later.form.asked) == (["mia a", "mia b"], ["mia b", "mia c"])
    await later.desk.close()


async def test_bounds(bench: Bench) -> None:
    with pytest.raises(Misasked) as refused:
        await bench.begin(MIA, "a", "b", "c", "d", "e")
    assert refused.value.code == "too_many_requests_in_batch"
    for _ in range(3):
        await bench.begin(MIA, "a")
    with pytest.raises(Refused):
        await bench.begin(MIA, "a")
    assert len(bench.inputs.ids()) == 3, "the refused one left its input"
