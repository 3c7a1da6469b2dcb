"""Writing a `models.lock`, and making this machine have what one says."""

import hashlib
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

from intramural.access import Action
from intramural.audit import AuditLog, Event, Fact
from intramural.core.actor import Actor
from intramural.core.errors import IntramuralError, Missing
from intramural.library import Library, Manifest, PullState, Source
from intramural.library.provenance.lock import Change, LockedModel, Step, compare, locked, read_lock, write_lock
from intramural.services.arrival import arrival
from intramural.services.gate import Gate
from intramural.services.models import Models
from intramural.services.watched import watched

#: Sources that are a place on one machine: what a lock says of them cannot be got again on another.
_BY_HAND = ("file", "bundle", "ollama-store", "lmstudio")


@dataclass(frozen=True, slots=True)
class Synced:
    """What is being done, or was done, about one model to make this machine match a lock."""

    name: str
    act: Literal["keep", "get", "replace", "remove", "extra"]
    state: Literal["planned", "doing", "done", "failed"]
    progress: PullState | None = None
    changes: tuple[Change, ...] = ()
    problem: IntramuralError | None = None


class Locks:
    """`parse` makes a source of its text, for who asks for it."""

    def __init__(
        self, gate: Gate, library: Library, models: Models, audit: AuditLog, parse: Callable[[str, Actor], Source]
    ) -> None:
        self._gate = gate
        self._library = library
        self._models = models
        self._audit = audit
        self._parse = parse

    async def lock(self, actor: Actor) -> str:
        """The text of a `models.lock` of what is here."""
        await self._gate.require(actor, Action.MODELS_READ, target="models:lock")
        return write_lock(locked(manifest) for manifest in self._library.list())

    async def sync(
        self, actor: Actor, text: str, *, prune: bool = False, plan_only: bool = False
    ) -> AsyncGenerator[Synced, None]:
        """Make this machine have what the lock says: get what is absent, replace what differs, and with `prune`
        remove what is not in it. One model's failure does not keep the others from coming; the last state of each
        says how it ended. Raises Misasked(`bad_lock`).
        """
        await self._gate.require(actor, Action.MODELS_PULL, target="models:lock")
        if prune:
            await self._gate.require(actor, Action.MODELS_REMOVE, target="models:lock")
        steps = compare(read_lock(text), self._library.list())
        if plan_only:
            for step in steps:
                yield Synced(step.name, step.act, "done" if step.act == "keep" else "planned", changes=step.changes)
            return
        acts: dict[str, Fact] = {act: sum(step.act == act for step in steps) for act in ("keep", "get", "replace")}
        facts: dict[str, Fact] = {"lock": f"sha256:{hashlib.sha256(text.encode()).hexdigest()}", "prune": prune, **acts}
        await self._audit.record(Event.LIBRARY_SYNCED, actor, target="models:lock", facts=facts)
        for step in steps:
            async with aclosing(self._step(actor, step, prune=prune)) as states:
                async for state in states:
                    yield state

    async def _step(self, actor: Actor, step: Step, *, prune: bool) -> AsyncGenerator[Synced, None]:
        if step.model is None:
            if prune:
                await self._models.remove(actor, step.name)
            yield Synced(step.name, "remove" if prune else "extra", "done")
            return
        if step.act == "keep":
            yield Synced(step.name, "keep", "done")
            return
        model, target = step.model, f"model:{step.name}"

        async def get(tell: Callable[[PullState], None]) -> Manifest:
            return await self._get(actor, model, tell)

        await self._audit.record(Event.MODEL_REQUESTED, actor, target=target, facts={"source": model.source})
        try:
            async with aclosing(watched(get)) as states:
                async for state in states:
                    if isinstance(state, PullState):
                        yield Synced(step.name, step.act, "doing", state, step.changes)
                    else:
                        event, facts = arrival(state)
                        await self._audit.record(event, actor, target=target, facts=facts)
        except IntramuralError as error:
            why: dict[str, Fact] = {"code": error.code, "source": model.source}
            await self._audit.record(Event.MODEL_REFUSED, actor, target=target, outcome="refused", facts=why)
            yield Synced(step.name, step.act, "failed", changes=step.changes, problem=error)
            return
        yield Synced(step.name, step.act, "done", changes=step.changes)

    async def _get(self, actor: Actor, model: LockedModel, tell: Callable[[PullState], None]) -> Manifest:
        if model.source.partition(":")[0] in _BY_HAND:
            message = f"{model.name} was brought by hand ({model.source}), so nobody can be asked for it."
            hint = "Bring it again, as a bundle or a file under that name; then `sync` sees that it is there."
            raise Missing("lock_by_hand", message, hint)
        source = self._parse(model.source, actor)
        return await self._library.pull(source, model.name, tell, locked=model, replace=True)
