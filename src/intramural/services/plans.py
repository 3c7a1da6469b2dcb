"""What a worker of a model is given on this machine: memory by the fit planner, engine options by the settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from intramural.core.errors import Misasked
from intramural.library import Library, Machine, Manifest, Plan, adjusted, advise, beside, plan
from intramural.serving import EngineOptions, options_for


@dataclass(frozen=True, slots=True)
class Planned:
    """`plan` counts everything the worker holds in ordinary memory; `draft` is the model that guesses ahead."""

    plan: Plan
    options: EngineOptions
    draft: Manifest | None = None


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
        self._known: dict[str, tuple[Manifest, Manifest | None, Planned]] = {}

    def planned(self, manifest: Manifest) -> Planned:
        """Raises Misasked(`model_too_large`, `draft_not_found`, `draft_does_not_fit`)."""
        draft = self._draft(manifest)
        known = self._known.get(manifest.name)
        if known is None or known[0] is not manifest or known[1] is not draft:
            known = manifest, draft, self._made(manifest, draft, self.most_context_tokens(manifest))
            self._known[manifest.name] = known
        return known[2]

    def options(self, manifest: Manifest) -> EngineOptions:
        """What is set for it."""
        return options_for(self._ordinary.options, manifest.name)

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

    def _made(self, manifest: Manifest, draft: Manifest | None, most: int) -> Planned:
        options = self.options(manifest)
        model = adjusted(manifest, stretch=options.stretch, full_windows=options.full_windows)
        slots = options.slots or self._ordinary.slots
        extra_bytes = beside(draft, slots, most, options.kv) if draft else 0
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
