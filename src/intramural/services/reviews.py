"""Reports made of the log's entries. Pure: entries go in one by one, a report comes out.

A report says what the log can say. It names people by identifier, and by the name that the identifier has today.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from intramural.audit import Entry, Event, action_of
from intramural.core.errors import Misasked
from intramural.core.retention import AI_ACT_DAYS, DAY_MS

#: Entries listed of one kind; of the others the number is told.
MOST_LISTED = 500
#: Reads by one person on one day from which they count as many.
BULK_READS = 100
_EXPORTS = ("bundle.exported", "audit.exported", "model.push_asked")
_LISTS = ("failed_sign_ins", "refused", "emergency_access", "exports", "changes", "sign_offs", "clock_skew")
_ASKED = ("chat.asked", "embedding.asked", "rerank.asked")
#: The log is looked at and pages are opened all the time: that is not reading about somebody.
_OF_NOBODY = ("audit.read", "audit.verified", "report.read")


def is_emergency(event: str) -> bool:
    """Whether somebody was let in past the rules, for a reason they gave."""
    return event.startswith(("break_glass.", "breakglass.", "emergency."))


@dataclass(frozen=True, slots=True)
class WorkingHours:
    """`07:00-19:00` in the institution's time zone; no hours: everything is within."""

    from_minute: int
    to_minute: int
    zone: ZoneInfo

    @classmethod
    def of(cls, text: str, zone: ZoneInfo) -> "WorkingHours":
        """Raises Misasked(`bad_setting`)."""
        if not text.strip():
            return cls(0, 1440, zone)
        try:
            first, last = ([int(part) for part in each.split(":")] for each in text.split("-"))
            found = cls(first[0] * 60 + first[1], last[0] * 60 + last[1], zone)
        except (ValueError, IndexError):
            found = cls(0, 0, zone)
        if not 0 <= found.from_minute < found.to_minute <= 1440:
            raise Misasked("bad_setting", f"audit.working_hours: {text!r} are no hours.", "Write `07:00-19:00`.")
        return found

    def has(self, time_ms: int) -> bool:
        """Monday to Friday, within the hours; on every day where all hours are."""
        if self.to_minute - self.from_minute == 1440:
            return True
        at = datetime.fromtimestamp(time_ms / 1000, self.zone)
        return at.weekday() < 5 and self.from_minute <= at.hour * 60 + at.minute < self.to_minute


class _Listed:
    """The first entries of a kind, and how many there were."""

    def __init__(self) -> None:
        self.shown: list[dict[str, Any]] = []
        self.number = 0

    def add(self, shown: dict[str, Any]) -> None:
        self.number += 1
        if self.number <= MOST_LISTED:
            self.shown.append(shown)

    def result(self) -> dict[str, Any]:
        return {"number": self.number, "listed": self.shown}


class ActivityReview:
    """What 45 CFR 164.308(a)(1)(ii)(D) has somebody look at: failed sign-ins, refusals, access past the rules, many
    reads, activity at odd hours, what left, and what was changed."""

    def __init__(self, hours: WorkingHours) -> None:
        self._hours = hours
        self._lists = {name: _Listed() for name in _LISTS}
        self._events = Counter[str]()
        self._off_hours = Counter[tuple[str, str]]()
        self._reads = Counter[tuple[str, str]]()
        self._names: dict[str, str | None] = {}

    def add(self, entry: Entry) -> None:
        self._events[entry.event] += 1
        self._names[entry.actor_id] = entry.username
        self._list(entry)
        if entry.actor_kind == "system":
            return
        if not self._hours.has(entry.time_ms):
            self._off_hours[entry.actor_id, entry.event] += 1
        if action_of(entry.event) == "R" and entry.event not in _OF_NOBODY:
            day = datetime.fromtimestamp(entry.time_ms / 1000, self._hours.zone).date().isoformat()
            self._reads[entry.actor_id, day] += 1

    def result(self) -> dict[str, Any]:
        off = [
            {"person": who, "username": self._names[who], "event": event, "number": number}
            for (who, event), number in self._off_hours.most_common(MOST_LISTED)
        ]
        bulk = [
            {"person": who, "username": self._names[who], "day": day, "number": number}
            for (who, day), number in self._reads.most_common(MOST_LISTED)
            if number >= BULK_READS
        ]
        lists = {name: each.result() for name, each in self._lists.items()}
        return {"entries": self._events.total(), "events": dict(sorted(self._events.items())), **lists} | {
            "off_hours": off,
            "bulk_reads": bulk,
        }

    def _list(self, entry: Entry) -> None:
        if entry.skew_ms:
            self._lists["clock_skew"].add(shown(entry))
        for name, belongs in (
            ("failed_sign_ins", entry.event == Event.LOGIN_FAILED),
            ("refused", entry.event == Event.ACCESS_REFUSED or entry.event == Event.QUOTA_REFUSED),
            ("emergency_access", is_emergency(entry.event)),
            ("exports", entry.event in _EXPORTS or entry.event.endswith(".exported")),
            ("sign_offs", entry.event == Event.REVIEW_SIGNED),
            ("changes", _is_change(entry)),
        ):
            if belongs:
                self._lists[name].add(shown(entry))


def _is_change(entry: Entry) -> bool:
    """Whether it changed who may do what."""
    kinds = ("person.", "key.", "password.", "quota.", "group.", "workspace.", "role.", "policy.", "session.revoked")
    return entry.event.startswith(kinds) and entry.event != Event.QUOTA_REFUSED


class Disclosures:
    """What 34 CFR 99.32 has a school keep for each student: every access to their records, by whom, when, and why.

    Accesses that need no entry there (the student's own, those of school officials) are marked, not left out.
    """

    def __init__(self, student_id: str) -> None:
        self._student_id = student_id
        self._listed: list[dict[str, Any]] = []

    def add(self, entry: Entry) -> None:
        if not self._is_about(entry):
            return
        own = entry.actor_id == self._student_id
        exception = None
        if own:
            exception = "99.32(d)(1): the student or parent"
        elif entry.actor_kind == "system" and entry.actor_id == "system":
            exception = "no party: an act of the service itself"
        elif entry.actor_role in ("administrator", "auditor", "manager"):
            exception = "99.32(d)(2): a school official, if 99.31(a)(1) applies"
        interest = entry.facts.get("reason") or entry.facts.get("purpose")
        self._listed.append({**shown(entry), "interest": interest, "exception": exception})

    def result(self) -> dict[str, Any]:
        counted = sum(each["exception"] is None for each in self._listed)
        return {"student": self._student_id, "disclosures": self._listed, "to_be_recorded": counted}

    def _is_about(self, entry: Entry) -> bool:
        about = {entry.target.partition(":")[2]} if entry.target.startswith("person:") else set[Any]()
        about |= {entry.facts.get(name) for name in ("owner", "subject", "person", "student")}
        if self._student_id not in about:
            return False
        return entry.event not in (Event.LOGIN_SUCCEEDED, Event.LOGIN_FAILED)


class SystemRecord:
    """What articles 12, 19 and 26 of the EU AI Act have recorded of one system (a model): for each output what made it,
    with which settings, of which input; who decided that it may run; and since when that is kept."""

    def __init__(self, model: str) -> None:
        self._target = f"model:{model}"
        self._outputs: dict[str, dict[str, Any]] = {}
        self._oversight = _Listed()
        self._number = 0
        self._outcomes = Counter[str]()

    def add(self, entry: Entry) -> None:
        if entry.target != self._target:
            return
        if entry.event in _ASKED and entry.request_id:
            self._number += 1
            if self._number <= MOST_LISTED:
                self._outputs[entry.request_id] = self._asked(entry)
        elif entry.event.endswith(".answered") and entry.request_id:
            self._outcomes[entry.outcome] += 1
            if found := self._outputs.get(entry.request_id):
                found |= {"outcome": entry.outcome, "answered_position": entry.position, "answer": entry.texts}
                found["tokens"] = {name: entry.facts.get(name) for name in ("prompt_tokens", "completion_tokens")}
        elif entry.actor_kind != "system" or entry.event.startswith("model."):
            self._oversight.add(shown(entry))

    def result(self, oldest_ms: int | None, now_ms: int) -> dict[str, Any]:
        """`oldest_ms`: the time of the log's first entry."""
        kept_days = 0 if oldest_ms is None else max(0, (now_ms - oldest_ms) // DAY_MS)
        return {
            "system": self._target.removeprefix("model:"),
            "outputs": {"number": self._number, "listed": list(self._outputs.values())},
            "outcomes": dict(self._outcomes),
            "oversight": self._oversight.result(),
            "retention": {
                "log_begins_ms": oldest_ms,
                "kept_days": kept_days,
                "least_days": AI_ACT_DAYS,
                "purged_earlier": False,
            },
        }

    def _asked(self, entry: Entry) -> dict[str, Any]:
        facts = entry.facts
        names = ("model", "sampling", "tools", "format", "thinking", "deterministic", "rule", "inputs", "documents")
        return {
            "request_id": entry.request_id,
            "time_ms": entry.time_ms,
            "asked_position": entry.position,
            "person": entry.actor_id,
            "parameters": {name: facts[name] for name in names if name in facts},
            "input": entry.texts,
            "outcome": None,
        }


def shown(entry: Entry) -> dict[str, Any]:
    """An entry as a report lists it."""
    return {
        "position": entry.position,
        "time_ms": entry.time_ms,
        "event": entry.event,
        "person": entry.actor_id,
        "username": entry.username,
        "role": entry.actor_role,
        "target": entry.target,
        "outcome": entry.outcome,
        "facts": dict(entry.facts),
    }
