"""Deleting what has been kept long enough: in small steps beside everything else, each with its event.

What is due is found anew in every round, so nothing is remembered that a crash could lose: whatever ends it, and when,
the next round goes on. States that models have computed of somebody's conversations go before the rows do, and bytes of
files after: what lies without a row is removed at the next start.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from sqlalchemy.exc import DBAPIError

from intramural.access import NO_AGES, Action, AgeRules, Workspace
from intramural.audit import AuditLog, Event, Fact
from intramural.core.actor import SYSTEM, Actor, Age, Label
from intramural.core.clock import Clock
from intramural.core.config import RetentionConfig
from intramural.core.errors import IntramuralError, Misasked
from intramural.core.retention import DATA_CLASSES, DAY_MS, below_floor, floor_sentence, log_floor, strictest_floor
from intramural.core.rounds import Rounds
from intramural.retention import SOURCES, Holds, Kept, Rule, Source, Thing, verdict
from intramural.retention.due import counted_days
from intramural.services.gate import Gate
from intramural.services.workspaces import refused_facts
from intramural.storage import Connection

_log = logging.getLogger(__name__)

EVERY_S = 3600.0
#: Things deleted in one transaction: others who write wait for it, some milliseconds.
AT_ONCE = 20
#: Pieces of the index of files, likewise.
PIECES_AT_ONCE = 200
#: Between two steps: whoever waits to write comes first.
PAUSE_S = 0.01
#: What a preview looks ahead, in days.
HORIZONS = (0, 7, 30)


@dataclass(frozen=True, slots=True)
class Doing:
    """What a round does outside the database."""

    #: What models have computed of this person's conversations is on no disk any more.
    forget_states: Callable[[str], Awaitable[None]]
    #: Nor is what was last used before this time (seconds); how many that were.
    forget_older_states: Callable[[float], Awaitable[int]]
    #: By source: delete these in the transaction, how many. Their room knows what else is to be kept right.
    delete: Mapping[str, Callable[[Connection, Collection[str]], Awaitable[int]]]
    #: The bytes of these files, whose rows are gone.
    drop_files: Callable[[Collection[str]], Awaitable[None]]
    #: Who came into groups that are held is written down.
    follow_holds: Callable[[], Awaitable[None]]
    #: Nothing of what was deleted stays in the database's files.
    scrub: Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Progress:
    """The round that is under way, or the last one. Times in milliseconds; `deleted` by what it was; `error`: the code
    of what ended it early."""

    running: bool = False
    stopping: bool = False
    begun_ms: int | None = None
    ended_ms: int | None = None
    deleted: Counter[str] = field(default_factory=Counter)
    held: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is kept of one kind in one place, and when it goes. `days` None: never. `due`: how many go now, within a
    week, and within thirty days. `age`: of people of this band alone (None: of everybody)."""

    data_class: str
    what: str
    workspace_id: str | None
    days: int | None
    rule: str
    number: int
    held: int
    due: tuple[int, ...]
    next_ms: int | None
    age: str | None = None


class _NothingLeft(Exception):
    """What was found is gone, used again, or held by now: the transaction is undone."""


class Purging:
    """Looks once an hour, and when it is told to. `open` it once; `close` it before the database."""

    def __init__(
        self,
        gate: Gate,
        audit: AuditLog,
        kept: Kept,
        holds: Holds,
        workspaces: Callable[[], Awaitable[list[Workspace]]],
        config: RetentionConfig,
        label: str,
        clock: Clock,
        doing: Doing,
        ages: AgeRules = NO_AGES,
    ) -> None:
        """`label`: of what is in no workspace; `ages`: for how long chats of younger people are kept at most."""
        self._ages = ages
        self._gate = gate
        self._audit = audit
        self._kept = kept
        self._holds = holds
        self._workspaces = workspaces
        self._config = config
        self._label = label
        self._clock = clock
        self._doing = doing
        self._progress = Progress()
        self._rounds = Rounds("retention", self.round, EVERY_S)

    async def open(self) -> None:
        """Begin looking. Raises Misasked(`retention_below_floor`) where settings would delete the log too early; of a
        workspace that would, the law's days count, and it is recorded.
        """
        await require_floor(self._audit, self._config, self._label)
        for each in await self._workspaces():
            if floor := below_floor(each.place.label, each.retention_days):
                facts = refused_facts(floor, each.retention_days["log"])
                target = f"workspace:{each.place.id}"
                await self._audit.record(Event.RETENTION_REFUSED, SYSTEM, target=target, outcome="refused", facts=facts)
        self._rounds.open()

    async def close(self) -> None:
        """Stop looking."""
        await self._rounds.close()

    # what people ask for

    async def begin(self, actor: Actor) -> Progress:
        """Delete what is due now, in the background."""
        await self._gate.require(actor, Action.RETENTION_RUN, target="retention")
        await self._audit.record(Event.RETENTION_BEGUN, actor, target="retention")
        self._rounds.now()
        return self._progress

    async def stop(self, actor: Actor) -> Progress:
        """End the round that is under way after its present step; the next one is in an hour."""
        await self._gate.require(actor, Action.RETENTION_RUN, target="retention")
        await self._audit.record(Event.RETENTION_STOPPED, actor, target="retention")
        self._progress.stopping = self._progress.running
        return self._progress

    async def progress(self, actor: Actor) -> Progress:
        await self._gate.require(actor, Action.RETENTION_READ, target="retention")
        return self._progress

    async def preview(self, actor: Actor) -> list[Forecast]:
        """What is kept of every class in every place, and what goes when."""
        await self._gate.require(actor, Action.RETENTION_READ, target="retention")
        now_ms = self._now_ms()
        return [
            await self._forecast(source, rule, now_ms) for rule in await self.rules() for source in _sources_of(rule)
        ]

    async def rules(self) -> list[Rule]:
        """For how long what is of each class is kept: outside workspaces, in each, and what is left of removed ones, by
        the house's own days.
        """
        own = _days_of(self._config)
        bands = await self._kept.ages()
        if self._ages.unknown != "adult":
            bands.add("unknown")
        found = _rules(None, self._label, own, "retention.") + self._of_ages(bands, None, "", own.get("chat"))
        for each in await self._workspaces():
            found += _rules(each.place.id, each.place.label, each.retention_days, "workspace ")
            found += self._of_ages(bands, each.place.id, each.place.name, each.retention_days.get("chat"))
        for gone_id in await self._kept.gone_places():
            found += _rules(gone_id, None, own, "removed workspace, retention.")
            found += self._of_ages(bands, gone_id, "", own.get("chat"))
        return found

    def _of_ages(self, bands: Collection[Age], workspace_id: str | None, name: str, days: int | None) -> list[Rule]:
        """Where chats of people of some age are kept for a shorter time than the place's own `days`."""
        found = []
        for band in sorted(bands):
            most = self._ages.keep_days(band, name, days)
            if most is not None and most != days:
                found.append(Rule("chat", workspace_id, most, f"age {band}: chat={most}", age=band))
        return found

    # a round

    async def round(self) -> Progress:
        """Delete all that is due."""
        progress = self._progress = Progress(running=True, begun_ms=self._now_ms())
        try:
            await self._doing.follow_holds()
            for rule in await self.rules():
                for source in _sources_of(rule):
                    await self._purge(source, rule, progress)
            await self._forget_states(progress)
            if progress.deleted:
                await self._doing.scrub()
        except (IntramuralError, DBAPIError) as error:
            progress.error = error.code if isinstance(error, IntramuralError) else "database_failed"
            _log.error("what is due could not be deleted: %s", progress.error)
        finally:
            progress.running, progress.stopping, progress.ended_ms = False, False, self._now_ms()
        return progress

    async def _purge(self, source: Source, rule: Rule, progress: Progress) -> None:
        days = counted_days(rule)
        if days is None:
            return
        now_ms, after = self._now_ms(), None
        while not progress.stopping:
            found = await self._kept.old(source, rule.workspace_id, now_ms - days * DAY_MS, after, AT_ONCE, rule.age)
            progress.held += sum(each.held for each in found)
            if due := [each for each in found if verdict(each, rule, now_ms).goes]:
                await self._delete(source, rule, due, progress)
            if not found:
                return
            after = found[-1].since_ms, found[-1].id
            await asyncio.sleep(PAUSE_S)

    async def _delete(self, source: Source, rule: Rule, due: Sequence[Thing], progress: Progress) -> None:
        """Delete these, and what was computed of them."""
        if source.data_class == "chat":
            for person_id in {each.person_id for each in due}:
                await self._doing.forget_states(person_id)
        if source.name == "passages":
            for each in due:
                await self._delete_pieces(source, rule, each, progress)
            return
        if source.name == "files":
            pieces = next(each for each in SOURCES if each.name == "passages")
            for each in due:
                await self._delete_pieces(pieces, rule, each, progress)
        gone = await self._step(source, rule, due, progress)
        if source.name == "files":
            await self._doing.drop_files([each.id for each in gone])

    async def _delete_pieces(self, source: Source, rule: Rule, thing: Thing, progress: Progress) -> None:
        while not progress.stopping:
            if not await self._step(source, rule, [thing], progress):
                return
            await asyncio.sleep(PAUSE_S)  # for whoever waits to write

    async def _step(self, source: Source, rule: Rule, due: Sequence[Thing], progress: Progress) -> list[Thing]:
        """One transaction: those of `due` that still are, and an event for each of whom they were."""
        now_ms = self._now_ms()
        with suppress(_NothingLeft):
            async with self._audit.transaction() as (connection, record):
                await self._holds.follow(connection)
                there = await self._kept.again(connection, source, [each.id for each in due], rule.age)
                there = [each for each in there if verdict(each, rule, now_ms).goes]
                if not there:
                    raise _NothingLeft
                number = await self._remove(connection, source, there)
                for person_id, facts in _told(source, rule, there, number):
                    record(Event.RETENTION_PURGED, SYSTEM, target=f"person:{person_id}", facts=facts)
            progress.deleted[source.name] += number
            return there
        return []

    async def _remove(self, connection: Connection, source: Source, there: Sequence[Thing]) -> int:
        """How many rows went."""
        ids = [each.id for each in there]
        delete = self._doing.delete.get(source.name)
        return await (delete(connection, ids) if delete else self._kept.remove(connection, source, ids, PIECES_AT_ONCE))

    async def _forget_states(self, progress: Progress) -> None:
        """States say nothing of workspaces: the shortest time that is set anywhere counts for all of them. (What is of
        younger people went with their chats.)"""
        chats = [each for each in await self.rules() if each.data_class == "chat" and each.age is None]
        days = [each.days for each in chats if each.days is not None]
        if days and not progress.stopping:
            number = await self._doing.forget_older_states(self._clock.now_s() - min(days) * DAY_MS / 1000)
            if number:
                progress.deleted["states"] += number

    async def _forecast(self, source: Source, rule: Rule, now_ms: int) -> Forecast:
        days = counted_days(rule)
        cuts = [] if days is None else [now_ms + (ahead - days) * DAY_MS for ahead in HORIZONS]
        found = await self._kept.outlook(source, rule.workspace_id, cuts, rule.age)
        next_ms = None if days is None or found.oldest_ms is None else found.oldest_ms + days * DAY_MS
        return Forecast(
            rule.data_class,
            source.name,
            rule.workspace_id,
            days,
            rule.name,
            found.number,
            found.held,
            found.going or (0,) * len(HORIZONS),
            next_ms,
            rule.age,
        )

    def _now_ms(self) -> int:
        return int(self._clock.now_s() * 1000)


async def require_floor(audit: AuditLog, config: RetentionConfig, label: str) -> None:
    """Raises Misasked(`retention_below_floor`), and has it recorded, where settings would delete texts of the log
    earlier than the law has it for data of this label."""
    days = _days_of(config)
    if floor := below_floor(_as_label(label), days):
        facts = refused_facts(floor, days["log"])
        await audit.record(Event.RETENTION_REFUSED, SYSTEM, target="retention", outcome="refused", facts=facts)
        message = f"retention.log_days: {floor_sentence(floor, days['log'])}"
        raise Misasked("retention_below_floor", message, "Keep it so long, or for ever: 0.")


def _days_of(config: RetentionConfig) -> dict[str, int]:
    days = {each: getattr(config, f"{each}_days", 0) for each in DATA_CLASSES}
    return {name: number for name, number in days.items() if number}


def _rules(workspace_id: str | None, label: str | None, days: Mapping[str, int], where: str) -> list[Rule]:
    """`label` None: nobody knows it any more, and the strictest floor counts."""
    found: list[Rule] = []
    least = strictest_floor(days) if label is None else log_floor(_as_label(label), days)
    for each in DATA_CLASSES:
        floor = least if each == "log" else None
        number = days.get(each)
        name = f"{where}{each}_days" if where.endswith("retention.") else f"{where}{each}"
        found.append(Rule(each, workspace_id, number, name if number is None else f"{name}={number}", floor))
    return found


def _as_label(label: str) -> Label:
    return label  # type: ignore[return-value]  # the guard refuses at the start what is none


def _sources_of(rule: Rule) -> list[Source]:
    """What is of the rule's class, and can be where it counts."""
    return [
        each
        for each in SOURCES
        if each.data_class == rule.data_class and (rule.workspace_id is None or each.workspace is not None)
    ]


def _by_owner(things: Sequence[Thing]) -> dict[str, list[Thing]]:
    """The oldest first."""
    found: dict[str, list[Thing]] = {}
    for each in sorted(things, key=lambda each: each.since_ms):
        found.setdefault(each.person_id, []).append(each)
    return found


def _told(source: Source, rule: Rule, gone: Sequence[Thing], number: int) -> list[tuple[str, dict[str, Fact]]]:
    """What the log says of a step: for everybody whose something went. `number`: rows that went in all, where one
    thing has several."""
    found: list[tuple[str, dict[str, Fact]]] = []
    for person_id, theirs in _by_owner(gone).items():
        facts: dict[str, Fact] = {
            "class": source.data_class,
            "what": source.name,
            "number": number if source.gone is not None else len(theirs),
            "oldest_ms": theirs[0].since_ms,
            "newest_ms": theirs[-1].since_ms,
            "rule": rule.name,
            "days": counted_days(rule),
        }
        if rule.workspace_id is not None:
            facts["workspace"] = rule.workspace_id
        if rule.floor is not None:
            facts |= {"least_days": rule.floor.days, "law": rule.floor.rule}
        found.append((person_id, facts))
    return found
