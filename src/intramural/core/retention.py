"""How long what is kept here is kept: classes of data, and the least that the law has of a log."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from intramural.core.actor import LABELS, Label

#: What is kept for how long. `chat`: what was said, on the page and by programs; `file`: what was stored; `embedding`:
#: what was computed of a file so that it is found; `log`: the texts that the audit log commits to. Of `audio` nothing
#: is kept here: no door takes any.
DataClass = Literal["chat", "file", "audio", "embedding", "log"]
DATA_CLASSES: tuple[DataClass, ...] = get_args(DataClass)
MAX_DAYS = 36_500
DAY_MS = 86_400_000

#: Six months, whichever: AI Act, articles 19(1) and 26(6).
AI_ACT_DAYS = 184
#: Six years, two of them leap years: 45 CFR 164.316(b)(2)(i).
HIPAA_DAYS = 6 * 365 + 2
#: Whose records a school keeps of its pupils: FERPA's record of disclosures lives as long as they do.
_RECORDS: tuple[DataClass, ...] = ("chat", "file")


@dataclass(frozen=True, slots=True)
class Floor:
    """The fewest days for which a log is kept (None: it may never be deleted), and the rule that says so."""

    days: int | None
    rule: str


def log_floor(label: Label, days: Mapping[str, int]) -> Floor:
    """What the log of data with this label is kept for at least, where its other classes are kept for `days`."""
    if label == "phi":
        return Floor(HIPAA_DAYS, "HIPAA, 45 CFR 164.316(b)(2)(i): six years")
    if label == "education":
        kept = [days.get(each) for each in _RECORDS]
        life = None if None in kept else max(AI_ACT_DAYS, *(each for each in kept if each is not None))
        return Floor(life, "FERPA, 34 CFR 99.32(a)(2): as long as the education records are kept")
    return Floor(AI_ACT_DAYS, "EU AI Act, articles 19(1) and 26(6): six months")


def strictest_floor(days: Mapping[str, int]) -> Floor:
    """As `log_floor`, of data of which nobody knows the label any more: the longest of all."""
    floors = [log_floor(label, days) for label in LABELS]
    return max(floors, key=lambda each: MAX_DAYS + 1 if each.days is None else each.days)


def below_floor(label: Label, days: Mapping[str, int]) -> Floor | None:
    """The floor that these days are below; None: they are not, or the log is kept for ever."""
    wanted = days.get("log")
    if wanted is None:
        return None
    floor = log_floor(label, days)
    return floor if floor.days is None or wanted < floor.days else None


def floor_sentence(floor: Floor, days: int) -> str:
    """What is wrong with keeping a log for `days`."""
    least = "for as long as there is what it is about, here for ever" if floor.days is None else f"{floor.days} days"
    return f"The log may not be deleted after {days} days; it is kept {least} at least ({floor.rule})."
