"""Which service is given what: the desks behind the doors, made of the rooms. Decides nothing."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from intramural import __version__
from intramural.access import Consents, Notices, Openings, Uses
from intramural.access.oidc import Provider
from intramural.app.ground import Ground, downgrades_of, engine_floor
from intramural.app.shelf import Shelf, bundles_of, fit_of, shelf_of
from intramural.audit import anchors_of
from intramural.batches import Batches
from intramural.chats import Chats, KeptResponses, Transcripts
from intramural.core.actor import SYSTEM
from intramural.core.config import Config, ServingConfig
from intramural.egress import Errand
from intramural.files import Disk, Files
from intramural.library import Library, Outside
from intramural.metering import QuotaRows, zone_of
from intramural.retention import HOLDS_FILE, HoldList, Kept
from intramural.sandbox.readback import Held
from intramural.sandbox.walls import Asked, walls
from intramural.services import (
    Anchoring,
    Attestations,
    BatchDesk,
    BreakGlass,
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
    GroupDesk,
    HoldDesk,
    Inference,
    KeyDesk,
    Locks,
    Models,
    NoticeDesk,
    PasskeyDesk,
    PeopleDesk,
    Personal,
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
)
from intramural.services.anchor_web import posting
from intramural.services.attestation import Controls, Sources, gather
from intramural.services.batch_work import Workshop
from intramural.services.belonging import Belonging
from intramural.services.directory import Directory
from intramural.services.enclosure import left_out, processes
from intramural.services.evidence.gathering import Rooms
from intramural.services.guarding import Guarding
from intramural.services.media import Media, Outward
from intramural.services.personal import Forgetting
from intramural.services.provider_web import asking
from intramural.services.purging import Doing
from intramural.services.records import Walled
from intramural.services.reports import known_of
from intramural.services.reviews import WorkingHours
from intramural.services.seating import Seating
from intramural.services.turns import Turns
from intramural.serving import installed, standing_of
from intramural.vault import ERASED_FILE, Erased, Whole


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
class _Texts:
    """What is kept of conversations: of the page, and of people's programs."""

    chats: Chats
    responses: KeptResponses
    transcripts: Transcripts


@dataclass(frozen=True, slots=True)
class _Entrance:
    """The ways to be let in."""

    sign_in: SignIn
    federation: Federation
    factors: FactorDesk
    passkeys: PasskeyDesk


def services_of(ground: Ground) -> Services:
    """Every service, of the rooms that were opened. Raises Misasked where a setting of one of them is wrong."""
    config, db, clock, audit, vault = ground.config, ground.db, ground.clock, ground.audit, ground.vault
    gate, access, holds, workspaces = ground.gate, ground.access, ground.holds, ground.workspaces
    shelf, uploaded, entrance, texts = shelf_of(ground), _uploaded(ground), _entrance(ground), _texts(ground)
    guard = Guarding(
        config.guard, gate, ground.names, audit, ground.metrics, clock, access.seal.key_of_marks, ground.ages
    )
    inference = _inference(ground, shelf.models, uploaded, guard)
    notices, uses = Notices(db, clock), Uses(db, clock)
    notice_desk = NoticeDesk(gate, notices, uses, access.people, audit, config.consent)
    use_desk = UseDesk(gate, uses, access.workspaces, notices, audit)
    hold_desk = HoldDesk(gate, holds, audit, access.seal, HoldList(_list_of_erased(config).with_name(HOLDS_FILE)))
    purging = _purging(ground, uploaded, texts, inference, hold_desk)
    reports, anchoring = _reports(ground), _anchoring(ground)
    return Services(
        identity=access.identify,
        sign_in=entrance.sign_in,
        factors=entrance.factors,
        passkeys=entrance.passkeys,
        federation=entrance.federation,
        people=PeopleDesk(gate, access.people, access.groups, access.roles, audit),
        rosters=_rosters(ground),
        provisioning=Provisioning(gate, db, access, audit),
        personal=_personal(ground, uploaded),
        break_glass=_break_glass(ground),
        shown=_shown(ground, texts, uploaded),
        vault=_vault_desk(ground, texts, uploaded),
        keys=KeyDesk(gate, access.keys, access.people, access.workspaces, access.identify, audit),
        groups=GroupDesk(gate, access.groups, audit),
        roles=RoleDesk(gate, access.roles, audit),
        workspaces=workspaces,
        policy=PolicyDesk(gate, access, audit),
        consent=ConsentDesk(gate, Consents(db, vault, clock), access.people, access.groups, ground.ages, vault, audit),
        notices=notice_desk,
        uses=use_desk,
        models=shelf.models,
        preloads=Preloads(config.serving.preload, clock, shelf.models.preload),
        catalogue=shelf.catalogue,
        fit=fit_of(ground, shelf),
        pulls=Pulls(gate, shelf.library, audit, db, clock, shelf.parse),
        pushes=_pushes(ground, shelf),
        denials=ground.denials,
        egress=EgressDesk(gate, ground.egress, audit, clock),
        uploads=UploadDesk(gate, shelf.uploads, audit),
        provenance=Provenance(gate, shelf.library, audit, clock, shelf.trust),
        locks=Locks(gate, shelf.library, shelf.models, audit, shelf.parse),
        bundles=bundles_of(ground, shelf),
        inference=inference,
        quotas=uploaded.quotas,
        guard=guard,
        conversations=Conversations(gate, texts.chats, inference, audit, clock, workspaces),
        files=uploaded.files,
        batches=uploaded.batches,
        responses=_responses(ground, shelf, texts, inference),
        transcripts=TranscriptDesk(gate, texts.transcripts, audit),
        expiry=Expiry(texts.responses, texts.transcripts, audit, holds),
        holds=hold_desk,
        purging=purging,
        evictions=Evictions(inference, ground.again),
        records=_records(ground, shelf.catalogue, reports, anchoring),
        receipts=Receipts(gate, audit),
        reports=reports,
        proofs=Proofs(gate, audit),
        anchoring=anchoring,
        evidence=_evidence(ground, shelf.library, purging, reports, notice_desk, use_desk, anchoring),
        attestations=_attestations(ground, shelf, anchoring),
        ready=shelf.models.any_ready,
    )


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


def _texts(ground: Ground) -> _Texts:
    db, vault, clock, config = ground.db, ground.vault, ground.clock, ground.config.responses
    return _Texts(
        Chats(db, vault, clock),
        KeptResponses(db, vault, clock, config.keep_days),
        Transcripts(db, vault, clock, config.conversation_keep_days),
    )


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


def _responses(ground: Ground, shelf: Shelf, texts: _Texts, inference: Inference) -> Responses:
    return Responses(
        ground.gate,
        shelf.models,
        inference,
        texts.responses,
        texts.transcripts,
        ground.audit,
        ground.access.seal,
        keeps=ground.config.responses.keep_days > 0,
    )


def _pushes(ground: Ground, shelf: Shelf) -> PushDesk:
    config = ground.config
    outside = Outside.of(config.library, config.data_dir)
    return PushDesk(ground.gate, shelf.library, ground.audit, outside, ground.asked_for("push"))


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


def _shown(ground: Ground, texts: _Texts, uploaded: _Uploaded) -> Shown:
    """What an opening shows."""
    return Shown(
        ground.gate,
        Kept(ground.db),
        ground.workspaces.place,
        texts.chats,
        uploaded.stored,
        texts.responses,
        texts.transcripts,
        uploaded.batch_rows,
        uploaded.inputs,
    )


def _purging(
    ground: Ground,
    uploaded: _Uploaded,
    texts: _Texts,
    inference: Inference,
    holds: HoldDesk,
) -> Purging:
    """Deleting what has been kept long enough."""
    config = ground.config
    forget, older, scrub = inference.forget, ground.pool.forget_older, ground.kept_whole.scrub
    delete = {
        "chats": texts.chats.purge,
        "responses": texts.responses.purge,
        "conversations": texts.transcripts.purge,
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


def _vault_desk(ground: Ground, texts: _Texts, uploaded: _Uploaded) -> VaultDesk:
    kept = (texts.chats, texts.responses, texts.transcripts, uploaded.stored, uploaded.batch_rows)
    whole = Whole(ground.db, [each.heads for each in kept])

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


def _reports(ground: Ground) -> Reports:
    config, access = ground.config, ground.access
    return Reports(
        ground.gate,
        ground.audit,
        ground.clock,
        WorkingHours.of(config.audit.working_hours, zone_of(config.quotas.time_zone)),
        config.audit.review_every_days,
        __version__,
        known_of(access.people, access.workspaces, Kept(ground.db)),
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


def _attestations(ground: Ground, shelf: Shelf, anchoring: Anchoring) -> Attestations:
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
        policy_digest=ground.policy.digest,
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
