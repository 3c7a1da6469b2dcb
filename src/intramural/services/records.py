"""Looking at what happened: the log, the meter, the machine."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from intramural.access import Action, Groups, People, Thing
from intramural.audit import AuditLog, Event, Found, Standing, Verdict, Wanted
from intramural.core.actor import Actor
from intramural.library import Suggestion
from intramural.metering import AnchorNumbers, By, DenialNumbers, Meter, Metrics, Sum
from intramural.sandbox import Posture
from intramural.sandbox.readback import Held
from intramural.sandbox.seal import Seal
from intramural.sandbox.walls import Wall
from intramural.services.downgrades import Downgrade
from intramural.services.gate import Gate
from intramural.serving import Standing as BuildStanding


@dataclass(frozen=True, slots=True)
class Walled:
    """A process of this service, and how it stands with the walls that were asked for around it."""

    held: Held
    walls: Sequence[Wall]


@dataclass(frozen=True, slots=True)
class MachineView:
    """This machine, how strictly it can confine a worker, and what is confined how. `seal`: of the service itself;
    None where a command opened the house for a moment."""

    cores: int
    memory_bytes: int
    posture: Posture
    seal: Seal | None
    downgrades: Sequence[Downgrade]
    processes: Sequence[Walled]
    suggestion: Suggestion | None
    engine: BuildStanding


class Records:
    """Reading the log is itself an event."""

    def __init__(
        self,
        gate: Gate,
        audit: AuditLog,
        meter: Meter,
        metrics: Metrics,
        people: People,
        groups: Groups,
        missed_review: Callable[[], Awaitable[str | None]],
        anchored: Callable[[], Awaitable[Standing]],
        denied: Callable[[], DenialNumbers],
        *,
        cores: int,
        memory_bytes: int,
        posture: Posture,
        engine: BuildStanding,
        seal: Seal | None,
        downgrades: Sequence[Downgrade],
        processes: Callable[[], Sequence[Walled]],
        suggestion: Callable[[], Suggestion | None],
    ) -> None:
        self._gate = gate
        self._audit = audit
        self._meter = meter
        self._metrics = metrics
        self._people = people
        self._groups = groups
        self._missed_review = missed_review
        self._anchored = anchored
        self._denied = denied
        self._machine = MachineView(cores, memory_bytes, posture, seal, downgrades, (), None, engine)
        self._processes = processes
        self._suggestion = suggestion

    async def search(self, actor: Actor, wanted: Wanted, limit: int) -> Found:
        """What is wanted of the log, newest first. Of the text that was looked for the size is recorded."""
        await self._gate.require(actor, Action.AUDIT_READ)
        named = {
            name: getattr(wanted, name) for name in ("before", "event", "request_id", "target", "outcome", "workspace")
        }
        given = {name: value for name, value in named.items() if value is not None}
        facts = {**given, "limit": limit, "actor": wanted.actor_id, "from_ms": wanted.from_ms, "to_ms": wanted.to_ms}
        texts = {} if wanted.text is None else {"text": wanted.text}
        await self._audit.record(Event.AUDIT_READ, actor, target="audit:entries", facts=facts, texts=texts)
        return await self._audit.search(wanted, limit)

    def checkpoint(self) -> tuple[int, str]:
        """The log's size and the newest signed checkpoint (no secret: it says nothing but a size and a hash)."""
        return self._audit.size, self._audit.checkpoint()

    async def verify(self, actor: Actor) -> Verdict:
        """Walk the whole log."""
        await self._gate.require(actor, Action.AUDIT_VERIFY)
        verdict = await self._audit.verify()
        facts = {"ok": verdict.ok, "size": verdict.size, "first_wrong": verdict.first_wrong}
        await self._audit.record(Event.AUDIT_VERIFIED, actor, target="audit:entries", facts=facts)
        return verdict

    async def usage(self, actor: Actor, *, by: By, from_ms: int, to_ms: int, everyone: bool) -> list[Sum]:
        """Sums of usage; one's own, or everyone's for those who may: for a manager, of the people of their groups."""
        thing = Thing(groups=frozenset(actor.manages)) if everyone else Thing(actor.person_id)
        decision = await self._gate.require(actor, Action.USAGE_READ, thing=thing)
        people = None if everyone else [actor.person_id]
        if everyone and decision.rule == "manages":
            people = [*await self._groups.within(actor.manages)]
        sums = await self._meter.summary(from_ms, to_ms, by, people)
        if by != "person":
            return sums
        names = {person.id: person.username for person in await self._people.list()}
        return [replace(each, key=names.get(each.key, each.key)) for each in sums]

    async def metrics(self, actor: Actor) -> bytes:
        """Prometheus's text exposition of this moment."""
        await self._gate.require(actor, Action.METRICS_READ)
        missed = await self._missed_review() is not None
        anchors, denials = await self._anchors(), self._denied()
        return await asyncio.to_thread(self._metrics.rendering(review_missed=missed, anchors=anchors, denials=denials))

    async def _anchors(self) -> AnchorNumbers:
        standing = await self._anchored()
        return AnchorNumbers(standing.colour == "red", standing.age_s)

    async def machine(self, actor: Actor) -> MachineView:
        await self._gate.require(actor, Action.MACHINE_READ)
        suggestion = await asyncio.to_thread(self._suggestion)
        return replace(self._machine, processes=self._processes(), suggestion=suggestion)
