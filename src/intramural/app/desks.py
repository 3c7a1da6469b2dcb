"""Which service is given what: the desks behind the doors, made of the rooms. Decides nothing."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from intramural import __version__
from intramural.access import Access, Action, AgeRules, Consents, Notices, Openings, Policy, Uses, When
from intramural.access.oidc import Provider
from intramural.audit import (
    AuditLog,
    anchors_of,
)
from intramural.batches import Batches
from intramural.chats import Chats, KeptResponses, Transcripts
from intramural.core.actor import SYSTEM, Actor
from intramural.core.clock import Clock
from intramural.core.config import Config, ServingConfig
from intramural.core.errors import Misasked
from intramural.core.outward import Connect
from intramural.egress import (
    Egress,
    Errand,
    Purpose,
)
from intramural.files import Disk, Files
from intramural.guard import Names
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
from intramural.metering import Meter, Metrics, PoolNumbers, QuotaRows, Traces, WorkerNumbers, zone_of
from intramural.retention import HOLDS_FILE, HoldList, Holds, Kept
from intramural.sandbox import Launch, Limits, Posture, missing_layers, probe, run_once
from intramural.sandbox.readback import Held
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
from intramural.services.batch_work import Workshop
from intramural.services.belonging import Belonging
from intramural.services.crashes import Crashes
from intramural.services.denials import Denials
from intramural.services.directory import Directory
from intramural.services.downgrades import Downgrade, downgrades
from intramural.services.enclosure import Enclosure, left_out, processes
from intramural.services.evidence.gathering import Rooms
from intramural.services.gate import Gate
from intramural.services.guarding import Guarding
from intramural.services.media import Media, Outward
from intramural.services.personal import Forgetting
from intramural.services.provider_web import asking
from intramural.services.purging import Doing
from intramural.services.records import Walled
from intramural.services.reports import known_of
from intramural.services.reviews import WorkingHours
from intramural.services.seating import Seating
from intramural.services.standing import Again, standing
from intramural.services.turns import Turns
from intramural.serving import (
    FLOOR,
    Pool,
    installed,
    parse_options,
    standing_of,
)
from intramural.storage import Database
from intramural.vault import ERASED_FILE, Erased, Stored, Vault, Whole

#: A header is parsed in far less; a file that wants more is not a model.
_INSPECTION = Limits(memory_bytes=2 * 2**30, cpu_s=30)


def _asked_for(egress: Egress, gate: Gate, purpose: Purpose) -> Callable[[Actor, str], Connect]:
    """The way for what somebody asks for; who may decide about the list has decided by asking."""

    def way(actor: Actor, about: str) -> Connect:
        approves = gate.decide(actor, Action.EGRESS_CHANGE).allowed
        return egress.way(Errand(actor, purpose, about, approves))

    return way


@dataclass(frozen=True, slots=True)
class Ground:
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
    denials: Denials

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


def services_of(
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
    denials: Denials,
) -> Services:
    holds = Holds(db, clock)
    gate = Gate(audit, policy.rules, vault, holds.on, _when(config, ages, clock))
    metrics = Metrics(
        __version__, lambda: _pool_numbers(pool), lambda: {"sent": traces.sent, "dropped": traces.dropped}
    )
    workspaces = WorkspaceDesk(gate, access.workspaces, audit, holds.on)
    ground = Ground(
        config, db, vault, audit, access, pool, traces, posture, enclosure, clock, names, gate, Meter(db, clock),
        metrics, standing(access.identify, workspaces), Stored(db, clock), holds, ages, egress, denials,
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
        denials=denials,
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


def _shelf(ground: Ground) -> _Shelf:
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


def _fit(ground: Ground, shelf: _Shelf) -> FitDesk:
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


def _bundles(ground: Ground, shelf: _Shelf) -> Bundles:
    imports = Imports(ground.config.data_dir / "library" / "bundles.json")
    carried = CarriedCatalogue(*_own_catalogue(ground.config))
    return Bundles(ground.gate, shelf.library, ground.audit, ground.clock, shelf.trust, imports, carried)


def _uploaded(ground: Ground) -> _Uploaded:
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


def _inference(ground: Ground, models: Models, uploaded: _Uploaded, guard: Guarding) -> Inference:
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


def _entrance(ground: Ground) -> _Entrance:
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


def _rosters(ground: Ground) -> Rosters:
    providers = ground.config.providers
    issuers = {each.name: each.issuer for each in providers.oidc}
    issuers |= {each.name: each.issuer for each in providers.ldap}
    consents = Consents(ground.db, ground.vault, ground.clock)
    return Rosters(ground.gate, ground.access, consents, ground.audit, ground.clock, issuers)


def _personal(ground: Ground, uploaded: _Uploaded) -> Personal:
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


def _break_glass(ground: Ground) -> BreakGlass:
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
    ground: Ground,
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


def _vault_desk(ground: Ground, uploaded: _Uploaded, whole: Whole) -> VaultDesk:
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


def _anchoring(ground: Ground) -> Anchoring:
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


def _records(ground: Ground, catalogue: CatalogueDesk, reports: Reports, anchoring: Anchoring) -> Records:
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
        ground.denials.numbers,
        cores=ground.cores,
        memory_bytes=ground.memory_bytes,
        posture=ground.posture,
        engine=standing_of(installed(), engine_floor(ground.config), ground.config.sandbox.older_engines),
        seal=None if ground.enclosure is None else ground.enclosure.seal,
        downgrades=downgrades_of(config, ground.posture, ground.enclosure),
        processes=partial(_processes, ground),
        suggestion=catalogue.suggestion,
    )


def _evidence(
    ground: Ground,
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


def _workers(ground: Ground) -> list[tuple[str, int, tuple[str, ...]]]:
    """Name, process, and what it says of itself."""
    return [(each.name, each.pid, each.layers) for each in ground.pool.status().workers if each.pid is not None]


def _held(ground: Ground) -> list[Held]:
    return processes(ground.enclosure, _workers(ground))


def _processes(ground: Ground) -> list[Walled]:
    seal = None if ground.enclosure is None else ground.enclosure.seal
    level, connects = (None, ()) if seal is None else (seal.level, seal.connects)
    asked = Asked(level, connects, left_out(ground.config), os.geteuid())
    return [Walled(each, walls(each, asked)) for each in _held(ground)]


def _attestations(ground: Ground, shelf: _Shelf, anchoring: Anchoring, policy: Policy) -> Attestations:
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


def downgrades_of(config: Config, posture: Posture, enclosure: Enclosure | None) -> list[Downgrade]:
    return downgrades(config, posture, None if enclosure is None else enclosure.seal.level)


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
