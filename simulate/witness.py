"""What was promised, and whether it was kept: everything known outside the service, held against what is in its files.

Looked at after every life, however it ended, in a copy: the next life finds what the last one left, and mends it alone.
"""

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from intramural.audit.verify import verify_database
from intramural.metering.ledger import Charge
from simulate.life import DATABASE
from simulate.people import Told
from simulate.plan import Plan

_ASKED = ("chat.asked", "embedding.asked")
_ANSWERED = ("chat.answered", "embedding.answered")
#: An answer is stopped between two pieces that came: what came together with the last one was written already.
_BEYOND_TOKENS = 64
_Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Rows:
    """What the database says."""

    asked: Counter[str]
    answered: Counter[str]
    used: dict[str, tuple[int, int]]
    held: dict[str, tuple[Charge, ...]]
    balances: dict[_Key, int]
    limits: dict[str, tuple[str, int]]
    events: int

    @classmethod
    def read(cls, file: Path) -> "Rows":
        """From a file that nobody has open."""
        with closing(sqlite3.connect(file)) as connection:

            def rows(query: str) -> list[tuple[object, ...]]:
                return connection.execute(query).fetchall()

            events = rows("SELECT event, request_id FROM audit_entries")
            found = rows("SELECT request_id, charges FROM quota_holds")
            return cls(
                Counter(str(each) for event, each in events if event in _ASKED),
                Counter(str(each) for event, each in events if event in _ANSWERED),
                {each[0]: each[1:] for each in rows("SELECT request_id, prompt_tokens, completion_tokens FROM usage")},  # type: ignore[misc]
                {str(name): tuple(Charge(*each) for each in json.loads(str(text))) for name, text in found},
                {each[:3]: each[3] for each in rows("SELECT limit_id, who, start_ms, used FROM quota_balances")},  # type: ignore[misc]
                {each[0]: each[1:] for each in rows("SELECT id, measure, amount FROM quota_limits")},  # type: ignore[misc]
                len(events),
            )


@dataclass
class Witness:
    """Of one seed, over all its lives."""

    plan: Plan
    wrong: list[str] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    #: By request: the balances that it was held against, when it was asked.
    held: dict[str, Sequence[Charge]] = field(default_factory=dict)
    #: Notes that the service has signed and told.
    notes: list[str] = field(default_factory=list)
    verifier: str = ""
    #: What limits there must be. An act that nobody was told the end of may have been done or not.
    limits: dict[str, tuple[str, int]] = field(default_factory=dict)
    in_doubt: dict[str, tuple[str, int] | None] = field(default_factory=dict)
    #: One that nobody was told the name of.
    new: tuple[str, int] | None = None
    #: What a limit ever allowed at most, what it counts, and those that somebody took away (with their balances).
    most: dict[str, int] = field(default_factory=dict)
    measures: dict[str, str] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    _left_open: dict[str, tuple[Charge, ...]] = field(default_factory=dict)
    _charged_whole: list[Charge] = field(default_factory=list)

    # What is told

    def will_set(self, limit_id: str, measure: str, amount: int) -> None:
        """A limit is about to be set."""
        self.most[limit_id] = max(amount, self.most.get(limit_id, 0))
        self.measures[limit_id] = measure
        self.in_doubt[limit_id] = (measure, amount)

    def will_remove(self, limit_id: str) -> None:
        """A limit is about to be removed."""
        self.removed.add(limit_id)
        self.in_doubt[limit_id] = None

    def is_done(self, limit_id: str) -> None:
        """That was acknowledged."""
        state = self.in_doubt.pop(limit_id)
        if state is None:
            self.limits.pop(limit_id, None)
        else:
            self.limits[limit_id] = state

    # What is found

    def look(self, folder: Path, *, stopped_well: bool, storage_failed: bool, life: int) -> Rows:
        """After life `life`. `stopped_well`: it was stopped, and all who asked were told how it ended."""
        copy = folder.with_name(f"{folder.name}-looked-at")
        shutil.copytree(folder, copy)
        try:
            rows = Rows.read(copy / DATABASE)
            verdict = verify_database(copy / DATABASE, self.verifier, self.notes) if self.verifier else None
        finally:
            shutil.rmtree(copy)
        if verdict is not None and not verdict.ok:
            self._broken(life, f"log: {verdict.reason}")
        self._check_requests(rows, life)
        self._check_limits(rows, life)
        self._check_balances(rows, life)
        if stopped_well and not storage_failed:
            open_ = sorted((rows.asked - rows.answered).keys() & {t.request_id for t in self.told if t.life == life})
            if open_:
                self._broken(life, f"log: asked and never answered: {open_}")
            if mine := sorted(rows.held.keys() & {t.request_id for t in self.told if t.life == life}):
                self._broken(life, f"quotas: held for ever: {mine}")
        self._left_open = rows.held
        return rows

    def _broken(self, life: int, what: str) -> None:
        self.wrong.append(f"after life {life}: {what}")

    def _check_requests(self, rows: Rows, life: int) -> None:
        for name, number in (rows.asked + rows.answered).items():
            if number > 2 or rows.answered[name] > rows.asked[name]:
                self._broken(life, f"log: {name} asked {rows.asked[name]}, answered {rows.answered[name]} times")
        if set(rows.answered) != set(rows.used):
            self._broken(life, f"meter: {sorted(set(rows.answered) ^ set(rows.used))} are in log or meter alone")
        if wrong := rows.held.keys() - (rows.asked - rows.answered).keys():
            self._broken(life, f"quotas: {sorted(wrong)} hold something, and are not under way")
        for told in self.told:
            if told.began and not rows.asked[told.request_id]:
                self._broken(life, f"log: {told.request_id} was begun to be answered, and its question is not there")
            if told.usage is not None and told.outcome == "finished":
                counts = (told.usage.prompt_tokens, told.usage.completion_tokens)
                if rows.used.get(told.request_id) != counts:
                    found = rows.used.get(told.request_id)
                    self._broken(life, f"meter: {told.request_id} was told {counts}, metered {found}")

    def _check_limits(self, rows: Rows, life: int) -> None:
        for name, doubted in list(self.in_doubt.items()):
            if rows.limits.get(name) == doubted:
                self.is_done(name)
            else:
                del self.in_doubt[name]
        for name in sorted(rows.limits.keys() - self.limits.keys()):
            if rows.limits[name] == self.new:
                self.will_set(name, *self.new)
                self.is_done(name)
        self.new = None
        if rows.limits != self.limits:
            self._broken(life, f"quotas: the limits are {rows.limits}, not {self.limits}")

    def _check_balances(self, rows: Rows, life: int) -> None:
        """What is charged is what was used, and in full what a kill left open; and neither is over the limit."""
        charged = {name for name in self._left_open if name not in rows.held and name not in rows.used}
        if charged and charged != {name for name in self._left_open if name not in rows.used}:
            self._broken(life, f"quotas: of what was left open only {sorted(charged)} were charged")
        self._charged_whole += [each for name in sorted(charged) for each in self._left_open[name]]
        used: Counter[_Key] = Counter()
        for name, (prompt, completion) in rows.used.items():
            for each in self.held.get(name, ()) if name in rows.asked else ():
                amount = {"tokens": prompt + completion, "requests": int(prompt + completion > 0)}
                used[each.limit_id, each.who, each.start_ms] += amount.get(self.measures.get(each.limit_id, ""), 0)
        due = Counter(used)
        for each in self._charged_whole:
            due[each.limit_id, each.who, each.start_ms] += each.amount
        for key in sorted({*due, *rows.balances}):
            if key[0] not in self.removed and due[key] != rows.balances.get(key, 0):
                self._broken(life, f"quotas: {key} has {rows.balances.get(key, 0)} charged, {due[key]} are due")
        if "lies" not in self.plan.faults:
            for key, amount in used.items():
                beyond = _BEYOND_TOKENS if self.measures.get(key[0]) == "tokens" else 0
                if key[0] not in self.removed and amount > self.most.get(key[0], 0) + beyond:
                    self._broken(life, f"quotas: {key} allows {self.most.get(key[0])}, and {amount} were used")
