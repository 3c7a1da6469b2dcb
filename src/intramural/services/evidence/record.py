"""The record of processing (GDPR, article 30(1)), and what an impact assessment (article 35(7)) can take from here.

Made of what is configured and kept. What only people can know is a setting (`evidence.…`), or a blank that says so:
nothing is invented. Pure.
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

from intramural.services.evidence.facts import Facts

#: Characters of a line, and of what somebody set: a pack is one signed note of at most 64 kB.
_LINE_CHARS = 200
_SETTING_CHARS = 500
_EVERYWHERE = "outside workspaces"


def of_processing(facts: Facts, most: int) -> list[dict[str, Any]]:
    """Article 30(1), letter by letter. `most`: lines of one list; of the others it is said how many there are."""
    said, listed = facts.evidence, partial(_seen, most=most)
    return [
        _asked("(a)", "Name and contact details of the controller", said.controller, "evidence.controller"),
        _asked("(a)", "Data protection officer", said.data_protection_officer, "evidence.data_protection_officer"),
        _asked("6", "Legal basis of the processing", said.legal_basis, "evidence.legal_basis"),
        listed("(b)", "Purposes of the processing", _purposes(facts)),
        listed("(c)", "Categories of data subjects", _subjects(facts)),
        listed("(c)", "Categories of personal data", _categories(facts)),
        listed("(d)", "Recipients", _recipients(facts)),
        _asked("(e)", "Transfers to third countries", said.transfers, "evidence.transfers"),
        listed("(f)", "Time limits for erasure", _limits(facts)),
        listed("(g)", "Security measures", ["The controls of this pack, with their results."]),
    ]


def for_assessment(facts: Facts, most: int) -> list[dict[str, Any]]:
    """Article 35(7), letter by letter."""
    return [
        _seen("(a)", "Description of the processing", ["The record of processing in this pack.", *_signs(facts)], most),
        _asked("(b)", "Necessity and proportionality", "", ""),
        _asked("(c)", "Risks to the rights and freedoms of people", "", ""),
        _seen("(d)", "Measures that address the risks", ["The controls of this pack, with their results."], most),
    ]


def _seen(place: str, what: str, lines: Sequence[str], most: int) -> dict[str, Any]:
    """`lines` as they are configured or counted."""
    shown = [_cut(each, _LINE_CHARS) for each in lines[:most]]
    if len(lines) > most:
        shown.append(f"… and {len(lines) - most} more, which are not listed here.")
    return {"place": place, "what": what, "lines": shown, "setting": "", "blank": False}


def _asked(place: str, what: str, value: str, setting: str) -> dict[str, Any]:
    """What only people know. `setting`: where they say it; empty: on paper."""
    text = _cut(value.strip(), _SETTING_CHARS)
    return {"place": place, "what": what, "lines": [text] if text else [], "setting": setting, "blank": not text}


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _purposes(facts: Facts) -> list[str]:
    found = ["Answering what people of the institution ask language models, and keeping what they choose to keep."]
    for place in facts.kept.places:
        if place.id:
            named = ", ".join(place.purposes) or "no purpose is asked for"
            found.append(f"Workspace {place.name} ({place.label}): {named}")
    found += [f"Workspace {each.name}, of high risk: {', '.join(each.uses)}" for each in facts.models.declared]
    return found


def _subjects(facts: Facts) -> list[str]:
    roles = Counter(each.role for each in facts.people.people)
    found = [f"People who are let in: {number} with the role {role}" for role, number in sorted(roles.items())]
    return [*found, "People who are written about in what others ask: who they are, the institution knows."]


def _categories(facts: Facts) -> list[str]:
    """What is there of each kind; accounts and the log always are."""
    found = Counter[str]()
    for each in facts.kept.kept:
        found[each.what] += each.number
    labels = sorted({each.label for each in facts.kept.places})
    return [
        "Accounts: names, roles, groups, ways to sign in, bands of ages and consents where they were recorded",
        "The log: identifiers, times, sizes, models, commitments to texts; no text, no name",
        f"Labels of data in use: {', '.join(labels)}",
        *(f"Kept now: {number} {what}" for what, number in sorted(found.items())),
    ]


def _recipients(facts: Facts) -> list[str]:
    if facts.way.egress == "sealed":
        return ["None: the service is sealed, and nothing may leave the machine."]
    found = [
        f"{each.host}{'' if each.port is None else f':{each.port}'} for {each.purpose}, by {each.by}"
        for each in facts.way.recipients
    ]
    if facts.way.egress == "open":
        found.append("Any other that nobody denied: egress.mode is `open`.")
    return found or ["None is allowed."]


def _limits(facts: Facts) -> list[str]:
    found = []
    for place in facts.kept.places:
        days = ", ".join(f"{name} {number} days" for name, number in sorted(place.days.items()))
        endless = ", ".join(each for each in ("chat", "file", "embedding") if each not in place.days)
        parts = [days, f"no limit: {endless}" if endless else ""]
        found.append(f"{place.name or _EVERYWHERE}: {'; '.join(each for each in parts if each)}")
    return found


def _signs(facts: Facts) -> list[str]:
    """What article 35(1) and (3) look at, as far as it can be seen here."""
    found = []
    if labelled := [each.name for each in facts.kept.places if each.label == "phi"]:
        found.append(f"Special categories (article 9): data about health, in {len(labelled)} places")
    if labelled := [each.name for each in facts.kept.places if each.label == "education"]:
        found.append(f"Records of pupils, in {len(labelled)} places")
    if facts.models.declared:
        found.append(f"Uses of high risk by the EU AI Act, in {len(facts.models.declared)} workspaces")
    found.append(f"{len(facts.people.people)} people are let in")
    return found
