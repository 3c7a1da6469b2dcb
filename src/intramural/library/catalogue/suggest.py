"""Which model of the catalogue this machine could well run: one sentence for the page of an empty library."""

from dataclasses import dataclass

from intramural.library.catalogue.entries import Catalogue, Entry
from intramural.library.fit import COMFORTABLE_CONTEXT_TOKENS, need

#: Of the machine's memory, for the model: the rest is for the system, the service and other workers.
_SHARE = 0.7
#: Families whose published chat templates have macros that call themselves: the audit holds those back, and a first
#: model should not need an administrator's release.
_HELD_BACK = frozenset({"gemma4", "gpt-oss"})


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A model this machine could run, and why that one, in two sentences for a person."""

    name: str
    why: str
    entry: Entry
    memory_bytes: int


def suggest(catalogue: Catalogue, memory_bytes: int) -> Suggestion | None:
    """The largest chat model that everybody may use and that fits well; of equals the quicker. None if none fits."""
    best: Suggestion | None = None
    for entry in catalogue.entries:
        needs = _needs(catalogue, entry)
        if needs is None or needs > memory_bytes * _SHARE:
            continue
        if best is None or _rank(entry) > _rank(best.entry):
            best = Suggestion(entry.name, _why(catalogue, entry, needs, memory_bytes), entry, needs)
    return best


def _needs(catalogue: Catalogue, entry: Entry) -> int | None:
    variant = entry.variants[0]
    free = catalogue.licences[entry.licence].business == "yes"
    if not free or not variant.servable or "chat" not in entry.tasks or entry.architecture in _HELD_BACK:
        return None
    model = entry.weighed(variant)
    return need(model, 1, COMFORTABLE_CONTEXT_TOKENS).memory_bytes if model else None


def _rank(entry: Entry) -> tuple[int, int]:
    return entry.parameters, -entry.active_parameters


def _why(catalogue: Catalogue, entry: Entry, needs_bytes: int, memory_bytes: int) -> str:
    needs, has = needs_bytes / 2**30, memory_bytes / 2**30
    licence = catalogue.licences[entry.licence].words.partition(":")[0]
    why = f"It needs about {needs:.0f} GiB of this machine's {has:.0f} GiB. Licence: {licence}."
    if entry.active_parameters < entry.parameters:
        active = f"{entry.active_parameters / 1e9:.0f} billion"
        why += f" Each token uses only {active} of its parameters, so it is quick for its size."
    return why
