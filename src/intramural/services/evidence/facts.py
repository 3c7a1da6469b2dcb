"""What checks look at: values, gathered at one moment. Nothing here asks anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from intramural.core.actor import Label
from intramural.core.config import AccessConfig, ConsentConfig, EvidenceConfig
from intramural.sandbox.readback import Held


@dataclass(frozen=True, slots=True)
class Place:
    """A workspace, or with an empty `id` what is outside any. `days`: for how long each class of data is kept there; a
    class that is not in it is kept for ever."""

    id: str
    name: str
    label: Label
    days: Mapping[str, int]
    purposes: tuple[str, ...] = ()
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Declared:
    """A workspace with uses of high risk. `overseers`: of those who are let in; `reviewed_ms`: when one of them last
    reviewed an answer there (None: never)."""

    name: str
    uses: tuple[str, ...]
    overseers: int
    reviewed_ms: int | None


@dataclass(frozen=True, slots=True)
class Somebody:
    """A person who is let in. `passkeys`: how many an administrator has; of others nobody counts them."""

    username: str
    role: str
    passkeys: int


@dataclass(frozen=True, slots=True)
class Recipient:
    """Where something may be sent. `by`: the setting or the entry of the list that allows it."""

    host: str
    port: int | None
    purpose: str
    by: str


@dataclass(frozen=True, slots=True)
class Kept:
    """How much is kept of one kind in one place, and for how many days (None: for ever)."""

    place: str
    what: str
    number: int
    days: int | None


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What confines. `seal` None: no service runs here, a command opened the house. `attested_ms`: when the newest
    attestation was made (None: none was), and of which colour."""

    confinement: str
    layers: str
    seal: str | None
    seal_layers: tuple[str, ...]
    processes: Sequence[Held]
    data_mode: int
    secrets_mode: int
    attested_ms: int | None
    attested: str


@dataclass(frozen=True, slots=True)
class WayFacts:
    """Where things may go. `plain`: what is reached over a network without encryption; `outside`: engines that are."""

    egress: str
    recipients: Sequence[Recipient]
    outside: tuple[str, ...]
    plain: tuple[str, ...]
    listens: str
    https: bool


@dataclass(frozen=True, slots=True)
class LogFacts:
    """The log; its `root` in base64. `wrong`: why it does not verify (empty: it does). `lacking`: of the newest
    `answers` those whose entries do not say what made them. `unnamed`: of the newest entries about reading what is
    another's (`disclosures`) those that do not say whose."""

    size: int
    root: str
    begins_ms: int | None
    wrong: str
    anchors: str
    anchored: str
    review_days: int
    missed_review: str | None
    purged_earlier: bool
    answers: int
    lacking: int
    disclosures: int
    unnamed: int


@dataclass(frozen=True, slots=True)
class VaultFacts:
    """What people wrote. `lock`: what locks the installation's key (empty: nothing does). `checked_ms`: when all was
    last held against what it comes to, and how many things were `wrong`. `returned`: erased people of whom there is
    a key again."""

    sealed: bool
    lock: str
    checked_ms: int | None
    wrong: int
    erased: int
    returned: int


@dataclass(frozen=True, slots=True)
class KeptFacts:
    """How long things are kept. `purged_ms`: when the last round of deleting ended; `purge_error`: what ended it."""

    places: Sequence[Place]
    kept: Sequence[Kept]
    texts_beside_log: bool
    purged_ms: int | None
    purge_error: str
    backed_up_ms: int | None
    rehearsed_ms: int | None


@dataclass(frozen=True, slots=True)
class PeopleFacts:
    """Who is here, and what the policy says when it is asked. `readers`: what is allowed of what is another's;
    `refused_own`: what somebody is refused of their own; `child`: the rule that refuses a child without consent (empty:
    none does); `let_in`: of those who are `shut_out`, whom the service would still let in."""

    people: Sequence[Somebody]
    names_twice: tuple[str, ...]
    shut_out: int
    let_in: tuple[str, ...]
    keys: int
    endless_keys: int
    readers: tuple[str, ...]
    refused_own: tuple[str, ...]
    child: str
    log_readers: int
    second_person: bool


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Models and what is told of them. `lets_pass`: by label, classes that the guard lets pass there and does not as it
    comes; `blind`: by label, classes that are to be looked for and are not."""

    required_trust: str
    trusts: Mapping[str, str]
    lets_pass: Mapping[str, tuple[str, ...]]
    blind: Mapping[str, tuple[str, ...]]
    declared: Sequence[Declared]
    notices: Sequence[str]
    notice_of_ai: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything, at `now_ms`."""

    now_ms: int
    machine: MachineFacts
    way: WayFacts
    log: LogFacts
    vault: VaultFacts
    kept: KeptFacts
    people: PeopleFacts
    models: ModelFacts
    access: AccessConfig
    consent: ConsentConfig
    evidence: EvidenceConfig
