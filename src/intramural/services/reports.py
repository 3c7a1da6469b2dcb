"""Reports that the law asks for, made of the log; exports of it; and the signature under a review. Each is an event."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from intramural.access import Action, People, Workspaces
from intramural.audit import AuditLog, Event, Fact, Form, Wanted, fhir, ocsf
from intramural.core.actor import Actor
from intramural.core.clock import Clock
from intramural.core.errors import Misasked
from intramural.retention import Kept
from intramural.services.gate import Gate
from intramural.services.reviews import (
    ActivityReview,
    Disclosures,
    Known,
    LogRetention,
    SystemRecord,
    WorkingHours,
    shown,
)

_DAY_MS = 86_400_000


#: What is a student's today.
KnownOf = Callable[[str], Awaitable[Known]]


class Reports:
    """What overseers are given, and what a person is given about themselves."""

    def __init__(
        self,
        gate: Gate,
        audit: AuditLog,
        clock: Clock,
        hours: WorkingHours,
        review_every_days: int,
        version: str,
        known: KnownOf,
    ) -> None:
        self._gate = gate
        self._audit = audit
        self._clock = clock
        self._hours = hours
        self._review_every_days = review_every_days
        self._version = version
        self._known = known

    async def export(self, actor: Actor, form: Form, wanted: Wanted) -> AsyncGenerator[dict[str, Any], None]:
        """Every wanted entry in `form`, the oldest first; that it was handed out is on the disk before the first."""
        await self._gate.require(actor, Action.AUDIT_READ)
        facts = {"form": form, "from_ms": wanted.from_ms, "to_ms": wanted.to_ms, "event": wanted.event}
        size = self._audit.size
        await self._audit.record(Event.AUDIT_EXPORTED, actor, target="audit:entries", facts=facts)
        return self._exported(form, wanted, size)

    async def activity_review(self, actor: Actor, from_ms: int, to_ms: int) -> dict[str, Any]:
        """What an activity review looks at in a period. Raises Misasked(`bad_period`)."""
        await self._gate.require(actor, Action.AUDIT_READ)
        await self._read(actor, "hipaa-activity-review", from_ms, to_ms)
        review = ActivityReview(self._hours)
        async for entry in self._audit.walk(Wanted(from_ms=from_ms, to_ms=to_ms)):
            review.add(entry)
        return {**self._head("hipaa-activity-review", from_ms, to_ms), **review.result()}

    async def sign_off(self, actor: Actor, from_ms: int, to_ms: int, note: str) -> int:
        """`actor` says that they have reviewed the period; the entry's position. The note's commitment is recorded."""
        await self._gate.require(actor, Action.REVIEWS_SIGN)
        _check_period(from_ms, to_ms)
        if to_ms > self._now_ms():
            raise Misasked("bad_period", "What has not happened yet cannot be reviewed.", "End the period now.")
        facts = {"from_ms": from_ms, "to_ms": to_ms, "size": self._audit.size}
        return await self._audit.record(
            Event.REVIEW_SIGNED, actor, target="report:hipaa-activity-review", facts=facts, texts={"note": note}
        )

    async def missed(self) -> str | None:
        """Why a review is missed, in a sentence; None: none is."""
        if not self._review_every_days:
            return None
        found = await self._audit.entries(limit=1, event=Event.REVIEW_SIGNED)
        first = await self._oldest_ms()
        since_ms = found[0].facts["to_ms"] if found else first
        return missed_review(since_ms, self._now_ms(), self._review_every_days)

    async def disclosures(self, actor: Actor, student_id: str) -> dict[str, Any]:
        """Every access to one student's records that is in the log."""
        await self._gate.require(actor, Action.DISCLOSURES_READ, target=f"person:{student_id}", owner_id=student_id)
        found = Disclosures(await self._known(student_id))
        async for entry in self._audit.walk(Wanted()):
            found.learn(entry)
        async for entry in self._audit.walk(Wanted()):
            found.add(entry)
        now_ms = self._now_ms()
        await self._read(actor, "ferpa-99.32", 0, now_ms, subject=student_id)
        return {**self._head("ferpa-99.32", 0, now_ms), **found.result()}

    async def system_record(self, actor: Actor, model: str, from_ms: int, to_ms: int) -> dict[str, Any]:
        """What is recorded of one model's outputs, and of decisions about it. Raises Misasked(`bad_period`)."""
        await self._gate.require(actor, Action.AUDIT_READ)
        await self._read(actor, "ai-act", from_ms, to_ms, system=model)
        record = SystemRecord(model)
        async for entry in self._audit.walk(Wanted(from_ms=from_ms, to_ms=to_ms)):
            record.add(entry)
        retention = LogRetention()
        for event in ("retention.*", Event.PERSON_REMOVED):
            async for entry in self._audit.walk(Wanted(event=event)):
                retention.add(entry)
        result = record.result(retention.result(await self._oldest_ms(), self._now_ms()))
        return {**self._head("ai-act", from_ms, to_ms), **result}

    async def _exported(self, form: Form, wanted: Wanted, size: int) -> AsyncGenerator[dict[str, Any], None]:
        async for entry in self._audit.walk(wanted):
            if entry.position >= size:
                return
            if form == "jsonl":
                yield shown(entry) | {"request_id": entry.request_id, "texts": dict(entry.texts)}
            else:
                yield (ocsf if form == "ocsf" else fhir)(entry, self._version)

    async def _read(self, actor: Actor, kind: str, from_ms: int, to_ms: int, **about: str) -> None:
        _check_period(from_ms, to_ms)
        facts: dict[str, Fact] = {"from_ms": from_ms, "to_ms": to_ms, **about}
        await self._audit.record(Event.REPORT_READ, actor, target=f"report:{kind}", facts=facts)

    async def _oldest_ms(self) -> int | None:
        async for entry in self._audit.walk(Wanted()):
            return entry.time_ms
        return None

    def _head(self, kind: str, from_ms: int, to_ms: int) -> dict[str, Any]:
        return {
            "report": kind,
            "from_ms": from_ms,
            "to_ms": to_ms,
            "made_ms": self._now_ms(),
            "version": self._version,
            "checkpoint": self._audit.checkpoint(),
        }

    def _now_ms(self) -> int:
        return int(self._clock.now_s() * 1000)


def known_of(people: People, workspaces: Workspaces, kept: Kept) -> KnownOf:
    """Of a person's things, workspaces and groups as they are in the database."""

    async def known(person_id: str) -> Known:
        groups = (await people.acted_upon(person_id)).groups
        places = await kept.workspaces_of(person_id)
        for each in await workspaces.list():
            if person_id in each.people or not groups.isdisjoint(each.groups):
                places.add(each.place.id)
        return Known(person_id, frozenset(await kept.targets(person_id)), frozenset(places), groups)

    return known


def missed_review(since_ms: int | None, now_ms: int, every_days: int) -> str | None:
    """Why a review is missed. `since_ms`: what the last one reaches to, or when the log begins. Pure."""
    if since_ms is None or now_ms - since_ms <= every_days * _DAY_MS:
        return None
    days = (now_ms - since_ms) // _DAY_MS
    return (
        f"Activity has not been reviewed for {days} days; a review is due every {every_days} (audit.review_every_days)."
    )


def _check_period(from_ms: int, to_ms: int) -> None:
    if from_ms >= to_ms:
        raise Misasked("bad_period", "The period ends before it begins.", "Give `from` and then `to`.")
