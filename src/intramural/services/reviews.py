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
_LISTS = (
    "failed_sign_ins", "refused", "emergency_access", "exports", "changes", "sign_offs", "clock_skew", "legal_holds",
    "deletions",
)  # fmt: skip
_ASKED = ("chat.asked", "embedding.asked", "rerank.asked")
#: The log is looked at and pages are opened all the time: that is not reading about somebody.
_OF_NOBODY = ("audit.read", "audit.verified", "report.read")


_EMERGENCY = frozenset(str(each) for each in Event if each.startswith("breakglass."))


def is_emergency(event: str) -> bool:
    """Whether somebody was let in past the rules, for a reason they gave."""
    return event in _EMERGENCY


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
            ("legal_holds", entry.event.startswith("legal_hold.")),
            ("deletions", entry.event.startswith("retention.")),
        ):
            if belongs:
                self._lists[name].add(shown(entry))


def _is_change(entry: Entry) -> bool:
    """Whether it changed who may do what."""
    kinds = ("person.", "key.", "password.", "quota.", "group.", "workspace.", "role.", "policy.", "session.revoked")
    return entry.event.startswith(kinds) and entry.event != Event.QUOTA_REFUSED


@dataclass(frozen=True, slots=True)
class Known:
    """What is a student's today: the things of theirs as the log calls them, and the workspaces and groups they are in.
    What was theirs is learned from the log."""

    student_id: str
    things: frozenset[str] = frozenset()
    workspaces: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()


#: What people do with their own things; whose an act's target is, where nothing else says so.
_THINGS = ("chat", "file", "response", "conversation", "batch")
#: Facts that name whom an entry is about.
_ABOUT = ("owner", "subject", "person", "student", "member", "of")
#: Acts that reach everybody's records at once.
_OF_EVERYBODY = ("audit.exported", "backup.begun", "backup.restored", "database.moved")
#: Acts on all of a workspace or group.
_OF_PLACES = _EMERGENCY | {Event.LEGAL_HOLD_PUT, Event.LEGAL_HOLD_LIFTED}


class Disclosures:
    """What 34 CFR 99.32 has a school keep for each student: every access to their records, by whom, when, and why.

    `learn` of every entry first, then `add` every one. An entry counts where it names the student; where it is about
    a thing of theirs, or a request they made; where it opens or holds a workspace or group that they are in; and,
    listed apart, where it reaches everybody's records. Accesses that need no entry there (the student's own, those of
    school officials) are marked, not left out.
    """

    def __init__(self, known: Known) -> None:
        self._student_id = known.student_id
        self._things = set(known.things)
        self._workspaces = set(known.workspaces)
        self._groups = set(known.groups)
        self._requests: set[str] = set()
        self._listed: list[dict[str, Any]] = []
        self._everybody = _Listed()

    def learn(self, entry: Entry) -> None:
        """What was the student's when this happened."""
        kind, _, name = entry.target.partition(":")
        if entry.actor_id == self._student_id:
            if kind in _THINGS:
                self._things.add(entry.target)
            if entry.request_id:
                self._requests.add(entry.request_id)
            if workspace := entry.facts.get("workspace"):
                self._workspaces.add(workspace)
        if entry.event == Event.WORKSPACE_JOINED and entry.facts.get("member") in {self._student_id, *self._groups}:
            self._workspaces.add(name)
        if entry.event == Event.GROUP_JOINED and entry.facts.get("person") == self._student_id:
            self._groups.add(name)

    def add(self, entry: Entry) -> None:
        """List it, if it is an access to the student's records."""
        why = self._why(entry)
        if why is not None:
            exception = self._exception(entry)
            interest = entry.facts.get("reason") or entry.facts.get("purpose")
            found = {**shown(entry), "found_by": why, "interest": interest, "exception": exception}
            self._listed.append(found | ({"texts": dict(entry.texts)} if entry.texts else {}))
        elif _reaches_everybody(entry):
            self._everybody.add({**shown(entry), "exception": self._exception(entry)})

    def result(self) -> dict[str, Any]:
        counted = sum(each["exception"] is None for each in self._listed)
        return {
            "student": self._student_id,
            "disclosures": self._listed,
            "to_be_recorded": counted,
            "everybody": self._everybody.result(),
        }

    def _why(self, entry: Entry) -> str | None:
        if entry.event in (Event.LOGIN_SUCCEEDED, Event.LOGIN_FAILED):
            return None
        kind, _, name = entry.target.partition(":")
        facts = entry.facts
        if name == self._student_id or self._student_id in [facts.get(each) for each in _ABOUT]:
            return "named"
        if facts.get("actor") == self._student_id or facts.get("target") in self._things:
            return "searched for"  # in the log
        if facts.get("owner"):
            return None  # somebody else's
        own_request = entry.request_id in self._requests and entry.actor_id != self._student_id
        if entry.target in self._things or own_request or name in self._requests:
            return "a record of theirs"
        if entry.event in _OF_PLACES:
            held = self._workspaces if kind == "workspace" else self._groups if kind == "group" else ()
            if name in held:
                return "a place they are in"
        return None

    def _exception(self, entry: Entry) -> str | None:
        if entry.actor_id == self._student_id:
            return "99.32(d)(1): the student or parent"
        if entry.actor_kind == "system" and entry.actor_id == "system":
            return "no party: an act of the service itself"
        if entry.actor_role in ("administrator", "auditor", "manager"):
            return "99.32(d)(2): a school official, if 99.31(a)(1) applies"
        return None


def _reaches_everybody(entry: Entry) -> bool:
    if entry.event in _OF_EVERYBODY:
        return True
    if entry.event == Event.AUDIT_READ:  # in part or whole, not of somebody named
        return entry.facts.get("actor") is None and entry.facts.get("request_id") is None
    return entry.event == Event.REPORT_READ and entry.facts.get("subject") is None


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

    def result(self, retention: dict[str, Any]) -> dict[str, Any]:
        """`retention`: of `LogRetention`."""
        return {
            "system": self._target.removeprefix("model:"),
            "outputs": {"number": self._number, "listed": list(self._outputs.values())},
            "outcomes": dict(self._outcomes),
            "oversight": self._oversight.result(),
            "retention": retention,
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


class LogRetention:
    """How long the log is kept, as articles 19(1) and 26(6) of the EU AI Act ask: entries are never deleted, so that
    this is of the texts kept beside it. What was deleted of them, when, and under which rule; what was refused."""

    def __init__(self) -> None:
        self._deleted, self._refused, self._erased = _Listed(), _Listed(), _Listed()
        self._earlier = False
        self._texts = Counter[str]()

    def add(self, entry: Entry) -> None:
        """Of the events `retention.…` and `person.removed`."""
        if entry.event == Event.RETENTION_PURGED and entry.facts.get("class") == "log":
            self._deleted.add(shown(entry))
            self._texts["deleted"] += int(entry.facts["number"])
            self._earlier |= entry.time_ms - int(entry.facts["newest_ms"]) < AI_ACT_DAYS * DAY_MS
        elif entry.event == Event.RETENTION_REFUSED:
            self._refused.add(shown(entry))
        elif entry.event == Event.PERSON_REMOVED and entry.facts.get("texts"):
            self._erased.add(shown(entry))
            self._texts["erased"] += int(entry.facts["texts"])

    def result(self, oldest_ms: int | None, now_ms: int) -> dict[str, Any]:
        """`oldest_ms`: the time of the log's first entry. `erased`: texts of people who were erased (GDPR, article
        17), whatever their age."""
        return {
            "log_begins_ms": oldest_ms,
            "kept_days": 0 if oldest_ms is None else max(0, (now_ms - oldest_ms) // DAY_MS),
            "least_days": AI_ACT_DAYS,
            "purged_earlier": self._earlier,
            "purged": {"texts": self._texts["deleted"], **self._deleted.result()},
            "erased": {"texts": self._texts["erased"], **self._erased.result()},
            "refused": self._refused.result(),
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
