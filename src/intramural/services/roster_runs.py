"""What was done with lists of people, told from the log. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from intramural.audit import Entry, Event

#: `checked`: compared, and nothing changed; `interrupted`: the service ended in the midst of it.
Outcome = Literal["checked", "running", "finished", "cancelled", "failed", "interrupted"]
_OUTCOMES: Mapping[Any, Outcome] = {"finished": "finished", "cancelled": "cancelled"}


@dataclass(frozen=True, slots=True)
class Run:
    """One list. `counts`: steps by kind; `missing`: how many were not on it any more; `done`: steps that were made
    (None: it is not known any more); `digest`: of the file; `by`: whose act it was; `position`: in the log."""

    position: int
    source: str
    by: str
    time_ms: int
    ended_ms: int | None
    digest: str
    counts: Mapping[str, int]
    missing: int
    done: int | None
    outcome: Outcome


def runs(entries: Sequence[Entry], done: int | None) -> list[Run]:
    """The runs in `entries`, which begin with the newest. `done`: of the one that is under way, None: there is none.

    One list is taken in at a time: an end belongs to the beginning before it.
    """
    found: list[Run] = []
    ended: Entry | None = None
    for entry in entries:
        if entry.event == Event.ROSTER_ENDED:
            ended = entry
        elif entry.event == Event.ROSTER_CHECKED:
            found.append(_run(entry, None, 0, "checked"))
        elif entry.event == Event.ROSTER_BEGUN:
            if ended is not None:
                outcome = _OUTCOMES.get(ended.facts.get("outcome"), "failed")
                found.append(_run(entry, ended.time_ms, ended.facts.get("done"), outcome))
            elif done is not None:
                found.append(_run(entry, None, done, "running"))
            else:
                found.append(_run(entry, None, None, "interrupted"))
            ended, done = None, None
    return found


def _run(entry: Entry, ended_ms: int | None, done: Any, outcome: Outcome) -> Run:
    facts = entry.facts
    counts = facts.get("steps")
    return Run(
        entry.position,
        str(facts.get("source", "")),
        entry.actor_id,
        entry.time_ms,
        ended_ms,
        str(facts.get("digest", "")),
        {str(what): int(count) for what, count in counts.items()} if isinstance(counts, Mapping) else {},
        int(facts.get("missing") or 0),
        done if isinstance(done, int) else None,
        outcome,
    )
