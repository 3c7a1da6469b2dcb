"""Which model of the catalogue this machine could well run: one sentence for the page of an empty library."""

from collections.abc import Callable
from dataclasses import dataclass

from intramural.library.catalogue.entries import Catalogue, Entry
from intramural.library.fit import COMFORTABLE_CONTEXT_TOKENS, Weighed, need

#: Of the machine's memory, for the model: the rest is for the system, the service and other workers.
_SHARE = 0.7
#: Families whose published chat templates are quarantined: a first model should not need an administrator's release.
_HELD_BACK = frozenset({"gpt-oss"})
#: About as fast as people read aloud; below it an answer is waited for.
QUICK_TOKENS_PER_S = 4.0


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A model this machine could run, and why that one, in two sentences for a person."""

    name: str
    why: str
    entry: Entry
    memory_bytes: int


def suggest(
    catalogue: Catalogue, memory_bytes: int, tokens_per_s: Callable[[Weighed], float | None]
) -> Suggestion | None:
    """The largest chat model that everybody may use, that fits well and is quick here; else the quickest that fits.

    `tokens_per_s` is how fast a model would be on this machine; None, where nobody knows, counts as quick. None if
    nothing fits.
    """
    best: tuple[tuple[bool, float], Suggestion] | None = None
    for entry in catalogue.entries:
        model = _offered(catalogue, entry)
        needs_bytes = need(model, 1, COMFORTABLE_CONTEXT_TOKENS).memory_bytes if model else 0
        if model is None or needs_bytes > memory_bytes * _SHARE:
            continue
        speed = tokens_per_s(model)
        quick = speed is None or speed >= QUICK_TOKENS_PER_S
        rank = (quick, entry.parameters if quick else speed or 0.0)
        if best is None or rank > best[0]:
            best = rank, Suggestion(entry.name, _why(catalogue, entry, needs_bytes, memory_bytes), entry, needs_bytes)
    return best[1] if best else None


def _offered(catalogue: Catalogue, entry: Entry) -> Weighed | None:
    variant = entry.variants[0]
    free = catalogue.licences[entry.licence].business == "yes"
    if not free or not variant.servable or "chat" not in entry.tasks or entry.architecture in _HELD_BACK:
        return None
    return entry.weighed(variant)


def _why(catalogue: Catalogue, entry: Entry, needs_bytes: int, memory_bytes: int) -> str:
    needs, has = needs_bytes / 2**30, memory_bytes / 2**30
    licence = catalogue.licences[entry.licence].words.partition(":")[0]
    why = f"It needs about {needs:.0f} GiB of this machine's {has:.0f} GiB. Licence: {licence}."
    if entry.active_parameters < entry.parameters:
        active = f"{entry.active_parameters / 1e9:.0f} billion"
        why += f" Each token uses only {active} of its parameters, so it is quick for its size."
    return why
