"""A planner as small as possible."""

from intramural.library import Library
from intramural.services.plans import Ordinary, Planner


def planner(library: Library) -> Planner:
    return Planner(library, 2**40, Ordinary(slots=1, context_tokens=512, options={}))
