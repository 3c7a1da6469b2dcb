"""Gathering facts: every room is asked what it knows at this moment, and what is in force is read back where it can be.

Nothing is decided here; `checks` does that.
"""

import asyncio
import base64
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from msgspec import structs

from intramural.access import Access, Action, Person, Thing, Workspace
from intramural.access.policy import ROLE_SCOPES
from intramural.audit import AuditLog, Event, Standing, Wanted
from intramural.audit.record import parse
from intramural.core.actor import CONSOLE, SYSTEM, Actor, Age, Role
from intramural.core.actor import Standing as StandingOf
from intramural.core.clock import Clock
from intramural.core.config import Config, RetentionConfig
from intramural.core.errors import Unauthenticated, Untrusted
from intramural.core.retention import DATA_CLASSES
from intramural.egress import Egress
from intramural.egress.rules import is_here
from intramural.guard import NAMED, Deed, Kind, Names, policies
from intramural.guard.policy import Policy
from intramural.library import Library
from intramural.sandbox import Posture
from intramural.sandbox.readback import Held
from intramural.sandbox.seal import Seal
from intramural.services.evidence.facts import (
    Declared,
    Facts,
    Kept,
    KeptFacts,
    LogFacts,
    MachineFacts,
    ModelFacts,
    PeopleFacts,
    Place,
    Recipient,
    Somebody,
    VaultFacts,
    WayFacts,
)
from intramural.services.gate import Gate
from intramural.services.notices import AI_NOTICE, NoticeDesk
from intramural.services.particulars import statement
from intramural.services.purging import Purging
from intramural.services.reports import Reports
from intramural.services.reviews import LogRetention
from intramural.services.uses import UseDesk
from intramural.vault import Erased, Stored, Vault

#: Answers, and entries about reading what is another's, that are looked at: the newest.
_ANSWERS = 20
_READS = 200
#: People who are shut out and asked about at the most: one look in the database each.
_SHUT_OUT = 200
#: What nobody reads of another's.
_READING = (
    Action.CHATS_READ, Action.FILES_READ, Action.RESPONSES_READ, Action.CONVERSATIONS_READ, Action.BATCHES_READ,
)  # fmt: skip
#: What everybody has of their own.
_OWN = (Action.ME_EXPORT, Action.DISCLOSURES_READ, Action.RECEIPTS_READ, Action.CHATS_READ)
#: Where the database's client is told to encrypt.
_ENCRYPTED = frozenset({"require", "verify-ca", "verify-full"})
_OUTSIDE = "outside workspaces"


@dataclass(frozen=True, slots=True)
class Rooms:
    """Whom to ask. `seal` None: a command opened the house for a moment."""

    config: Config
    gate: Gate
    audit: AuditLog
    access: Access
    vault: Vault
    stored: Stored
    erased: Erased
    egress: Egress
    library: Library
    names: Names
    purging: Purging
    reports: Reports
    notices: NoticeDesk
    uses: UseDesk
    posture: Posture
    seal: Seal | None
    processes: Callable[[], Sequence[Held]]
    anchored: Callable[[], Awaitable[Standing]]
    clock: Clock


async def gathered(rooms: Rooms) -> Facts:
    """Everything, now. The whole log is verified: some seconds where it is long."""
    places, everybody = await _places(rooms), await rooms.access.people.list()
    return Facts(
        now_ms=int(rooms.clock.now_s() * 1000),
        machine=await _machine(rooms),
        way=await _way(rooms),
        log=await _log(rooms),
        vault=await _vault(rooms),
        kept=await _kept(rooms, places),
        people=await _people(rooms, everybody),
        models=await _models(rooms, places, everybody),
        access=rooms.config.access,
        consent=rooms.config.consent,
        evidence=rooms.config.evidence,
    )


async def _machine(rooms: Rooms) -> MachineFacts:
    made = await rooms.audit.entries(limit=1, event=Event.ATTESTATION_MADE)
    posture, seal, folder = rooms.posture, rooms.seal, rooms.config.data_dir
    holds = (
        f"Landlock {posture.landlock_abi}" if posture.landlock_abi else "",
        "seccomp" if posture.seccomp else "",
        "no network" if posture.netns else "",
        "own user" if posture.own_uid else "",
        *posture.reasons,
    )
    return MachineFacts(
        confinement=posture.level.value,
        layers=", ".join(each for each in holds if each),
        seal=None if seal is None else seal.level,
        seal_layers=() if seal is None else seal.layers,
        processes=await asyncio.to_thread(rooms.processes),
        data_mode=folder.stat().st_mode & 0o7777,
        secrets_mode=(folder / "secrets").stat().st_mode & 0o7777,
        attested_ms=made[0].time_ms if made else None,
        attested=str(made[0].facts["colour"]) if made else "",
    )


async def _way(rooms: Rooms) -> WayFacts:
    config = rooms.config
    return WayFacts(
        egress=rooms.egress.mode,
        recipients=[Recipient(each.host, each.port, each.purpose, each.id) for each in rooms.egress.allowed()],
        outside=tuple(each.shown for each in config.engines if each.outside),
        plain=tuple(_plain(config)),
        listens=config.server.host,
        https=config.server.https,
    )


def _plain(config: Config) -> Iterator[str]:
    """What settings name on other machines and reach without encryption."""
    for engine in config.engines:
        if engine.address.scheme == "http" and not is_here(engine.address.host):
            yield engine.shown
    for each in (*config.anchors.witnesses, *config.anchors.stampers):
        parts = urlsplit(each.partition(" ")[0])
        if parts.scheme == "http" and not is_here(parts.hostname or ""):
            yield f"anchor {parts.hostname}"
    parts = urlsplit(config.storage.url)
    if parts.hostname and not is_here(parts.hostname) and not _ENCRYPTED & {*parse_qs(parts.query).get("sslmode", [])}:
        yield f"database {parts.hostname}"


# the log --------------------------------------------------------------------------------------------------------------


async def _log(rooms: Rooms) -> LogFacts:
    audit = rooms.audit
    verdict = await audit.verify()
    now = audit.verifier.checkpoint_of(audit.checkpoint())
    standing = await rooms.anchored()
    answers, lacking = await _answers(audit)
    reads = await audit.entries(limit=_READS, event=Event.BREAKGLASS_READ)
    retention = LogRetention()
    async for entry in audit.walk(Wanted(event="retention.*")):
        retention.add(entry)
    first = await audit.record_at(0)
    begins_ms = None if first is None else parse(first).time_ms
    return LogFacts(
        size=now.size,
        root=base64.b64encode(now.root).decode(),
        begins_ms=begins_ms,
        wrong="" if verdict.ok else verdict.reason,
        anchors=standing.colour,
        anchored=standing.why,
        review_days=rooms.config.audit.review_every_days,
        missed_review=await rooms.reports.missed(),
        purged_earlier=bool(retention.result(begins_ms, int(rooms.clock.now_s() * 1000))["purged_earlier"]),
        answers=answers,
        lacking=lacking,
        disclosures=len(reads),
        unnamed=sum(1 for each in reads if not _names_owner(each.facts)),
    )


def _names_owner(facts: Mapping[str, object]) -> bool:
    return any(facts.get(each) for each in ("person", "owner", "of"))


async def _answers(audit: AuditLog) -> tuple[int, int]:
    """Of the newest answers that were finished: how many there are, and how many do not say what made them."""
    found = [
        each for each in await audit.entries(limit=_ANSWERS, event=Event.CHAT_ANSWERED) if each.outcome == "finished"
    ]
    lacking = 0
    for each in found:
        records = [record for _, record in await audit.of_request(each.request_id or "")]
        asked = [record for record in records if record.event == Event.CHAT_ASKED]
        answered = [record for record in records if record.event == Event.CHAT_ANSWERED]
        if not asked or not answered:
            lacking += 1
            continue
        said = statement([asked[0], answered[-1]])
        needed = (said["model"]["digest"], said["engine"], said["sampling"], said["policy"]["rule"])
        lacking += not all(needed)
    return len(found), lacking


# what is kept ---------------------------------------------------------------------------------------------------------


async def _vault(rooms: Rooms) -> VaultFacts:
    checked = await rooms.audit.entries(limit=1, event=Event.VAULT_CHECKED)
    erased = await asyncio.to_thread(rooms.erased.people)
    try:
        lock = await asyncio.to_thread(rooms.vault.locked_by)
    except Untrusted:  # others can read the file by now: whatever locks it, that is not how it was left
        lock = ""
    return VaultFacts(
        sealed=await rooms.stored.is_sealed(),
        lock=lock,
        checked_ms=checked[0].time_ms if checked else None,
        wrong=int(checked[0].facts["wrong"]) if checked else 0,
        erased=len(erased),
        returned=sum(1 for each in erased if rooms.vault.knows(each)),
    )


async def _places(rooms: Rooms) -> list[Place]:
    outside = Place("", _OUTSIDE, rooms.config.guard.label, _days(rooms.config.retention))  # type: ignore[arg-type]
    return [outside, *map(_place, await rooms.access.workspaces.list())]


def _place(workspace: Workspace) -> Place:
    place = workspace.place
    closed = workspace.closed_ms is not None
    return Place(place.id, place.name, place.label, dict(workspace.retention_days), place.purposes, closed)


def _days(config: RetentionConfig) -> dict[str, int]:
    days = {each: getattr(config, f"{each}_days", 0) for each in DATA_CLASSES}
    return {name: number for name, number in days.items() if number}


async def _kept(rooms: Rooms, places: Sequence[Place]) -> KeptFacts:
    names = {each.id: each.name for each in places}
    progress = await rooms.purging.progress(SYSTEM)
    kept = [
        Kept(names.get(each.workspace_id or "", "a removed workspace"), each.what, each.number, each.days)
        for each in await rooms.purging.preview(SYSTEM)
    ]
    # also of a time when the setting was another
    are_texts = any(each.what == "texts" and each.number for each in kept)
    return KeptFacts(
        places=places,
        kept=kept,
        texts_beside_log=rooms.config.audit.record_prompts or are_texts,
        purged_ms=progress.ended_ms,
        purge_error=progress.error or "",
        backed_up_ms=await _newest(rooms.audit, Event.BACKUP_MADE),
        rehearsed_ms=await _newest(rooms.audit, Event.BACKUP_REHEARSED, Event.BACKUP_RESTORED),
    )


async def _newest(audit: AuditLog, *events: Event) -> int | None:
    found = [each.time_ms for event in events for each in await audit.entries(limit=1, event=event)]
    return max(found, default=None)


# who is here ----------------------------------------------------------------------------------------------------------


async def _people(rooms: Rooms, everybody: Sequence[Person]) -> PeopleFacts:
    let_in = [each for each in everybody if each.disabled_ms is None]
    twice = Counter(each.username.casefold() for each in everybody)
    administrators = {each.id for each in let_in if each.role == "administrator"}
    passkeys = {each: len(await rooms.access.passkeys.of(each)) for each in administrators}
    keys = [each for each in await rooms.access.keys.list() if each.revoked_ms is None]
    out = [each.id for each in everybody if each.disabled_ms is not None]
    return PeopleFacts(
        people=[
            Somebody(each.username, each.role, passkeys.get(each.id, 0)) for each in let_in if each.kind == "person"
        ],
        names_twice=tuple(sorted(name for name, number in twice.items() if number > 1)),
        shut_out=len(out),
        let_in=tuple([each for each in out[:_SHUT_OUT] if await _is_let_in(rooms.access, each)]),
        keys=len(keys),
        endless_keys=sum(1 for each in keys if each.expires_ms is None),
        readers=tuple(_readers(rooms.gate)),
        refused_own=tuple(_refused_own(rooms.gate)),
        child=_child(rooms.gate),
        log_readers=sum(1 for each in let_in if each.kind == "person" and each.role in ("administrator", "auditor")),
        second_person=rooms.config.break_glass.second_person,
    )


async def _is_let_in(access: Access, person_id: str) -> bool:
    try:
        await access.identify.again("person", person_id, "evidence")
    except Unauthenticated:
        return False
    return True


def _readers(gate: Gate) -> Iterator[str]:
    """What of another's administrators, auditors and the console could read."""
    theirs = Thing(owner_id="person_somebody_else")
    for actor in (_somebody("administrator"), _somebody("auditor"), CONSOLE):
        yield from (f"{actor.role}: {each}" for each in _READING if gate.decide(actor, each, theirs).allowed)


def _refused_own(gate: Gate) -> Iterator[str]:
    member = _somebody("member")
    own = Thing(owner_id=member.person_id)
    yield from (f"{each}" for each in _OWN if not gate.decide(member, each, own).allowed)


def _child(gate: Gate) -> str:
    """The rule by which a child without a guardian's consent is refused an answer; empty: none does."""
    decision = gate.decide(_somebody("member", "under-13"), Action.MODEL_USE, Thing(model="any"))
    return "" if decision.allowed or decision.rule != "consent_needed" else decision.rule


def _somebody(role: Role, age: Age = "unknown") -> Actor:
    """Nobody who is here: for asking the policy. Everything that a session of this role carries."""
    actor = Actor("person", "person_of_evidence", "evidence", role, ROLE_SCOPES[role], "evidence")
    return structs.replace(actor, standing=StandingOf(age=age))


# models ---------------------------------------------------------------------------------------------------------------


async def _models(rooms: Rooms, places: Sequence[Place], everybody: Sequence[Person]) -> ModelFacts:
    shown = [notice for notice, _ in await rooms.notices.list(SYSTEM)]
    guards = policies(rooms.config.guard.rules)
    as_it_comes = policies(())
    blind = (NAMED - rooms.names.kinds) - {Kind.ORGANISATION}
    return ModelFacts(
        required_trust=rooms.config.library.required_trust,
        trusts={each.name: each.trust for each in await asyncio.to_thread(rooms.library.list)},
        lets_pass={label: tuple(_passing(guards[label], as_it_comes[label])) for label in guards},
        blind={label: tuple(sorted(each.value for each in blind & guards[label].looking)) for label in guards},
        declared=await _declared(rooms, {each.id: each.name for each in places}, everybody),
        notices=[each.draft.title for each in shown if each.id != AI_NOTICE],
        notice_of_ai=any(each.id == AI_NOTICE for each in shown),
    )


def _passing(policy: Policy, as_it_comes: Policy) -> Iterable[str]:
    """Classes of which a value passes as it was written, where it does not as the label comes."""
    keeps = (Deed.REDACT, Deed.BLOCK)
    return sorted(k.value for k, deed in policy.deeds.items() if deed not in keeps and as_it_comes.deeds[k] in keeps)


async def _declared(rooms: Rooms, names: Mapping[str, str], everybody: Sequence[Person]) -> list[Declared]:
    let_in = {each.id for each in everybody if each.disabled_ms is None}
    found = []
    for each in await rooms.uses.list(SYSTEM):
        if each.declarations:
            wanted = Wanted(event=str(Event.OUTPUT_REVIEWED), workspace=each.workspace_id)
            reviewed = (await rooms.audit.search(wanted, 1)).entries
            uses = tuple(one.use for one in each.declarations)
            name = names.get(each.workspace_id, each.workspace_id)
            reviewed_ms = reviewed[0].time_ms if reviewed else None
            found.append(Declared(name, uses, len(each.overseers & let_in), reviewed_ms))
    return found
