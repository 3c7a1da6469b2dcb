"""Getting models: durable work that goes on without whoever asked for it, and can be paused, resumed and cancelled.

A pull that the service's end interrupts goes on at its next start, from the bytes that came.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy import Update, delete, insert, select, update

from intramural.access import Action
from intramural.audit import AuditLog, Event, Fact, Outcome
from intramural.core.actor import SYSTEM, Actor
from intramural.core.clock import Clock
from intramural.core.errors import Conflicting, IntramuralError, Misasked, Missing, Refused, Untrusted
from intramural.core.ids import new_id
from intramural.library import Library, Malformed, Manifest, PullState, Source, Step, require_released
from intramural.services.arrival import arrival
from intramural.services.gate import Gate
from intramural.storage import Database
from intramural.storage.schema import pulls as table

log = logging.getLogger(__name__)

#: `stopped`: something outside failed (a network, a full disk) and going on may work. `refused`: a check failed.
#: `quarantined`: it is on the shelf, but inspection found something that an administrator has to decide about.
State = Literal["running", "paused", "shelved", "quarantined", "refused", "stopped", "cancelled"]
#: States from which a pull can be taken up again.
_RESUMABLE = ("paused", "stopped")
_SHELVED = ("shelved", "quarantined")
_ENDED = (*_SHELVED, "refused", "stopped", "cancelled")
_OUTCOMES: Mapping[State, Outcome] = {
    "shelved": "allowed",
    "quarantined": "allowed",
    "refused": "refused",
    "stopped": "failed",
}
#: The rate shown is that of the last seconds: long enough to be steady, short enough to follow a change.
RATE_WINDOW_S = 5.0
#: Between two messages to a watcher: faster than anybody reads.
WATCH_PAUSE_S = 0.2
#: Ended pulls that are remembered.
KEPT = 200


@dataclass(frozen=True, slots=True)
class PullView:
    """A pull at one moment. `bytes_per_s` and `left_s` (seconds to the end of this step) while bytes are moving.

    `digest`: of its first file, as soon as the source has said it.
    """

    id: str
    source: str
    name: str | None
    model: str | None
    state: State
    step: Step
    digest: str | None
    done_bytes: int
    total_bytes: int | None
    bytes_per_s: float | None
    left_s: float | None
    code: str | None
    message: str | None
    hint: str | None
    requested_by: str
    created_ms: int
    ended_ms: int | None

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens unless somebody asks for it."""
        return self.state != "running"


@dataclass
class _Pull:
    id: str
    source: str
    name: str | None
    requested_by: str
    created_ms: int
    actor: Actor
    state: State = "running"
    model: str | None = None
    progress: PullState = field(default_factory=PullState)
    steps: list[str] = field(default_factory=list)
    error: IntramuralError | None = None
    ended_ms: int | None = None
    samples: deque[tuple[float, int]] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self) -> None:
        """Wake whoever watches; each waits on the event that was current when it looked."""
        self.changed.set()
        self.changed = asyncio.Event()


class Pulls:
    """Every pull. `recall` when the house is opened, `go_on` when it serves, `close` before it is left."""

    def __init__(
        self,
        gate: Gate,
        library: Library,
        audit: AuditLog,
        db: Database,
        clock: Clock,
        parse: Callable[[str, Actor], Source],
    ) -> None:
        """`parse` makes a source of its text, for who asks for it."""
        self._gate = gate
        self._library = library
        self._audit = audit
        self._db = db
        self._clock = clock
        self._parse = parse
        self._pulls: dict[str, _Pull] = {}
        self._interrupted: list[str] = []

    # what people ask for --------------------------------------------------------------------------------------

    async def begin(self, actor: Actor, source: str, name: str | None) -> tuple[PullView, bool]:
        """Start getting a model; (the pull, whether it is a new one). The same source is joined, or gone on with.

        Raises Misasked(`bad_source`), Refused (policy, unknown package).
        """
        await self._gate.require(actor, Action.MODELS_PULL, target=f"source:{source}")
        for pull in self._pulls.values():
            if (pull.source, pull.name) == (source, name) and pull.state in ("running", *_RESUMABLE):
                return (self._view(pull) if pull.state == "running" else await self.resume(actor, pull.id)), False
        self._parse(source, actor)  # what cannot be a source is said at once
        now_ms = self._now_ms()
        pull = _Pull(new_id("pull", self._clock), source, name, actor.username, now_ms, actor)
        async with self._audit.transaction() as (connection, record):
            await connection.execute(
                insert(table).values(
                    id=pull.id,
                    source=source,
                    name=name,
                    requested_by=actor.username,
                    state="running",
                    created_ms=now_ms,
                )
            )
            record(Event.MODEL_REQUESTED, actor, target=f"source:{source}", facts={"pull": pull.id})
        self._pulls[pull.id] = pull
        self._start(pull)
        return self._view(pull), True

    async def list(self, actor: Actor) -> "list[PullView]":
        """Every pull, the newest first."""
        await self._gate.require(actor, Action.MODELS_PULL)
        return [self._view(pull) for pull in reversed(self._pulls.values())]

    async def pause(self, actor: Actor, pull_id: str) -> PullView:
        """Stop for now and keep what came. Raises Missing(`pull_not_found`), Conflicting(`pull_not_running`)."""
        pull = await self._require(actor, pull_id)
        if pull.state != "running":
            raise Conflicting("pull_not_running", f"This pull is {pull.state}.", "Only a running one can be paused.")
        await self._interrupt(pull)
        return await self._change(pull, actor, "paused")

    async def resume(self, actor: Actor, pull_id: str) -> PullView:
        """Go on where it stopped. Raises Missing(`pull_not_found`), Conflicting(`pull_not_resumable`)."""
        pull = await self._require(actor, pull_id)
        if pull.state not in _RESUMABLE:
            raise Conflicting("pull_not_resumable", f"This pull is {pull.state}.", "Ask for the model anew.")
        pull.error = None
        view = await self._change(pull, actor, "running")
        pull.actor = actor
        self._start(pull)
        return view

    async def cancel(self, actor: Actor, pull_id: str) -> PullView:
        """Give up and drop what came. Raises Missing(`pull_not_found`), Conflicting(`pull_not_running`)."""
        pull = await self._require(actor, pull_id)
        if pull.state not in ("running", *_RESUMABLE):
            raise Conflicting("pull_not_running", f"This pull is {pull.state}.", "There is nothing left to cancel.")
        await self._interrupt(pull)
        await asyncio.to_thread(self._library.drop_incoming, pull.progress.digests)
        return await self._change(pull, actor, "cancelled")

    async def forget(self, actor: Actor, pull_id: str) -> None:
        """Take an ended pull off the list. Raises Missing(`pull_not_found`), Conflicting(`pull_running`)."""
        pull = await self._require(actor, pull_id)
        if pull.state not in _ENDED:
            raise Conflicting("pull_running", f"This pull is {pull.state}.", "Cancel it first.")
        async with self._db.writing() as connection:
            await connection.execute(delete(table).where(table.c.id == pull_id))
        del self._pulls[pull_id]

    async def watch(self, actor: Actor, pull_id: str) -> AsyncGenerator[PullView, None]:
        """The pull now and whenever it changes, until it is over. Raises Missing(`pull_not_found`)."""
        pull = await self._require(actor, pull_id)
        while True:
            changed = pull.changed
            view = self._view(pull)
            yield view
            if view.is_over:
                return
            await changed.wait()
            if pull.state == "running":
                await asyncio.sleep(WATCH_PAUSE_S)

    async def get(self, actor: Actor, source: str, name: str | None = None) -> PullView:
        """Begin, and wait until it is over. Raises what refused or stopped it."""
        view, _ = await self.begin(actor, source, name)
        task = self._pulls[view.id].task
        if task is not None:
            await asyncio.wait([task])
        view = self._view(self._pulls[view.id])
        if view.state not in _SHELVED:
            raise self._pulls[view.id].error or Conflicting("pull_ended", f"The pull is {view.state}.")
        return view

    async def follow(self, actor: Actor, source: str, name: str | None = None) -> AsyncGenerator[PullView, None]:
        """Begin, and what is to be seen until it is over; it goes on also where nobody looks any more.

        Raises what refused or stopped it, and for a model in quarantine why it is there.
        """
        begun, _ = await self.begin(actor, source, name)
        async with aclosing(self.watch(actor, begun.id)) as views:
            async for view in views:
                yield view
        pull = self._pulls[begun.id]
        if pull.state != "shelved":
            raise pull.error or Conflicting("pull_ended", f"The pull is {pull.state}.")

    # a pull's life --------------------------------------------------------------------------------------------

    async def recall(self) -> None:
        """Know the pulls of earlier."""
        async with self._db.reading() as connection:
            rows = (await connection.execute(select(table).order_by(table.c.created_ms.desc()).limit(KEPT))).all()
        for row in reversed(rows):
            pull = _Pull(row.id, row.source, row.name, row.requested_by, row.created_ms, SYSTEM)
            pull.state, pull.model, pull.ended_ms = row.state, row.model, row.ended_ms
            if row.step:
                pull.progress = PullState(Step(row.step), digests=tuple(row.digests.split()))
            pull.error = None if row.code is None else IntramuralError(row.code, row.message, row.hint)
            if pull.state == "running":
                pull.state = "stopped"
                self._interrupted.append(pull.id)
            self._pulls[pull.id] = pull

    async def go_on(self) -> None:
        """Take up what the service's last end interrupted."""
        while self._interrupted:
            await self.resume(SYSTEM, self._interrupted.pop())

    async def close(self) -> None:
        """Stop them all; those that run go on at the next start."""
        for pull in self._pulls.values():
            await self._interrupt(pull)

    def _start(self, pull: _Pull) -> None:
        pull.progress, pull.ended_ms = PullState(), None
        pull.samples.clear()
        pull.steps.clear()
        pull.task = asyncio.create_task(self._run(pull), name=pull.id)

    async def _interrupt(self, pull: _Pull) -> None:
        if pull.task is not None and not pull.task.done():
            pull.task.cancel()
            await asyncio.wait([pull.task])
        pull.task = None

    async def _run(self, pull: _Pull) -> None:
        try:
            manifest = await self._library.pull(
                self._parse(pull.source, pull.actor), pull.name, lambda s: self._progressed(pull, s)
            )
        except IntramuralError as error:
            await self._failed(pull, error)
        else:
            await self._shelved(pull, manifest)

    def _progressed(self, pull: _Pull, state: PullState) -> None:
        if state.step in (Step.REFUSED, Step.STOPPED):
            return  # the pull's own state says so; its step stays the one that it got to
        if state.step != pull.progress.step or not pull.steps:
            pull.samples.clear()
            pull.steps.append(state.step.value)
        now_s = self._clock.monotonic_s()
        pull.samples.append((now_s, state.done_bytes))
        while now_s - pull.samples[0][0] > RATE_WINDOW_S and len(pull.samples) > 2:
            pull.samples.popleft()
        pull.progress = state
        pull.tell()

    async def _shelved(self, pull: _Pull, manifest: Manifest) -> None:
        pull.model = manifest.name
        try:
            require_released(manifest)
        except Refused as error:
            pull.error = error
        event, facts = arrival(manifest)
        facts |= {"pull": pull.id, "steps": pull.steps}
        await self._end(pull, "quarantined" if pull.error else "shelved", event, f"model:{manifest.name}", facts)

    async def _failed(self, pull: _Pull, error: IntramuralError) -> None:
        pull.error = error
        refused = isinstance(error, Untrusted | Refused | Misasked)
        facts: dict[str, Fact] = {"pull": pull.id, "code": error.code, "steps": pull.steps}
        if isinstance(error, Malformed):
            facts |= {"field": error.field, "offset": error.offset}
        event = Event.MODEL_REFUSED if refused else Event.MODEL_PULL_STOPPED
        await self._end(pull, "refused" if refused else "stopped", event, f"source:{pull.source}", facts)

    async def _end(self, pull: _Pull, state: State, event: Event, target: str, facts: dict[str, Fact]) -> None:
        pull.ended_ms = self._now_ms()
        try:
            async with self._audit.transaction() as (connection, record):
                await connection.execute(self._row(pull, state))
                record(event, pull.actor, target=target, outcome=_OUTCOMES[state], facts=facts)
        except IntramuralError as error:  # the log cannot be written: the pull is done again at the next start
            log.error("the end of %s could not be written down: %s", pull.id, error.code)
            pull.error = error
            state = "stopped"
        pull.state = state
        pull.tell()

    async def _change(self, pull: _Pull, actor: Actor, state: State) -> PullView:
        if pull.state in _ENDED and pull.state != "stopped":  # it ended while we interrupted it
            return self._view(pull)
        pull.ended_ms = self._now_ms() if state in _ENDED else None
        facts: dict[str, Fact] = {"pull": pull.id, "from": pull.state, "to": state}
        async with self._audit.transaction() as (connection, record):
            await connection.execute(self._row(pull, state))
            record(Event.MODEL_PULL_CHANGED, actor, target=f"source:{pull.source}", facts=facts)
        pull.state = state
        pull.tell()
        return self._view(pull)

    def _row(self, pull: _Pull, state: State) -> Update:
        error = pull.error
        return (
            update(table)
            .where(table.c.id == pull.id)
            .values(
                state=state,
                step=pull.progress.step,
                digests=" ".join(pull.progress.digests),
                model=pull.model,
                ended_ms=pull.ended_ms,
                code=error.code if error else None,
                message=error.message if error else None,
                hint=error.hint if error else None,
            )
        )

    async def _require(self, actor: Actor, pull_id: str) -> _Pull:
        await self._gate.require(actor, Action.MODELS_PULL, target=f"pull:{pull_id}")
        pull = self._pulls.get(pull_id)
        if pull is None:
            raise Missing("pull_not_found", "There is no such pull.", "List the pulls to see which are there.")
        return pull

    def _view(self, pull: _Pull) -> PullView:
        progress = pull.progress
        rate = rate_of(pull.samples) if pull.state == "running" else None
        left_bytes = (progress.total_bytes or 0) - progress.done_bytes
        error = pull.error
        return PullView(
            id=pull.id,
            source=pull.source,
            name=pull.name,
            model=pull.model,
            state=pull.state,
            step=Step.SHELVED if pull.state in _SHELVED else progress.step,
            digest=next(iter(progress.digests), None),
            done_bytes=progress.done_bytes,
            total_bytes=progress.total_bytes,
            bytes_per_s=rate,
            left_s=left_bytes / rate if rate and left_bytes > 0 else None,
            code=error.code if error else None,
            message=error.message if error else None,
            hint=error.hint if error else None,
            requested_by=pull.requested_by,
            created_ms=pull.created_ms,
            ended_ms=pull.ended_ms,
        )

    def _now_ms(self) -> int:
        return int(self._clock.now_s() * 1000)


def rate_of(samples: "deque[tuple[float, int]]") -> float | None:
    """Bytes per second over (seconds, bytes so far), oldest first; None where nothing can be said."""
    if len(samples) < 2:
        return None
    (from_s, from_bytes), (to_s, to_bytes) = samples[0], samples[-1]
    if to_s <= from_s or to_bytes <= from_bytes:
        return None
    return (to_bytes - from_bytes) / (to_s - from_s)
