"""Faults put into the service on purpose: the simulation finds each, in a few seeds, and says what is wrong."""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from simulate.run import run

from intramural.audit import AuditLog
from intramural.metering import QuotaRows
from intramural.services.inference import Inference
from intramural.services.quotas import Quotas
from intramural.serving import Pool, scheduler
from intramural.serving.slots import Place, Seat
from intramural.storage import Database

Mutate = Callable[[pytest.MonkeyPatch], None]
#: So many seeds are tried at most.
_SEEDS = 40


def nothing_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Quotas, "settle", lambda self, hold, usage, engine_ms=None: ())


def the_log_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    record = AuditLog.record

    def hasty(self: AuditLog, *args: Any, **kwargs: Any) -> "asyncio.Future[int]":
        record(self, *args, **kwargs).add_done_callback(lambda done: done.cancelled() or done.exception())
        told: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        told.set_result(self.size)
        return told

    monkeypatch.setattr(AuditLog, "record", hasty)


def what_a_slot_holds_is_used_for_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    take = Seat.take
    monkeypatch.setattr(Seat, "take", lambda self, *args, **more: Place(take(self, *args, **more).slot, reuse=True))


def whoever_leaves_keeps_the_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    post = Pool._post
    monkeypatch.setattr(
        Pool, "_post", lambda self, fact: None if isinstance(fact, scheduler.Left) else post(self, fact)
    )


def workers_that_stop_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    make_room = scheduler._Turn._make_room

    def greedy(self: Any, waiting: Any, reserved_bytes: int, held: set[int]) -> int:
        stopping = sum(w.demand.memory_bytes for w in self._workers.values() if w.phase is scheduler.Phase.STOPPING)
        rules, self._rules = self._rules, replace(self._rules, budget_bytes=self._rules.budget_bytes + stopping)
        try:
            return make_room(self, waiting, reserved_bytes, held)
        finally:
            self._rules = rules

    monkeypatch.setattr(scheduler._Turn, "_make_room", greedy)


def the_meter_is_written_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    ending = Inference._record_ending

    async def apart(self: Any, run: Any, row: Any, facts: Any, rows: Any, charged: Sequence[Any]) -> None:
        await self._meter.record(row)
        insertion = self._meter.insertion
        self._meter.insertion = lambda row: QuotaRows(self._audit._db).settle("nobody", ())[0]
        try:
            await ending(self, run, row, facts, rows, charged)
        finally:
            self._meter.insertion = insertion

    monkeypatch.setattr(Inference, "_record_ending", apart)


def what_a_kill_left_open_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    charge = QuotaRows.charge
    monkeypatch.setattr(QuotaRows, "charge", lambda self, connection, name, charges: charge(self, connection, name, ()))


def a_full_disk_is_not_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def untold(self: AuditLog, group: Sequence[Any], error: Exception) -> None:
        for each in group:
            if not each.position.done():
                each.position.set_result(0)

    monkeypatch.setattr(AuditLog, "_failed", untold)


def nobody_is_told_that_a_worker_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    post = Pool._post
    monkeypatch.setattr(
        Pool, "_post", lambda self, fact: None if isinstance(fact, scheduler.WorkerGone) else post(self, fact)
    )


def no_alarm_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pool, "_set_timer", lambda self: None)


def transactions_are_committed_in_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries first, and what belongs to them in another transaction."""
    write = Database.write
    append = AuditLog._append

    async def halved(self: Database, work: Any) -> Any:
        more = getattr(work, "keywords", {}).get("beside")
        if getattr(work, "func", None) is None or not more:
            return await write(self, work)
        log = work.func.__self__
        found = await write(self, lambda connection: append(log, connection, work.keywords["records"], ()))

        def rest(connection: Any) -> None:
            for row in more:
                connection.execute(row.statement, row.values)

        await write(self, rest)
        return found

    monkeypatch.setattr(Database, "write", halved)


#: What is said, and a seed that finds it; a change of what seeds stand for moves that on by some.
FAULTS: Sequence[tuple[Mutate, str, int]] = (
    (nothing_is_settled, "hold something|still holds", 1),
    (the_log_is_not_waited_for, "metered None|question is not there", 0),
    (what_a_slot_holds_is_used_for_anybody, "goes on from what", 0),
    (whoever_leaves_keeps_the_slot, "are busy at the end", 0),
    (workers_that_stop_take_no_memory, "memory: workers have", 0),
    (the_meter_is_written_by_itself, "in log or meter alone", 1),
    (what_a_kill_left_open_is_forgotten, "are due", 3),
    (a_full_disk_is_not_noticed, "metered None|question is not there|the limits are", 0),
    (nobody_is_told_that_a_worker_is_gone, "for nobody|while nothing is done", 0),
    (no_alarm_is_set, "for nobody|while nothing is done", 0),
    (transactions_are_committed_in_two, "in log or meter alone", 23),
)


@pytest.mark.parametrize(("mutate", "told", "first"), FAULTS, ids=[each[0].__name__ for each in FAULTS])
def test_a_fault_is_found(mutate: Mutate, told: str, first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch)
    wrong: list[str] = []
    for seed in range(first, first + _SEEDS):
        wrong += run(seed).wrong
        if any(re.search(told, each) for each in wrong):
            return
    raise AssertionError(f"in {_SEEDS} seeds it was not found, but: {wrong[:3]}")
