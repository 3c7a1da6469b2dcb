"""An institution's own rules, beyond the table: each can only refuse. Pure, but for `read`.

They are a TOML file, each with examples of what it refuses and of what it lets pass. A file in which one example comes
out otherwise is not loaded: what a rule does is seen where it is written, not when somebody is refused.

    [[rule]]
    name = "phi_models"
    when = { action = ["model.use"], label = ["phi"] }
    unless = { model = ["clinic:8b"] }
    reason = "Patients' data is only for the clinic's own model."
    hint = "Use clinic:8b, or ask the data protection office."
    match = [{ action = "model.use", label = "phi", model = "tiny:1b" }]
    no_match = [{ action = "model.use", label = "phi", model = "clinic:8b" }, { action = "model.use", model = "a:1b" }]

A rule refuses where every fact of `when` has one of the values named, and not every fact of `unless`. What is not known
or not given is the empty text, which can be named as well: `purpose = [""]`.
"""

import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intramural.access import ages
from intramural.access.ages import AgeTable
from intramural.core.errors import Misasked

FILE = "policy.toml"
#: What a rule can look at. `group`: of all groups of the person, by identifier.
FACTS = ("action", "role", "kind", "person", "group", "model", "label", "workspace", "purpose", "age")

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_FIELDS = {"name", "when", "unless", "reason", "hint", "match", "no_match"}
Conditions = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: refuses what meets all of `when`, unless it meets all of `unless` (where that is not empty)."""

    name: str
    when: Conditions
    unless: Conditions
    reason: str
    hint: str

    def refuses(self, facts: Mapping[str, tuple[str, ...]]) -> bool:
        """Whether the rule says no to what has these facts."""
        for fact, wanted in self.when.items():
            if wanted.isdisjoint(facts[fact]):
                return False
        for fact, wanted in self.unless.items():
            if wanted.isdisjoint(facts[fact]):
                return True
        return not self.unless


def first_match(rules: Sequence[Rule], facts: Mapping[str, tuple[str, ...]]) -> Rule | None:
    """The first rule that refuses."""
    for rule in rules:
        if rule.refuses(facts):
            return rule
    return None


@dataclass(frozen=True, slots=True)
class Policy:
    """An institution's rules, the digest of the file they are in ("" where there is none), and what it says there of
    people's ages."""

    rules: tuple[Rule, ...] = ()
    digest: str = ""
    ages: tuple[AgeTable, ...] = ()


def read(file: Path, actions: frozenset[str], *, required: bool = False) -> Policy:
    """The rules of a file; none where there is no file, unless it is `required`. Raises Misasked(`bad_policy`)."""
    try:
        data = file.read_bytes()
        text = data.decode("utf-8")
    except FileNotFoundError:
        if not required:
            return Policy()
        raise Misasked("bad_policy", f"There is no {file}.", "Check access.policy.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Misasked("bad_policy", f"{file} cannot be read: {error}.", "Mend the file.") from error
    return Policy(parse(text, actions), "sha256:" + hashlib.sha256(data).hexdigest(), ages.parse(text))


def parse(text: str, actions: frozenset[str]) -> tuple[Rule, ...]:
    """The rules of a text, each held against its examples. Raises Misasked(`bad_policy`) that names the example."""
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Misasked("bad_policy", f"The policy is no TOML: {error}.", "Mend it there.") from error
    tables = given.pop("rule", [])
    given.pop("age", None)  # `ages` reads these
    if given or not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        message = "A policy consists of [[rule]] and [[age]] tables, and nothing else."
        raise Misasked("bad_policy", message, "See docs/policy.md and docs/consent.md.")
    rules = tuple(_rule(table, actions) for table in tables)
    if len({rule.name for rule in rules}) < len(rules):
        raise Misasked("bad_policy", "Two rules have one name.", "A refusal names its rule: give each its own.")
    return rules


def _rule(table: Mapping[str, Any], actions: frozenset[str]) -> Rule:
    name = table.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Misasked(
            "bad_policy", f"A rule's name is a word in lower case, not {name!r}.", 'As in `name = "phi_models"`.'
        )
    if unknown := sorted(set(table) - _FIELDS):
        raise _bad(name, f"has {unknown[0]!r}, which nothing reads", f"It may have: {', '.join(sorted(_FIELDS))}.")
    said = {field: table.get(field) for field in ("reason", "hint")}
    if not all(isinstance(text, str) and text.strip() for text in said.values()):
        raise _bad(name, "needs a reason and a hint", "Say why it refuses, and what to ask for: people will read it.")
    when = _conditions(name, "when", table.get("when"), actions)
    if not when:
        raise _bad(name, "has no `when`", "Without it everything would be refused.")
    unless = _conditions(name, "unless", table.get("unless", {}), actions)
    rule = Rule(name, when, unless, str(said["reason"]), str(said["hint"]))
    for field, expected in (("match", True), ("no_match", False)):
        _check_examples(rule, field, table.get(field), actions, refuses=expected)
    return rule


def _conditions(name: str, field: str, given: object, actions: frozenset[str]) -> Conditions:
    if not isinstance(given, dict):
        raise _bad(name, f"has no table `{field}`", 'As in `when = { label = ["phi"] }`.')
    found: dict[str, frozenset[str]] = {}
    for fact, values in given.items():
        _check_fact(name, field, fact)
        if not isinstance(values, list) or not values or not all(isinstance(each, str) for each in values):
            raise _bad(name, f"has in {field}.{fact} no list of texts", f'As in `{fact} = ["…"]`.')
        for each in values if fact == "action" else ():
            _check_action(name, each, actions)
        found[fact] = frozenset(values)
    return found


def _check_examples(rule: Rule, field: str, given: object, actions: frozenset[str], *, refuses: bool) -> None:
    if not isinstance(given, list) or not given:
        raise _bad(rule.name, f"has no `{field}`", f"Give an example of what it {'refuses' if refuses else 'allows'}.")
    for number, example in enumerate(given, 1):
        facts = _example(rule.name, f"{field} {number}", example, actions)
        if rule.refuses(facts) != refuses:
            raise _bad(
                rule.name,
                f"{'lets' if refuses else 'does not let'} its example {field} {number} pass: {example}",
                "Mend the rule or the example; nothing of the policy is in force until then.",
            )


def _example(name: str, field: str, given: object, actions: frozenset[str]) -> Mapping[str, tuple[str, ...]]:
    if not isinstance(given, dict) or not given:
        raise _bad(name, f"has in {field} no table of facts", 'As in `{ action = "model.use", label = "phi" }`.')
    facts: dict[str, tuple[str, ...]] = dict.fromkeys(FACTS, ("",))
    for fact, value in given.items():
        _check_fact(name, field, fact)
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(each, str) for each in values):
            raise _bad(name, f"has in {field} a {fact} that is no text", f'As in `{fact} = "…"`.')
        for each in values if fact == "action" else ():
            _check_action(name, each, actions)
        facts[fact] = tuple(values)
    return facts


def _check_fact(name: str, field: str, fact: str) -> None:
    if fact not in FACTS:
        raise _bad(name, f"asks in {field} for {fact!r}, which is no fact", f"Facts: {', '.join(FACTS)}.")


def _check_action(name: str, action: str, actions: frozenset[str]) -> None:
    if action not in actions:
        raise _bad(name, f"names the action {action!r}, which there is not", "See docs/policy.md for the list.")


def _bad(name: str, what: str, hint: str) -> Misasked:
    return Misasked("bad_policy", f"The rule {name!r} {what}.", hint)
