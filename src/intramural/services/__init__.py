"""What a person may ask for. Every function here reads the same: may they? → do it → write it down.

Promises: nothing happens without a policy decision; every act that changes something is in the audit log in the same
transaction as the change; an answer's first byte waits until the question is in the log, its last until the answer is.
Never: knows HTTP, engines or SQL. A person's own things can only be had through these functions.

Read in this order: `gate`, `particulars`, `quotas`, `inference`, `evictions`, `guarding`, `media`, `receipts`,
`models`, `pulls`, `pushes`, `provenance`, `locks`, `bundles`, `uploads`, `catalogue`, `fit`, `conversations`, `live`,
`responses`, `transcripts`, `expiry`, `files`, `batches`, `holds`, `purging`, `egress`, `seating`, `sign_in`,
`provider_web`,
`federation`, `factors`, `belonging`, `passkeys`, `people`, `rosters`, `provisioning`, `personal`, `break_glass`,
`shown`, `vault`, `keys`, `organisation`, `workspaces`, `explain`, `consent`, `notices`, `uses`, `records`, `reports`,
`proofs`, `anchor_web`, `anchoring`, `evidence`, `enclosure`, `denials`, `attestation`;
`arrival`, `batch_work`, `estimates`, `looking`, `quota_words`, `reviews`, `roster_runs`, `shield`, `standing`,
`truncation`, `watched` and `work` are parts of several.
"""

from collections.abc import Callable
from dataclasses import dataclass

from intramural.access import Identify
from intramural.services.anchoring import Anchoring
from intramural.services.attestation import Attestations
from intramural.services.batches import BatchDesk
from intramural.services.break_glass import BreakGlass
from intramural.services.bundles import Bundles
from intramural.services.catalogue import CatalogueDesk
from intramural.services.consent import ConsentDesk
from intramural.services.conversations import Conversations
from intramural.services.denials import Denials
from intramural.services.egress import EgressDesk
from intramural.services.evictions import Evictions
from intramural.services.evidence.desk import EvidenceDesk
from intramural.services.expiry import Expiry
from intramural.services.explain import PolicyDesk
from intramural.services.factors import FactorDesk
from intramural.services.federation import Federation
from intramural.services.files import FileDesk
from intramural.services.fit import FitDesk
from intramural.services.guarding import Guarding
from intramural.services.holds import HoldDesk
from intramural.services.inference import Inference
from intramural.services.keys import KeyDesk
from intramural.services.locks import Locks
from intramural.services.models import Models
from intramural.services.notices import NoticeDesk
from intramural.services.organisation import GroupDesk, RoleDesk
from intramural.services.passkeys import PasskeyDesk
from intramural.services.people import PeopleDesk
from intramural.services.personal import Personal
from intramural.services.plans import Ordinary, Planner
from intramural.services.preloads import Preloads
from intramural.services.proofs import Proofs
from intramural.services.provenance import Provenance
from intramural.services.provisioning import Provisioning
from intramural.services.pulls import Pulls
from intramural.services.purging import Purging
from intramural.services.pushes import PushDesk
from intramural.services.quotas import Quotas
from intramural.services.receipts import Receipts
from intramural.services.records import Records
from intramural.services.reports import Reports
from intramural.services.responses import Responses
from intramural.services.rosters import Rosters
from intramural.services.shown import Shown
from intramural.services.sign_in import SignIn
from intramural.services.transcripts import TranscriptDesk
from intramural.services.uploads import UploadDesk
from intramural.services.uses import UseDesk
from intramural.services.vault import VaultDesk
from intramural.services.workspaces import WorkspaceDesk


@dataclass(frozen=True, slots=True)
class Services:
    """All services, as `app` wires them and the doors use them."""

    identity: Identify
    sign_in: SignIn
    federation: Federation
    factors: FactorDesk
    passkeys: PasskeyDesk
    people: PeopleDesk
    rosters: Rosters
    provisioning: Provisioning
    personal: Personal
    break_glass: BreakGlass
    shown: Shown
    vault: VaultDesk
    keys: KeyDesk
    groups: GroupDesk
    roles: RoleDesk
    workspaces: WorkspaceDesk
    policy: PolicyDesk
    consent: ConsentDesk
    notices: NoticeDesk
    uses: UseDesk
    models: Models
    preloads: Preloads
    pulls: Pulls
    pushes: PushDesk
    uploads: UploadDesk
    catalogue: CatalogueDesk
    fit: FitDesk
    provenance: Provenance
    locks: Locks
    bundles: Bundles
    inference: Inference
    quotas: Quotas
    guard: Guarding
    conversations: Conversations
    files: FileDesk
    batches: BatchDesk
    responses: Responses
    transcripts: TranscriptDesk
    expiry: Expiry
    denials: Denials
    egress: EgressDesk
    holds: HoldDesk
    purging: Purging
    evictions: Evictions
    records: Records
    receipts: Receipts
    reports: Reports
    proofs: Proofs
    anchoring: Anchoring
    evidence: EvidenceDesk
    attestations: Attestations
    #: Whether requests can be answered now (the log is open and a model can be served).
    ready: Callable[[], bool]


__all__ = [
    "Anchoring",
    "Attestations",
    "BatchDesk",
    "BreakGlass",
    "Bundles",
    "CatalogueDesk",
    "ConsentDesk",
    "Conversations",
    "Denials",
    "EgressDesk",
    "Evictions",
    "EvidenceDesk",
    "Expiry",
    "FactorDesk",
    "Federation",
    "FileDesk",
    "FitDesk",
    "GroupDesk",
    "Guarding",
    "HoldDesk",
    "Inference",
    "KeyDesk",
    "Locks",
    "Models",
    "NoticeDesk",
    "Ordinary",
    "PasskeyDesk",
    "PeopleDesk",
    "Personal",
    "Planner",
    "PolicyDesk",
    "Preloads",
    "Proofs",
    "Provenance",
    "Provisioning",
    "Pulls",
    "Purging",
    "PushDesk",
    "Quotas",
    "Receipts",
    "Records",
    "Reports",
    "Responses",
    "RoleDesk",
    "Rosters",
    "Services",
    "Shown",
    "SignIn",
    "TranscriptDesk",
    "UploadDesk",
    "UseDesk",
    "VaultDesk",
    "WorkspaceDesk",
]
