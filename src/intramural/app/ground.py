"""The rooms that were opened, and what all desks have in common: the gate, the meter, the holds."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from intramural import __version__
from intramural.access import Access, Action, AgeRules, Policy, When
from intramural.audit import AuditLog
from intramural.core.actor import Actor
from intramural.core.clock import Clock
from intramural.core.config import Config
from intramural.core.outward import Connect
from intramural.egress import Egress, Errand, Purpose
from intramural.guard import Names
from intramural.metering import Meter, Metrics, PoolNumbers, Traces, WorkerNumbers, zone_of
from intramural.retention import Holds
from intramural.sandbox import Posture
from intramural.services import Denials, WorkspaceDesk
from intramural.services.downgrades import Downgrade, downgrades
from intramural.services.enclosure import Enclosure
from intramural.services.gate import Gate
from intramural.services.standing import Again, standing
from intramural.serving import FLOOR, Pool
from intramural.storage import Database
from intramural.vault import Stored, Vault


@dataclass(slots=True)
class Ground:
    """What every part stands on: the rooms that were opened, and what the desks have in common."""

    config: Config
    db: Database
    vault: Vault
    audit: AuditLog
    access: Access
    pool: Pool
    traces: Traces
    posture: Posture
    enclosure: Enclosure | None
    clock: Clock
    policy: Policy
    ages: AgeRules
    names: Names
    egress: Egress
    denials: Denials
    gate: Gate = field(init=False)
    holds: Holds = field(init=False)
    meter: Meter = field(init=False)
    metrics: Metrics = field(init=False)
    workspaces: WorkspaceDesk = field(init=False)
    #: Whoever asked for what goes on by itself, as they may act by now.
    again: Again = field(init=False)
    #: All that the database has sealed, table by table: for erasing, exporting and changing keys.
    kept_whole: Stored = field(init=False)

    def __post_init__(self) -> None:
        traces, when = self.traces, _when(self.config, self.ages, self.clock)
        self.holds = Holds(self.db, self.clock)
        self.gate = Gate(self.audit, self.policy.rules, self.vault, self.holds.on, when)
        self.meter = Meter(self.db, self.clock)
        self.metrics = Metrics(
            __version__, lambda: _pool_numbers(self.pool), lambda: {"sent": traces.sent, "dropped": traces.dropped}
        )
        self.workspaces = WorkspaceDesk(self.gate, self.access.workspaces, self.audit, self.holds.on)
        self.again = standing(self.access.identify, self.workspaces)
        self.kept_whole = Stored(self.db, self.clock)

    @property
    def cores(self) -> int:
        return len(os.sched_getaffinity(0))

    @property
    def memory_bytes(self) -> int:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    def asked_for(self, purpose: Purpose) -> Callable[[Actor, str], Connect]:
        """The way for what somebody asks for; who may decide about the list has decided by asking."""

        def way(actor: Actor, about: str) -> Connect:
            approves = self.gate.decide(actor, Action.EGRESS_CHANGE).allowed
            return self.egress.way(Errand(actor, purpose, about, approves))

        return way


def engine_floor(config: Config) -> int:
    """The oldest build of llama.cpp that computes."""
    return max(FLOOR, config.sandbox.engine_floor)


def downgrades_of(config: Config, posture: Posture, enclosure: Enclosure | None) -> list[Downgrade]:
    return downgrades(config, posture, None if enclosure is None else enclosure.seal.level)


def _when(config: Config, ages: AgeRules, clock: Clock) -> Callable[[], When]:
    """What decisions look at of the settings and of the moment, by the institution's clock."""
    address = config.consent.page_address.rstrip("/")
    always = When(ages, 0, address)
    if not ages.has_hours:
        return lambda: always
    zone = zone_of(config.quotas.time_zone)

    def now() -> When:
        at = datetime.fromtimestamp(clock.now_s(), zone)
        return When(ages, at.weekday() * 1440 + at.hour * 60 + at.minute, address)

    return now


def _pool_numbers(pool: Pool) -> PoolNumbers:
    status, tally = pool.status(), pool.tally
    return PoolNumbers(
        workers=[
            WorkerNumbers(w.name, w.state, w.slots_busy, w.slots, w.memory_bytes, w.rss_bytes) for w in status.workers
        ],
        waiting=status.waiting,
        planned_bytes=status.planned_bytes,
        budget_bytes=status.budget_bytes,
        loads={model: (number, tally.load_s[model]) for model, number in tally.loads.items()},
        ended={(model, ending.value): number for (model, ending), number in tally.ended.items()},
        turned_away=tally.refused,
        states={} if pool.warmth is None else pool.warmth.counts.by_result(),
        states_bytes=0 if pool.warmth is None else pool.warmth.states.used_bytes,
    )
