"""One seed: its lives one after another, what was seen in each, and what was wrong."""

import asyncio
import gc
import hashlib
import logging
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random

from intramural.core.actor import CONSOLE
from intramural.core.errors import IntramuralError
from intramural.metering import Limit as Quota
from simulate.disk import Disk, inline, is_lock
from simulate.life import DATABASE, House, SimulatedClock, furnish, furnished, quota_of
from simulate.loop import Killed, Loop, Stuck
from simulate.people import Told, actor_of, asks
from simulate.plan import Act, Ask, Life, Limit, Plan, Trouble, plan_of
from simulate.witness import Witness
from simulate.worker import Seen, SimulatedSpawner

#: A life that is not over after so long hangs: the longest wait of anything in it is a time-out of 900 s.
LONGEST_S = 4 * 3600.0
#: Nobody waits so long while nothing at all is done.
_IDLE_S = 45.0
#: So long after all is over no worker is there that need not be: the longest it may stay idle is a minute.
_QUIET_S = 70.0
#: As fast as a disk is, and as slow as one gets.
_QUICK_S, _SLOW_S = 0.002, 1.0


@dataclass
class Verdict:
    """What came of a seed. `digest` is that of the trace: the same for the same seed, always."""

    seed: int
    wrong: list[str]
    trace: list[str]
    steps: int
    lives: int
    kills: int
    requests: int
    outcomes: dict[str, int] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()


def run(seed: int, plan: Plan | None = None) -> Verdict:
    """Live through what `seed` stands for."""
    for name in ("intramural", "sqlalchemy"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    _template()
    _keep_for_good()
    gc.disable()  # what the collector finds, and when, depends on what ran before
    scratch = Path(tempfile.mkdtemp(prefix="simulate-", dir=_fast_disk()))
    try:
        with inline():
            return _Seed(plan or plan_of(seed), scratch).run()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        gc.enable()


def checked(seed: int, *, twice_every: int) -> Verdict:
    """The verdict on `seed`, without its trace; one in so many is run twice, and must be the same (0: none)."""
    verdict = run(seed)
    if twice_every and seed % twice_every == 0 and (again := run(seed)).digest != verdict.digest:
        pairs = zip(verdict.trace, again.trace, strict=False)
        first = next((pair for pair in pairs if pair[0] != pair[1]), ("", ""))
        verdict.wrong.append(f"not the same twice: {first[0][:300]!r}, then {first[1][:300]!r}")
    verdict.trace = []
    return verdict


def _fast_disk() -> Path | None:
    """Memory, where there is such a disk: what is lost with the power is not simulated."""
    found = Path("/dev/shm")
    return found if found.is_dir() else None


class _Seed:
    def __init__(self, plan: Plan, scratch: Path) -> None:
        self.plan = plan
        self.scratch = scratch
        self.witness = Witness(plan)
        self.clock = SimulatedClock(Random(f"{plan.seed} clock"))
        self.trace: list[str] = [f"{sorted(plan.faults)} {plan!r}"]
        self.steps = self.kills = 0

    def run(self) -> Verdict:
        folder = furnished(_template(), self.scratch / "life-0")
        for number, life in enumerate(self.plan.lives):
            folder = _Living(self, life, number, folder).run()
            if self.witness.wrong:
                break
        gc.collect()  # now, so that what nobody was told of is known before the end
        outcomes: dict[str, int] = {}
        for told in self.witness.told:
            outcomes[told.outcome or "killed"] = outcomes.get(told.outcome or "killed", 0) + 1
        trace = list(self.trace)  # what the collector finds later belongs to nobody
        asked = len(self.witness.told)
        return Verdict(self.plan.seed, self.witness.wrong, trace, self.steps, number + 1, self.kills, asked, outcomes)


class _Living:
    """One life."""

    def __init__(self, seed: _Seed, life: Life, number: int, folder: Path) -> None:
        self.seed, self.life, self.number, self.folder = seed, life, number, folder
        self.plan, self.witness = seed.plan, seed.witness
        name = f"{seed.plan.seed} life {number}"
        self.loop = Loop(Random(f"{name} loop"), LONGEST_S)
        self.loop.slowness_s = _QUICK_S
        self.loop.waits_for = is_lock
        self.loop.told = self._uncaught
        self.loop.killed_at = life.killed_at
        self.chance = Random(f"{name} end")
        self.disk = Disk(folder / DATABASE)
        self.seen = Seen(seed.plan.budget_bytes)
        self.seen.told = self.note
        self.spawner = SimulatedSpawner(Random(f"{name} workers"), life.engines, life.wires, self.seen)
        self.storage_failed = False

    def note(self, what: str) -> None:
        """One line of the trace."""
        self.seed.trace.append(f"{self.number} {self.loop.time():.6f} {self.loop.steps} {what}")

    def _uncaught(self, what: str) -> None:
        """The stand-in engine may be cut off anywhere; the service's own errors have all somebody who is told."""
        if "/intramural/" in what:
            self.witness.wrong.append(f"in life {self.number}: nobody was told of: {what}")

    def run(self) -> Path:
        """Live, and die. Returns where what it left lies."""
        self.seed.clock.begin(self.loop)
        told = [Told(ask, self.number) for ask in self.life.asks]
        self.witness.told += told
        next_folder, stopped_well = self.folder, False
        try:
            self.loop.run_until_complete(self._live(told))
            stopped_well = True
            self.note("stopped")
            self.disk.mend()
            self.loop.close()
        except Killed:
            next_folder = self.folder.with_name(f"life-{self.number + 1}")
            became = self.disk.left_by_a_kill(next_folder, self.loop, self.chance, tears=self.life.tears)
            self.note(f"killed; the commit under way: {became}")
            self.seed.kills += 1
            self.loop.bury()
        except (Stuck, Exception) as stuck:
            self.disk.mend()
            waiting = [t.request_id for t in told if t.began_s and not t.outcome]
            self.witness.wrong.append(f"in life {self.number}: {stuck!r}; not answered: {waiting}")
            self.loop.bury()
            return self.folder
        finally:
            self.disk.mend()
        self.seed.steps += self.loop.steps
        for each in told:
            self.witness.wrong += [f"in life {self.number}: {each.request_id} {what}" for what in each.wrong]
        self.witness.wrong += [f"in life {self.number}: {what}" for what in self.seen.wrong]
        rows = self.witness.look(
            next_folder, stopped_well=stopped_well, storage_failed=self.storage_failed, life=self.number
        )
        self.note(f"left {rows.events} events, {sorted(rows.used.items())}, {sorted(rows.held)}")
        if next_folder != self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
        return next_folder

    async def _live(self, told: Sequence[Told]) -> None:
        house = await House.open(self.folder, self.plan, self.seed.clock, self.spawner, self.witness.held)
        self.witness.verifier = str(house.audit.verifier)
        self.witness.notes.append(house.audit.checkpoint())
        self.note(f"opened at {house.audit.size}")
        if not self.witness.most:
            for limit in self.plan.limits:
                await self._set(house, limit)
        asking = [asyncio.create_task(self._arrives(house, each)) for each in told]
        beside = [
            asyncio.create_task(self._acts(house)),
            asyncio.create_task(self._troubles()),
            asyncio.create_task(self._watches(house)),
        ]
        if self.life.stopped_s is None:
            await asyncio.gather(*asking)
        else:
            await asyncio.sleep(self.life.stopped_s)
            self.note("clients are cut off")
            for task in asking:
                task.cancel()
            await asyncio.wait(asking)
        await asyncio.gather(*beside[:2])
        beside[2].cancel()
        await house.inference.drained()
        await self._is_quiet(house)
        await house.close()
        left = [task for task in asyncio.all_tasks() if "/intramural/" in task.get_coro().cr_code.co_filename]  # type: ignore[union-attr]
        if left:
            self.witness.wrong.append(f"in life {self.number}: still running: {sorted(t.get_name() for t in left)}")
        if self.seen.alive:
            self.witness.wrong.append(f"in life {self.number}: workers outlive the service: {self.seen.alive}")

    # What happens

    async def _arrives(self, house: House, told: Told) -> None:
        ask: Ask = told.ask
        await asyncio.sleep(ask.at_s)
        self.note(f"{ask.name} asks")
        try:
            await asks(house, told, self.loop)
        except asyncio.CancelledError:
            told.outcome = ""
            told.ended("cut off", self.loop.time())
        self.storage_failed |= told.outcome in ("audit_unavailable", "vault_unavailable")
        self.note(f"{ask.name} {told.outcome} {told.usage} {sorted(told.texts.items())}")

    async def _acts(self, house: House) -> None:
        began_s = self.loop.time()
        for act in self.life.acts:
            await asyncio.sleep(max(0.0, began_s + act.at_s - self.loop.time()))
            with suppress(IntramuralError):
                await self._act(house, act)

    async def _act(self, house: House, act: Act) -> None:
        self.note(f"{act.what} {act.model}")
        pool = house.pool
        match act.what:
            case "limit":
                await self._set(house, act.limit)
            case "unlimit" if self.witness.limits:
                limit_id = min(self.witness.limits)
                self.witness.will_remove(limit_id)
                await house.quotas.remove(CONSOLE, limit_id)
                self.witness.is_done(limit_id)
            case "unload":
                await pool.unload(act.model)
            case "pin" | "unpin":
                pool.pin(act.model, act.what == "pin")
            case "keep":
                pool.keep(act.model, act.number)

    async def _set(self, house: House, limit: Limit) -> None:
        wanted = quota_of(limit)
        known = {(each.measure, each.period, each.each): each.id for each in await _limits(house)}
        same = known.get((wanted.measure, wanted.period, wanted.each))
        if same is None:
            self.witness.new = (wanted.measure, wanted.amount)
        else:
            self.witness.will_set(same, wanted.measure, wanted.amount)
        try:
            made = await house.quotas.set(CONSOLE, wanted)
        except IntramuralError:
            self.storage_failed = True
            self.witness.new = None
            if same is not None:
                self.witness.in_doubt.pop(same)  # it was told that nothing was done
            raise
        self.witness.will_set(made.id, made.measure, made.amount)
        self.witness.is_done(made.id)
        self.witness.new = None
        self.witness.notes.append(house.audit.checkpoint())

    async def _troubles(self) -> None:
        """One after another; in the end all is well again."""
        began_s = self.loop.time()
        for trouble in self.life.troubles:
            await asyncio.sleep(max(0.0, began_s + trouble.at_s - self.loop.time()))
            self.note(f"{trouble.what} for {trouble.lasts_s} s")
            self._begin(trouble)
            await asyncio.sleep(trouble.lasts_s)
            self.disk.mend()
            self.loop.slowness_s = _QUICK_S

    def _begin(self, trouble: Trouble) -> None:
        match trouble.what:
            case "full":
                self.storage_failed = True
                self.disk.fill(int(trouble.size))
            case "locked":
                self.storage_failed |= trouble.lasts_s >= self.loop.patience_s
                self.disk.lock()
            case "slow":
                self.loop.slowness_s = _SLOW_S
            case "clock":
                self.seed.clock.off_s += trouble.size

    # What must be so meanwhile

    async def _watches(self, house: House) -> None:
        """Somebody waits, nobody is answered, and for long nothing changes: then their turn never comes."""
        idle_s, before = 0.0, None
        while True:
            await asyncio.sleep(1.0)
            status = house.pool.status()
            seen = status.waiting, [(each.name, each.state, each.slots_busy) for each in status.workers]
            stands = bool(status.queued) and seen == before and not any(each.slots_busy for each in status.workers)
            idle_s, before = idle_s + 1.0 if stands else 0.0, seen
            if idle_s > _IDLE_S:
                self.witness.wrong.append(f"in life {self.number}: {status.queued} wait while nothing is done")
                return

    async def _is_quiet(self, house: House) -> None:
        """Nobody asks any more: nothing is held, nobody waits, and what is in memory is what is on the disk."""
        await asyncio.sleep(_QUIET_S)
        status = house.pool.status()
        for each in status.workers:
            if each.state != "ready" or (each.left_s == 0.0 and not each.pinned):
                self.witness.wrong.append(f"in life {self.number}: {each.name} is still {each.state}, for nobody")
        busy = [each.name for each in status.workers if each.slots_busy]
        if status.queued or busy:
            self.witness.wrong.append(f"in life {self.number}: {status.queued} wait and {busy} are busy at the end")
        for person in sorted({told.ask.person for told in self.witness.told}):
            ask = Ask("", 0.0, person, self.plan.models[0].name)
            for standing in await house.quotas.own(actor_of(ask)):
                if standing.held:
                    what = f"quotas: {person} still holds {standing.held} {standing.limit.measure}"
                    self.witness.wrong.append(f"in life {self.number}: {what}")
        if self.plan.calm and self.plan.settings["queue_timeout_s"] > 100:
            late = [told.request_id for told in self.witness.told if told.outcome == "queue_timeout"]
            if late:
                self.witness.wrong.append(f"in life {self.number}: nothing is wrong, and {late} never had their turn")


async def _limits(house: House) -> list[Quota]:
    return [each.limit for each in await house.quotas.all(CONSOLE)]


@cache
def _keep_for_good() -> None:
    """What is there before any seed stays: to look through it after each took a fifth of the time."""
    gc.freeze()


@cache
def _template() -> Path:
    """What every seed begins with: made once in a process."""
    folder = Path(tempfile.mkdtemp(prefix="simulate-template-", dir=_fast_disk()))
    clock = SimulatedClock(Random("template"))
    loop = Loop(Random("template"), LONGEST_S)
    with inline():
        loop.run_until_complete(furnish(folder, clock))
    loop.close()
    return folder
