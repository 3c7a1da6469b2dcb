"""The catalogue as one person sees it: what there is, what of it fits this machine, and what is here already."""

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

from intramural.access import Action, Thing
from intramural.core.actor import Actor
from intramural.core.errors import IntramuralError
from intramural.library import (
    Candidate,
    Entry,
    Fit,
    Library,
    Licence,
    Loaded,
    Machine,
    Manifest,
    Suggestion,
    Variant,
    advise,
    instead_of,
    load_catalogue,
    read_bytes_per_s,
    suggest,
)
from intramural.services.gate import Gate


@dataclass(frozen=True, slots=True)
class VariantView:
    """`installed`: the name of the model on the shelf that is this one. `fit` is None for what is no language model."""

    variant: Variant
    size_bytes: int
    size_known: bool
    installed: str | None
    fit: Fit | None


@dataclass(frozen=True, slots=True)
class EntryView:
    """A model of the catalogue with its licence and its variants."""

    entry: Entry
    licence: Licence
    variants: tuple[VariantView, ...]


@dataclass(frozen=True, slots=True)
class Disk:
    """Where models are kept. `library_bytes` counts a file once, however many models share it."""

    total_bytes: int
    free_bytes: int
    library_bytes: int


@dataclass(frozen=True, slots=True)
class CatalogueView:
    """Everything the page's first screen shows."""

    loaded: Loaded
    entries: tuple[EntryView, ...]
    machine: Machine
    memory_bytes: int
    disk: Disk


class CatalogueDesk:
    """Reads the catalogue when it has changed; what fits is worked out for each look, for it depends on settings and
    machine.
    """

    def __init__(
        self,
        gate: Gate,
        library: Library,
        *,
        data_dir: Path,
        own: Path | None,
        own_key: Path | None,
        memory_bytes: int,
        budget_bytes: int,
        cores: int,
        slots: int,
        context_tokens: int,
    ) -> None:
        self._gate = gate
        self._library = library
        self._data_dir = data_dir
        self._own, self._own_key = own, own_key
        self._memory_bytes, self._budget_bytes, self._cores = memory_bytes, budget_bytes, cores
        self._slots, self._context_tokens = slots, context_tokens
        self._loaded: Loaded | None = None
        self._version: int | None = None

    async def view(self, actor: Actor) -> CatalogueView:
        """The whole catalogue. Raises as `load_catalogue` does: one whose signature is wrong is not shown at all."""
        await self._gate.require(actor, Action.MODELS_READ)
        return await asyncio.to_thread(self._view, actor)

    def _view(self, actor: Actor) -> CatalogueView:
        loaded, machine = self.loaded(), self.machine()
        manifests = self._library.list()
        mine = [
            each for each in manifests if self._gate.decide(actor, Action.MODELS_READ, Thing(model=each.name)).allowed
        ]
        entries = tuple(
            EntryView(
                entry,
                loaded.catalogue.licences[entry.licence],
                tuple(self._variant(entry, variant, machine, mine) for variant in entry.variants),
            )
            for entry in loaded.catalogue.entries
        )
        usage = shutil.disk_usage(self._data_dir)
        disk = Disk(usage.total, usage.free, _library_bytes(manifests))
        return CatalogueView(loaded, entries, machine, self._memory_bytes, disk)

    def loaded(self) -> Loaded:
        """The catalogue in use. Blocks while it is read the first time."""
        version = self._own.stat().st_mtime_ns if self._own and self._own.exists() else None
        if self._loaded is None or self._version != version:
            self._loaded, self._version = load_catalogue(self._own, self._own_key), version
        return self._loaded

    def machine(self) -> Machine:
        """What models may use of this machine. Blocks for a moment the first time, to measure how fast memory is.

        The engine that comes with the product computes on the processor only, so a graphics card counts for nothing.
        """
        speed = read_bytes_per_s(self._data_dir / "memory-speed.json", self._cores)
        return Machine(self._budget_bytes, self._cores, 0, speed)

    def suggestion(self) -> Suggestion | None:
        """A model this machine could well run; None where none fits, or the catalogue cannot be used."""
        machine = self.machine()
        try:
            return suggest(
                self.loaded().catalogue,
                self._memory_bytes,
                lambda model: advise(model, machine, context_tokens=self._context_tokens).tokens_per_s,
            )
        except IntramuralError:
            return None  # `view` says what is wrong with it

    def instead_of(self, wanted: Candidate) -> str | None:
        """A sentence on what of the catalogue would fit where `wanted` does not."""
        try:
            found = instead_of(self.loaded().catalogue, wanted, self._budget_bytes)
        except IntramuralError:
            return None
        return None if found is None else f"Of the catalogue, {found} would fit."

    def _variant(self, entry: Entry, variant: Variant, machine: Machine, manifests: list[Manifest]) -> VariantView:
        size_bytes, known = entry.size_bytes(variant)
        model = entry.weighed(variant)
        fit = None
        if model is not None:
            fit = advise(model, machine, context_tokens=self._context_tokens, slots=self._slots, about=not known)
        return VariantView(variant, size_bytes, known, _installed(variant, manifests), fit)


def _installed(variant: Variant, manifests: list[Manifest]) -> str | None:
    """The model that has the variant's first file, by digest; where no digest is known, the one from its source."""
    wanted = variant.digests[:1]
    for manifest in manifests:
        if wanted:
            if wanted[0] in (file.blob.digest for file in manifest.files):
                return manifest.name
        elif manifest.source == variant.source:
            return manifest.name
    return None


def _library_bytes(manifests: list[Manifest]) -> int:
    return sum({file.blob.digest: file.blob.size_bytes for each in manifests for file in each.files}.values())
