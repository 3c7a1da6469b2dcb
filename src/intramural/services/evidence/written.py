"""The statement that a pack is: one object, of which the signed note and the page are made. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from intramural.audit import canonical
from intramural.services.evidence import record
from intramural.services.evidence.checks import Outcome
from intramural.services.evidence.controls import CONTROLS
from intramural.services.evidence.facts import Facts
from intramural.services.evidence.packs import Pack

#: Of this form; a statement of another one is read by another program.
FORM = 1
KIND = "evidence"
#: A signed note holds 65,536 bytes, its signature and first line among them.
MOST_BYTES = 64_000
#: Lines of one list, the most that fit.
_LINES = (40, 20, 10, 5)
_NAME_CHARS = 200
#: What every pack says of itself.
SAYS = (
    "This pack says which controls of one installation were looked at, when, and what was seen. It is evidence for "
    "people who judge, and no judgement: it does not say that a law is kept. What remains with the institution stands "
    "with each provision. A control that was not seen shows nothing."
)


@dataclass(frozen=True, slots=True)
class Result:
    """What a control came to. `since_ms`: since when it has come to that, as the log has it."""

    control: str
    outcome: Outcome
    value: str
    checked_ms: int
    since_ms: int


def looked(facts: Facts, before: Mapping[str, tuple[Outcome, int]]) -> dict[str, Result]:
    """Every control's result now. `before`: what each came to the last time, and since when."""
    found = {}
    for control in CONTROLS.values():
        seen = control.check(facts)
        outcome, since_ms = before.get(control.id, (seen.outcome, facts.now_ms))
        if outcome != seen.outcome:
            since_ms = facts.now_ms
        found[control.id] = Result(control.id, seen.outcome, seen.value, facts.now_ms, since_ms)
    return found


def statement(pack: Pack, facts: Facts, results: Mapping[str, Result], version: str) -> dict[str, Any]:
    """The pack of one law; where lists are long, as much of them as can be signed."""
    said: dict[str, Any] = {}
    for most in _LINES:
        said = _statement(pack, facts, results, version, most)
        if len(canonical(said)) <= MOST_BYTES:
            break
    return said


def _statement(pack: Pack, facts: Facts, results: Mapping[str, Result], version: str, most: int) -> dict[str, Any]:
    named = list(dict.fromkeys(each for provision in pack.provisions for each in provision.controls))
    sums = Counter(results[each].outcome for each in named)
    said: dict[str, Any] = {
        "v": FORM,
        "law": pack.law,
        "title": pack.title,
        "scope": pack.scope,
        "says": SAYS,
        "time_ms": facts.now_ms,
        "version": version,
        "institution": facts.consent.institution.strip()[:_NAME_CHARS],
        "log": {"size": facts.log.size, "root": facts.log.root},
        "sums": {"met": sums["met"], "failed": sums["failed"], "not_seen": sums["not seen"]},
        "provisions": [
            {
                "cite": each.cite,
                "title": each.title,
                "kind": each.kind,
                "asks": each.asks,
                "controls": list(each.controls),
                "remains": each.remains,
            }
            for each in pack.provisions
        ],
        "controls": [shown(results[each]) for each in named],
    }
    if pack.law == "gdpr":
        said |= {"record": record.of_processing(facts, most), "assessment": record.for_assessment(facts, most)}
    return said


def shown(result: Result) -> dict[str, Any]:
    """A control with its result, for packs and lists."""
    control = CONTROLS[result.control]
    return {
        "control": control.id,
        "says": control.says,
        "check": control.looks,
        "outcome": result.outcome,
        "seen": result.value,
        "checked_ms": result.checked_ms,
        "since_ms": result.since_ms,
        "off": control.off,
        "mend": control.mend,
    }
