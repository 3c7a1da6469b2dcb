"""What a worker of a model is given on this machine: memory by the fit planner, engine options by the settings."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from intramural.audit import Fact
from intramural.core.errors import Misasked
from intramural.library import Library, Machine, Manifest, Plan, adjusted, advise, beside, plan
from intramural.serving import ANY_MODEL, EngineOptions, as_text, options_for

#: What an adapter takes beside its weights.
_ADAPTER_BYTES = 2 << 20


@dataclass(frozen=True)
class Planned:
    """`plan` counts everything the worker holds in ordinary memory; `draft` is the model that guesses ahead. `adapters`
    are those of the worker, which models that differ in nothing else share; `scales`, how strongly each is applied to
    this model's answers."""

    plan: Plan
    options: EngineOptions
    draft: Manifest | None = None
    adapters: tuple[Manifest, ...] = ()
    scales: tuple[float, ...] = ()

    @cached_property
    def facts(self) -> Mapping[str, Fact]:
        """For the log: the options of the engine that are not its own, and the adapters that were applied."""
        found: dict[str, Fact] = {}
        if options := as_text(replace(self.options, adapters=())):
            found["options"] = options
        applied = [(each, scale) for each, scale in zip(self.adapters, self.scales, strict=True) if scale]
        if applied:
            found["adapters"] = [{"digest": each.digest, "scale": scale} for each, scale in applied]
        return found

    def digest(self, manifest: Manifest) -> str:
        """What identifies all that the worker reads."""
        if not self.adapters:
            return manifest.digest
        listed = "\n".join([manifest.digest, *(each.digest for each in self.adapters)])
        return f"sha256:{hashlib.sha256(listed.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Ordinary:
    """What holds for every model, unless its options say otherwise. `vram_bytes`: of a graphics card that the engine
    can use."""

    slots: int
    context_tokens: int
    options: Mapping[str, Mapping[str, Any]]
    vram_bytes: int = 0


class Planner:
    """Computed once for a manifest: this is on the path of every request."""

    def __init__(
        self,
        library: Library,
        budget_bytes: int,
        ordinary: Ordinary,
        would_fit: Callable[[Manifest], str | None] = lambda _: None,
    ) -> None:
        """`would_fit` says what of elsewhere would fit instead, in a sentence."""
        self._library = library
        self._budget_bytes = budget_bytes
        self._ordinary = ordinary
        self._would_fit = would_fit
        self._known: dict[str, tuple[tuple[Manifest, ...], Planned]] = {}
        self._options: dict[str, EngineOptions] = {}

    def planned(self, manifest: Manifest) -> Planned:
        """Raises Misasked(`model_too_large`, `draft_not_found`, `draft_does_not_fit`, `adapter_not_found`,
        `adapter_does_not_fit`, `adapter_alone`)."""
        if manifest.purpose == "adapter":
            message = f"{manifest.name} changes how another model answers; it cannot be loaded by itself."
            raise Misasked("adapter_alone", message, "Name it in serving.options.", param="model")
        draft, adapters = self._draft(manifest), self._adapters(manifest)
        parts = (manifest, *adapters, *([draft] if draft else ()))
        known = self._known.get(manifest.name)
        if known is None or [id(each) for each in known[0]] != [id(each) for each in parts]:
            made = self._made(manifest, draft, self.most_context_tokens(manifest))
            own = dict(self.options(manifest).adapters)
            scales = tuple(own.get(each.name, 0.0) for each in adapters)
            known = parts, replace(made, adapters=adapters, scales=scales)
            self._known[manifest.name] = known
        return known[1]

    def run_as(self, manifest: Manifest) -> object:
        """Models for which this is equal can share a worker: they differ in what is said, not in what is run."""
        options = replace(self.options(manifest), adapters=())
        context_tokens = self.most_context_tokens(manifest)
        return manifest.digest, manifest.trust, manifest.template, context_tokens, options

    def options(self, manifest: Manifest) -> EngineOptions:
        """What is set for it."""
        name = manifest.name
        found = self._options.get(name)
        if found is None:
            found = self._options[name] = options_for(self._ordinary.options, name)
        return found

    def most_context_tokens(self, manifest: Manifest) -> int:
        """A slot's context, where the model was trained for as much and there is the memory."""
        most = self._allowed_context_tokens(manifest)
        own = manifest.defaults.context_tokens if manifest.defaults else None
        return min(most, own or most)

    def longest(self, manifest: Manifest) -> int:
        """The longest context that a model derived from it may be given. Raises as `planned`."""
        made = self._made(manifest, self._draft(manifest), self._allowed_context_tokens(manifest))
        return made.plan.context_tokens

    def _allowed_context_tokens(self, manifest: Manifest) -> int:
        return self.options(manifest).context_tokens or self._ordinary.context_tokens

    def _draft(self, manifest: Manifest) -> Manifest | None:
        name = self.options(manifest).draft
        if not name or name == manifest.name or manifest.format != "gguf":
            return None
        found = self._library.find(name)
        if found is None:
            message = f"{manifest.name} is to be sped up by {name}, which is not in the library."
            raise Misasked("draft_not_found", message, "Get that model, or change serving.options.", param="model")
        if found.shape.vocabulary_size != manifest.shape.vocabulary_size or len(found.files) != 1:
            message = f"{found.name} cannot guess ahead for {manifest.name}: its vocabulary differs, or it has shards."
            hint = "Choose a smaller model of the same family in serving.options."
            raise Misasked("draft_does_not_fit", message, hint, param="model")
        return found

    def _adapters(self, manifest: Manifest) -> tuple[Manifest, ...]:
        """Of this model and of those that share its worker, by name. Others' that cannot be had are left out."""
        found = {name: self._adapter(name, manifest) for name, _ in self.options(manifest).adapters}
        for other in self._sharing(manifest):
            for name, _ in self.options(other).adapters:
                try:
                    found.setdefault(name, self._adapter(name, manifest))
                except Misasked:
                    continue  # whoever asks that model is told
        return tuple(found[name] for name in sorted(found))

    def _sharing(self, manifest: Manifest) -> Iterator[Manifest]:
        for name, given in self._ordinary.options.items():
            if given.get("adapters") and name not in (ANY_MODEL, manifest.name):
                other = self._library.find(name)
                if other is not None and self.run_as(other) == self.run_as(manifest):
                    yield other

    def _adapter(self, name: str, manifest: Manifest) -> Manifest:
        found = self._library.find(name)
        if found is None:
            message = f"{manifest.name} is to be changed by the adapter {name}, which is not in the library."
            raise Misasked("adapter_not_found", message, "Get it, or change serving.options.", param="model")
        made_for = (found.architecture, found.shape.embedding_length)
        fits = made_for == (manifest.architecture, manifest.shape.embedding_length)
        if found.purpose != "adapter" or not fits or found.shape.layers > manifest.shape.layers:
            message = f"{name} is no adapter for {manifest.name}: it was made for another model, or is none."
            raise Misasked("adapter_does_not_fit", message, "Change serving.options.", param="model")
        return found

    def _made(self, manifest: Manifest, draft: Manifest | None, most: int) -> Planned:
        options = self.options(manifest)
        model = adjusted(manifest, stretch=options.stretch, full_windows=options.full_windows)
        slots = options.slots or self._ordinary.slots
        extra_bytes = beside(draft, slots, most, options.kv) if draft else 0
        extra_bytes += sum(each.size_bytes + _ADAPTER_BYTES for each in self._adapters(manifest))
        budget_bytes = self._budget_bytes - extra_bytes
        if self._ordinary.vram_bytes and manifest.format == "gguf":
            machine = Machine(budget_bytes, 1, self._ordinary.vram_bytes)
            fit = advise(model, machine, context_tokens=most, slots=slots, kv=options.kv)
            if fit.gpu_layers:
                placed = replace(options, gpu_layers=fit.gpu_layers, experts_on_cpu=fit.experts_on_cpu)
                memory_bytes = fit.memory_bytes - fit.vram_bytes + extra_bytes
                return Planned(replace(fit.plan, memory_bytes=memory_bytes), placed, draft)
        try:
            found = plan(model, budget_bytes, slots, most, options.kv)
        except Misasked as error:
            instead = self._would_fit(manifest)
            hint = f"{error.hint} {instead}" if instead else error.hint
            raise Misasked(error.code, error.message, hint, param=error.param) from None
        return Planned(replace(found, memory_bytes=found.memory_bytes + extra_bytes), options, draft)
