"""Reading what is another's, while an opening lasts: what `shown` takes in the place of being the owner.

It asks the policy with the opening as a fact, and has the look written down, before it shows anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from intramural.access import Glass, Thing
from intramural.audit import Fact
from intramural.core.actor import Actor, Place


class Witness(Protocol):
    """Writes down, durably, that something of an owner's is about to be shown, and sees that they are told of it.

    Raises Conflicting(`opening_over`) where the opening is over by then.
    """

    async def __call__(self, owner_id: str, target: str, facts: Mapping[str, Fact]) -> None: ...


@dataclass(frozen=True, slots=True)
class Looking:
    """Made by `BreakGlass` alone, for one request of `actor`, who opened it."""

    actor: Actor
    glass: Glass
    note: Witness

    def thing(self, owner_id: str, place: Place | None = None) -> Thing:
        """What the policy is told of something of an owner's, in a workspace or in none."""
        return Thing(owner_id, place=place, glass=self.glass)

    def lets(self, owner_id: str, workspace_id: str | None) -> bool:
        """Whether the opening is of this owner's things, in that workspace (None: in none)."""
        return self.glass.lets(self.actor.person_id, owner_id, workspace_id)
