"""Whether something that is kept is due to be deleted. Pure."""

from dataclasses import dataclass
from typing import Literal

from intramural.core.actor import Age
from intramural.core.retention import DAY_MS, DataClass, Floor

#: Why something stays, or that it goes.
Why = Literal["kept for ever", "not yet", "held", "below the floor", "due"]


@dataclass(frozen=True, slots=True)
class Rule:
    """For how many days what is of a class is kept in a workspace (None: outside any); None: for ever. `name` says
    where that stands. `floor`: what the law has a log kept for at least. `age`: it is only about what is of people of
    this band (`unknown`: of whom none is known); None: about everybody's.
    """

    data_class: DataClass
    workspace_id: str | None
    days: int | None
    name: str
    floor: Floor | None = None
    age: Age | None = None


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that is kept, and since when its time is counted. `held`: a legal hold is on it."""

    id: str
    person_id: str
    since_ms: int
    held: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether it goes now; why (not); and when its time is over, were it not held (None: never)."""

    goes: bool
    why: Why
    at_ms: int | None


def verdict(thing: Thing, rule: Rule, now_ms: int) -> Verdict:
    """What becomes of `thing` under `rule`. A floor that the rule is below counts in its place; a hold before both."""
    days, floored = rule.days, False
    if days is not None and rule.floor is not None:
        floored = rule.floor.days is None or days < rule.floor.days
        days = rule.floor.days if floored else days
    at_ms = None if days is None else thing.since_ms + days * DAY_MS
    if at_ms is None:
        return Verdict(False, "below the floor" if floored else "kept for ever", None)
    if now_ms < at_ms:
        early = floored and rule.days is not None and now_ms >= thing.since_ms + rule.days * DAY_MS
        return Verdict(False, "below the floor" if early else "not yet", at_ms)
    return Verdict(False, "held", at_ms) if thing.held else Verdict(True, "due", at_ms)


def counted_days(rule: Rule) -> int | None:
    """After how many days something goes under `rule`, with its floor; None: never."""
    if rule.days is None or rule.floor is None:
        return rule.days
    return None if rule.floor.days is None else max(rule.days, rule.floor.days)
