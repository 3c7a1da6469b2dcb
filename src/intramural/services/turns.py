"""In whose turn a request is answered: a group's, below it a person's, and below them their keys'."""

from collections.abc import Mapping

from intramural.core.actor import Actor
from intramural.core.config import ServingConfig
from intramural.core.errors import Misasked
from intramural.core.work import Work
from intramural.serving import Owner


class Turns:
    """What the settings say of whose turn it is."""

    def __init__(self, config: ServingConfig) -> None:
        """Raises Misasked(`bad_setting`) for weights that are none."""
        self._weights = weights(config.weights)
        self._first = frozenset(name.strip() for name in config.first.split(",") if name.strip())

    def of(self, actor: Actor, *, passing: bool = False) -> Owner:
        """Whom what `actor` asks belongs to. A person's keys and sessions share what the person gets; the people of a
        group share what it gets (the first they were put into); and those without any share as if they were one.

        `passing`: they were promised that nothing of it is stored.
        """
        first = actor.work is Work.INTERACTIVE and actor.username in self._first
        group = actor.groups[0] if actor.groups else ""
        path = (group, actor.person_id, actor.credential_id)
        weights = (self._weights.get(group, 1.0), self._weights.get(actor.username, 1.0))
        work = Work.FIRST if first else actor.work
        return Owner(path, weights, work, repeatable=actor.repeatable, tenant=actor.person_id, passing=passing)


def weights(text: str) -> Mapping[str, float]:
    """`ann=4, ben=0.5`, read; a group's identifier may stand in the place of a name."""
    found: dict[str, float] = {}
    for part in text.split(","):
        if not part.strip():
            continue
        name, _, number = (each.strip() for each in part.partition("="))
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = 0.0
        if not name or not 0.01 <= found[name] <= 100:
            hint = "Write `name=number, name=number`, numbers from 0.01 to 100."
            raise Misasked("bad_setting", f"serving.weights: {part.strip()!r} is no weight.", hint)
    return found
