"""Whether a model fits: one on the shelf, one of the catalogue, or one that is somewhere else, by its header alone."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from intramural.access import Action
from intramural.audit import AuditLog, Event
from intramural.core.actor import Actor
from intramural.core.errors import IntramuralError, Misasked
from intramural.library import Candidate, Fit, Inspect, Kv, Library, Source, advise, only_offer, require_engine, weighed
from intramural.services.catalogue import CatalogueDesk
from intramural.services.gate import Gate


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked. None means: as this machine and these settings are. Memory is in bytes."""

    model: str
    memory_bytes: int | None = None
    vram_bytes: int | None = None
    context_tokens: int | None = None
    slots: int = 1
    kv: Kv = "f16"


@dataclass(frozen=True, slots=True)
class Advice:
    """The answer. `known_from`: whose word the model's shape is. `size_known`: its size is no estimate."""

    model: Candidate
    fit: Fit
    known_from: str
    size_known: bool


class FitDesk:
    """Nothing is kept, and of what lies elsewhere only the header is read."""

    def __init__(
        self,
        gate: Gate,
        library: Library,
        catalogue: CatalogueDesk,
        audit: AuditLog,
        inspect: Inspect,
        parse: Callable[[str, Actor], Source],
        *,
        folder: Path,
        context_tokens: int,
    ) -> None:
        self._gate = gate
        self._library = library
        self._catalogue = catalogue
        self._audit = audit
        self._inspect = inspect
        self._parse = parse
        self._folder = folder
        self._context_tokens = context_tokens

    async def fit(self, actor: Actor, wish: Wish) -> Advice:
        """Whether and how the model fits.

        Raises Misasked(`bad_source`, `source_ambiguous`, `not_a_language_model`), Malformed, and what the source
        raises. Who may not get models may ask about those on the shelf and in the catalogue only: for others, somebody
        else's machine or this one's files are read.
        """
        await self._gate.require(actor, Action.MODELS_READ)
        model, known_from, size_known = await self._model(actor, wish.model)
        machine = await asyncio.to_thread(self._catalogue.machine)
        machine = replace(
            machine,
            budget_bytes=machine.budget_bytes if wish.memory_bytes is None else wish.memory_bytes,
            vram_bytes=machine.vram_bytes if wish.vram_bytes is None else wish.vram_bytes,
        )
        context_tokens = wish.context_tokens or self._context_tokens
        found = advise(
            model, machine, context_tokens=context_tokens, slots=wish.slots, kv=wish.kv, about=not size_known
        )
        return Advice(model, found, known_from, size_known)

    async def _model(self, actor: Actor, text: str) -> tuple[Candidate, str, bool]:
        if text in (manifest.name for manifest in self._library.list()):
            await self._gate.require(actor, Action.MODELS_READ, target=f"model:{text}", model=text)
            return self._library.get(text), "the library", True
        if found := self._catalogue.loaded().catalogue.find(text):
            entry, variant = found
            model = entry.weighed(variant)
            if model is None:
                message = f"{entry.name} is no language model; there is no plan for such."
                raise Misasked("not_a_language_model", message, "Ask about another model.", param="model")
            return model, "the catalogue", entry.size_bytes(variant)[1]
        return await self._elsewhere(actor, text), "its header", True

    async def _elsewhere(self, actor: Actor, text: str) -> Candidate:
        await self._gate.require(actor, Action.MODELS_PULL, target=f"source:{text}")
        source = self._parse(text, actor)
        target = f"source:{text}"
        try:
            offer = only_offer(await source.resolve())
            require_engine(offer)
            found = await weighed(source, offer, self._inspect, self._folder)
        except IntramuralError as error:
            facts = {"code": error.code}
            await self._audit.record(Event.MODEL_MEASURED, actor, target=target, outcome="failed", facts=facts)
            raise
        await self._audit.record(Event.MODEL_MEASURED, actor, target=target, outcome="finished")
        return found
