"""What confined processes were refused: in the log, once and not too often; an alarm that lasts a day; numbers."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from tests import databases
from tests.audit.settable_clock import SettableClock

from intramural.audit import AuditLog, Entry, Event
from intramural.core.config import AuditConfig
from intramural.sandbox import Launch, spawn
from intramural.sandbox.hearing import OTHERS, Calls, Denied
from intramural.services.denials import ALARM_MS, BURST, ONE_EVERY_S, Denials, Pace, kind_of

_WORKER = "intramural.serving.engine:serve"


def denied(calls: Calls, number: int = 1, entry: str = _WORKER, about: str = "model:tiny") -> Denied:
    return Denied(number, 4000 + number, entry, about, calls)


class Desk:
    def __init__(self, audit: AuditLog, clock: SettableClock) -> None:
        self.audit, self.clock = audit, clock
        self.denials = Denials(audit, clock)

    async def events(self) -> list[Entry]:
        """Oldest first."""
        await self.denials.settled()
        return (await self.audit.entries(limit=1000, event=Event.SANDBOX_DENIED))[::-1]


@asynccontextmanager
async def _desk(tmp_path: Path, clock: SettableClock) -> AsyncIterator[Desk]:
    async with AsyncExitStack() as stack:
        db = await databases.opened(tmp_path / "intramural.db")
        stack.push_async_callback(db.close)
        audit = await AuditLog.open(db, tmp_path / "secrets", AuditConfig(), clock)
        stack.push_async_callback(audit.close)
        made = Desk(audit, clock)
        await made.denials.open()
        stack.push_async_callback(made.denials.close)
        yield made


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with _desk(tmp_path, SettableClock()) as made:
        yield made


#: (seconds since the one before, whether it may be written), from a full allowance on
_PACES = {
    "a burst, and no more": [*[(0.0, True)] * BURST, (0.0, False), (ONE_EVERY_S / 2, False)],
    "one a minute after it": [*[(0.0, True)] * BURST, (ONE_EVERY_S, True), (0.0, False), (ONE_EVERY_S, True)],
    "never more than a burst": [(0.0, True), *[(1e9, True)], *[(0.0, True)] * (BURST - 1), (0.0, False)],
    "a clock that goes back gives nothing": [*[(0.0, True)] * BURST, (-1e9, False), (ONE_EVERY_S, True)],
}


@pytest.mark.parametrize("what", _PACES)
def test_events_have_a_pace(what: str) -> None:
    pace, now_s = Pace(), 100.0
    for later_s, may in _PACES[what]:
        now_s += later_s
        assert pace.may(now_s) == may


def test_what_a_process_is() -> None:
    assert kind_of(_WORKER) == "worker"
    assert kind_of("intramural.egress.process:serve") == "broker"
    assert kind_of("intramural.library.inspecting:inspect") == "child"
    assert kind_of("nothing") == "child"


async def test_a_call_of_a_process_is_one_event_and_an_alarm(desk: Desk) -> None:
    assert not desk.denials.alarm().red
    desk.denials.heard(denied({"socket": 2}))
    desk.denials.heard(denied({"socket": 40, "execve": 1}))
    desk.denials.heard(denied({"ptrace": 1}, 2, "intramural.library.x:inspect", ""))
    events = await desk.events()
    assert [(each.target, each.facts["process"], each.facts["call"], each.facts["count"]) for each in events] == [
        ("model:tiny", "worker", "socket", 2),
        ("model:tiny", "worker", "execve", 1),
        ("child", "child", "ptrace", 1),
    ]
    alarm = desk.denials.alarm()
    assert alarm.red and "sandbox.denied" in alarm.why
    assert [(each.kind, each.about, dict(each.calls)) for each in alarm.refused] == [
        ("child", "", {"ptrace": 1}),
        ("worker", "model:tiny", {"socket": 42, "execve": 1}),
    ]
    numbers = desk.denials.numbers()
    assert numbers.red
    assert numbers.counts == {("worker", "socket"): 42, ("worker", "execve"): 1, ("child", "ptrace"): 1}


async def test_nobody_fills_the_log_by_it(desk: Desk) -> None:
    for number in range(1000):
        desk.denials.heard(denied({"socket": 1, "bpf": 1}, number))
    assert len(await desk.events()) == BURST
    assert len(desk.denials.alarm().refused) < 100
    assert sum(desk.denials.numbers().counts.values()) == 2000, "counted are all"
    await desk.denials.close()
    last = (await desk.events())[-1]
    assert (last.facts["call"], last.facts["count"]) == (OTHERS, 2000 - BURST)


async def test_the_alarm_lasts_a_day_and_over_a_restart(tmp_path: Path) -> None:
    clock = SettableClock()
    async with _desk(tmp_path, clock) as before:
        before.denials.heard(denied({"socket": 1}))
    async with _desk(tmp_path, clock) as after:
        alarm = after.denials.alarm()
        assert (alarm.red, alarm.refused) == (True, ())
        clock.offset_s += ALARM_MS / 1000 + 1
        assert not after.denials.alarm().red
        assert not after.denials.numbers().red


async def test_what_a_real_child_tries_is_in_the_log(desk: Desk) -> None:
    launch = Launch("engine", "tests.sandbox.told_entries:tries_and_says", {"names": ["socket"]}, about="model:hostile")
    child = await spawn(launch)
    await child.wait()
    (event,) = await desk.events()
    assert (event.target, event.facts["call"], event.facts["pid"]) == ("model:hostile", "socket", child.pid)
    assert desk.denials.alarm().red
