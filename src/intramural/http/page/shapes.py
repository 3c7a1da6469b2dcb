"""Requests and answers of `/intramural/v1`. Unknown fields are refused."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from intramural.metering import Measure, Period, Subject

Name = Field(min_length=1, max_length=200)
ModelName = Field(min_length=1, max_length=200)
PathText = Field(min_length=1, max_length=4096)
Text = Field(max_length=2_000_000)
Password = Field(max_length=1024)
Id = Field(min_length=1, max_length=64)
Role = Field(min_length=1, max_length=40)


class In(BaseModel):
    """A request body."""

    model_config = ConfigDict(extra="forbid", strict=True)


class SetupIn(In):
    token: str = Field(max_length=200)
    username: str = Name
    password: str = Password


class LoginIn(In):
    username: str = Name
    password: str = Password


class CodeIn(In):
    code: str = Field(min_length=1, max_length=64)


class PasskeyIn(In):
    ticket: str = Field(max_length=1000)
    credential: dict[str, Any] = Field(description="What `navigator.credentials` gave, as `toJSON` writes it.")


class NewPasskeyIn(PasskeyIn):
    name: str = Field(min_length=1, max_length=60)


class PasswordIn(In):
    old: str = Password
    new: str = Password


class KeyIn(In):
    name: str = Name
    scopes: list[Literal["inference", "chats", "admin", "metrics", "provision"]] = Field(
        default=["inference"], min_length=1
    )
    models: list[str] | None = Field(default=None, max_length=100)
    expires_in_days: int | None = Field(default=None, ge=1, le=3650)
    person_id: str | None = Field(
        default=None, max_length=64, description="Whose key: a service account's, for administrators."
    )
    workspace: str | None = Field(default=None, max_length=256, description="All that is asked with it is asked there.")


class PersonIn(In):
    """Without a `password` it is a service account."""

    username: str = Name
    password: str | None = Field(
        default=None, max_length=1024, description="None: they come by a provider's word, or it is a service account."
    )
    role: str = Role


class PersonChange(In):
    role: str | None = Field(default=None, min_length=1, max_length=40)
    disabled: bool | None = None
    password: str | None = Field(default=None, max_length=1024)


class GroupIn(In):
    name: str = Name
    parent_id: str | None = Field(default=None, max_length=64)
    external_id: str | None = Field(default=None, max_length=255)


class GroupChange(In):
    """What is not sent stays; `parent_id: null` takes it out of the group around it."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    parent_id: str | None = Field(default=None, max_length=64)
    external_id: str | None = Field(default=None, max_length=255)


class MemberIn(In):
    manager: bool = False


class RoleIn(In):
    permissions: list[str] = Field(min_length=1, max_length=200)


class WorkspaceIn(In):
    """`models` null: any. `retention_days`: days by class of data (chat, file, audio, embedding, log)."""

    name: str = Name
    label: Literal["public", "internal", "confidential", "phi", "education"]
    models: list[str] | None = Field(default=None, max_length=200)
    purposes: list[str] = Field(default=[], max_length=20)
    retention_days: dict[str, int] = Field(default={}, max_length=10)


class PullIn(In):
    source: str = Field(min_length=1, max_length=4096)
    name: str | None = Field(default=None, max_length=200)


class ReleaseIn(In):
    reason: str = Field(min_length=1, max_length=500)


class ChatIn(In):
    model: str = Name
    title: str | None = Field(default=None, max_length=200)


class ChatChange(In):
    title: str | None = Field(default=None, min_length=1, max_length=200)
    model: str | None = Field(default=None, min_length=1, max_length=200)


class TurnIn(In):
    content: str | None = Text
    replace_from: str | None = Field(default=None, max_length=64)
    model: str | None = Field(default=None, max_length=200)
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1, le=2**31)


class ProviderOut(BaseModel):
    name: str
    title: str


class Welcome(BaseModel):
    version: str
    setup_needed: bool
    signed_in: bool
    providers: list[ProviderOut]


class InvitationOut(BaseModel):
    token: str
    expires_ms: int


class IdentityOut(BaseModel):
    provider: str
    issuer: str
    subject: str
    groups: list[str]
    created_ms: int
    last_ms: int


class PlaceOut(BaseModel):
    """A workspace as its members see it."""

    id: str
    name: str
    label: str
    models: list[str] | None
    purposes: list[str]


class WorkspaceOut(PlaceOut):
    retention_days: dict[str, int]
    people: list[str]
    groups: list[str]
    created_ms: int
    closed_ms: int | None = None


class GroupOut(BaseModel):
    id: str
    name: str
    parent_id: str | None
    external_id: str | None
    created_ms: int


class GroupListed(GroupOut):
    """`people`: how many were put into it itself."""

    people: int


class MemberOut(BaseModel):
    person_id: str
    username: str
    manager: bool


class RoleOut(BaseModel):
    name: str
    permissions: list[str]


class RolesOut(BaseModel):
    """`grantable`: every permission that a role of one's own may have."""

    roles: list[RoleOut]
    grantable: list[str]


class ExplainedOut(BaseModel):
    """`rule` says what decided; as whom: their role, groups (`group_names` in the same order), and the workspace it
    would be asked in."""

    allowed: bool
    rule: str
    reason: str
    hint: str
    action: str
    person: str
    role: str
    groups: list[str]
    group_names: list[str]
    workspace: str | None


class Me(BaseModel):
    id: str
    username: str
    role: str
    groups: list[str]
    manages: list[str]
    workspace: str | None
    csrf_token: str | None
    permissions: list[str]
    awaits: Literal["second", "passkey", "enrol", "enrol_passkey"] | None = Field(
        default=None, description="What must still be shown or set up before the session opens anything."
    )


class PasskeyOut(BaseModel):
    id: str
    name: str
    created_ms: int
    last_used_ms: int | None


class PasskeyAsked(BaseModel):
    options: dict[str, Any] = Field(description="For `PublicKeyCredential.parse…OptionsFromJSON`.")
    ticket: str = Field(description="To be sent back with what the browser gives.")


class NewPasskey(BaseModel):
    passkey: PasskeyOut
    codes: list[str] = Field(description="Codes for paper, for who had none; shown this once.")
    me: Me | None = Field(default=None, description="The session that takes the place of the one that awaited this.")


class Factors(BaseModel):
    codes_ms: int | None = Field(description="Since when an app makes codes.")
    recovery_left: int
    passkeys: int
    second_factor_required: bool
    passkey_required: bool


class AppSetup(BaseModel):
    secret: str
    address: str
    picture: str = Field(description="The address as a QR code: an SVG as a data URL.")


class RecoveryCodes(BaseModel):
    codes: list[str]
    me: Me | None = Field(default=None, description="The session that takes the place of the one that awaited this.")


class SessionOut(BaseModel):
    id: str
    created_ms: int
    last_seen_ms: int
    user_agent: str
    current: bool


class KeyOut(BaseModel):
    id: str
    name: str
    hint: str
    person_id: str
    username: str
    scopes: list[str]
    models: list[str] | None
    created_ms: int
    expires_ms: int | None
    revoked_ms: int | None
    last_used_ms: int | None
    workspace_id: str | None


class NewKey(BaseModel):
    key: KeyOut
    secret: str


class PersonOut(BaseModel):
    id: str
    username: str
    role: str
    kind: str
    created_ms: int
    disabled_ms: int | None


class PeopleOut(BaseModel):
    """`total`: how many are meant; `next`: the `after` with which to see more of them, null at the end."""

    people: list[PersonOut]
    total: int
    next: str | None


class EgressIn(BaseModel):
    """`port` 0: whichever, for denying. `inside`: the name may be in a private network. `for_s` null: for good."""

    host: str = Field(min_length=1, max_length=253)
    port: int = Field(default=443, ge=0, le=65_535)
    purpose: str = Field(min_length=1, max_length=32)
    verdict: Literal["allow", "deny"]
    inside: bool = False
    once: bool = False
    for_s: int | None = Field(default=None, gt=0, le=3_650 * 86_400)


class EgressEntryOut(BaseModel):
    """`verdict` `asked`: an administrator has yet to decide. `about`: what was wanted. `port` 0: whichever."""

    id: str
    purpose: str
    host: str
    port: int
    verdict: str
    inside: bool
    once: bool
    expires_ms: int | None
    about: str | None
    asked_by: str | None
    asked_ms: int | None
    decided_by: str | None
    decided_ms: int | None


class EgressRuleOut(BaseModel):
    """What a setting allows by naming it. `near`: where its addresses may be (`here`, `inside`, `outside`)."""

    setting: str
    purpose: str
    host: str
    port: int | None
    near: list[str]


class EgressOut(BaseModel):
    """`running`: whether the process that makes connections runs; it starts when it is first needed."""

    mode: str
    running: bool
    settings: list[EgressRuleOut]
    entries: list[EgressEntryOut]


class HoldIn(BaseModel):
    subject: Literal["person", "group", "workspace"]
    subject_id: str = Field(min_length=1, max_length=64)
    reason: str = Field(min_length=1, max_length=2_000)


class HoldLift(BaseModel):
    reason: str = Field(min_length=1, max_length=2_000)


class HoldOut(BaseModel):
    """`people`: how many a hold on a person or a group is on. `lifted_ms` null: it holds."""

    id: str
    subject: str
    subject_id: str
    reason: str
    put_by: str
    put_ms: int
    lifted_by: str | None
    lifted_reason: str | None
    lifted_ms: int | None
    people: int


class ForecastOut(BaseModel):
    """`days` null: for ever. `held` are under a legal hold and stay; `next_ms`: when the oldest of the others goes.
    `age`: of people of this band alone, null: of everybody.
    """

    data_class: str
    what: str
    workspace_id: str | None
    workspace: str | None
    days: int | None
    rule: str
    number: int
    held: int
    due: int
    due_in_7_days: int
    due_in_30_days: int
    next_ms: int | None
    age: str | None


class PurgeOut(BaseModel):
    """The round of deleting that is under way, or the last one since the service started."""

    running: bool
    stopping: bool
    begun_ms: int | None
    ended_ms: int | None
    deleted: dict[str, int]
    held: int
    error: str | None


class RetentionOut(BaseModel):
    """`nothing_kept`: classes of data that this service keeps nothing of."""

    kept: list[ForecastOut]
    nothing_kept: list[str]
    round: PurgeOut


class ErasureOut(BaseModel):
    """A certificate: `signature` is a signed note of `statement`, by the key that signs the audit log."""

    object: str
    statement: dict[str, Any]
    signature: str
    public_key: str


class KeysChanged(BaseModel):
    """`changed`: data keys that were wrapped anew, or values that were sealed anew."""

    changed: int


class WorkerOut(BaseModel):
    pid: int | None
    planned_bytes: int
    rss_bytes: int
    slots: int
    slots_busy: int
    idle_s: float
    context_tokens: int
    layers: list[str]


class PullOut(BaseModel):
    """`state`: running, paused, shelved, quarantined, refused, stopped or cancelled. Rates while running."""

    id: str
    source: str
    name: str | None
    model: str | None
    state: str
    step: str
    digest: str | None
    done_bytes: int
    total_bytes: int | None
    bytes_per_s: float | None
    left_s: float | None
    code: str | None
    message: str | None
    hint: str | None
    requested_by: str
    created_ms: int
    ended_ms: int | None


class Pulls(BaseModel):
    pulls: list[PullOut]


class ModelFileOut(BaseModel):
    name: str
    role: str
    digest: str
    size_bytes: int


class FindingOut(BaseModel):
    code: str
    message: str
    line: int | None


class ReleaseOut(BaseModel):
    by: str
    reason: str
    at_ms: int


class ModelOut(BaseModel):
    """`quarantine`: what was found that an administrator has to decide about; not loaded until it is `released`.

    `purpose`: what it is made for (chat, embedding or rerank). `engine`: the one elsewhere that has it, which this
    service does not confine.
    """

    name: str
    purpose: str
    architecture: str
    parameters: int
    quantisation: str
    size_bytes: int
    trained_context_tokens: int
    licence: str
    source: str
    trust: str
    digest: str
    revision: str | None
    signer: str | None
    added_ms: int
    files: list[ModelFileOut]
    quarantine: list[FindingOut] | None
    released: ReleaseOut | None
    is_starter: bool
    state: str
    pinned: bool
    worker: WorkerOut | None
    engine: str | None = None


class Models(BaseModel):
    models: list[ModelOut]
    budget_bytes: int
    planned_bytes: int
    queued: int


class PostureOut(BaseModel):
    level: str
    landlock_abi: int
    seccomp: bool
    netns: bool
    own_uid: bool
    reasons: list[str]
    kernel: str


class SealOut(BaseModel):
    """How the service confines itself: `full`, `no-landlock` or `off`. `connects`: the settings for which it may open
    connections."""

    level: str
    layers: list[str]
    connects: list[str]


class DowngradeOut(BaseModel):
    """A setting that gives up what is promised as it comes. `in_force`: something is missing because of it now."""

    setting: str
    value: str
    says: str
    origin: str
    in_force: bool


class WallOut(BaseModel):
    """A wall around a process. `state`: `holds`, `missing` (asked for, and not there) or `left_out` (`setting` says so;
    `command`: the process is a command's). `kernel`: the kernel says so, else it is the process's own word."""

    name: str
    state: str
    kernel: bool
    setting: str


class ProcessOut(BaseModel):
    """A process of this service, and what the kernel says holds around it. `layers`: what it says itself. `role`:
    `gateway`, `spawner`, `broker`, `worker` or `child`. `sockets` and `internet` are null where nobody may know."""

    name: str
    role: str
    pid: int
    user: int
    seccomp: bool
    filters: int
    no_new_privileges: bool
    capabilities: str
    interfaces: list[str]
    network: int | None
    sockets: int | None
    internet: int | None
    layers: list[str]
    walls: list[WallOut]


class SuggestionOut(BaseModel):
    name: str
    why: str


class LawOut(BaseModel):
    """A law of which there is a pack."""

    law: str
    title: str
    scope: str


class ControlOut(BaseModel):
    """A control with its last result: `met`, `failed` or `not seen`. `since_ms`: since when it comes to that."""

    control: str
    says: str
    check: str
    outcome: Literal["met", "failed", "not seen"]
    seen: str
    checked_ms: int
    since_ms: int
    off: str
    mend: str
    packs: list[str]


class EvidenceOut(BaseModel):
    packs: list[LawOut]
    controls: list[ControlOut]


class PackOut(BaseModel):
    """`pack`: the signed statement, for a file of its own; `page`: the same to read and to print (HTML)."""

    pack: dict[str, Any]
    page: str


class HeldOutside(BaseModel):
    """Whether checkpoints of the log are held outside: `green`, `amber` (no anchor is named) or `red`."""

    colour: str
    why: str


class AnchorsOut(HeldOutside):
    anchors: list[str]


class EngineOut(BaseModel):
    """The embedded engine. `build`: of llama.cpp; `refused`: the code of what keeps it from being started;
    `open_flaws`: published and not fixed in it, `unreachable` those of parts that no engine here has."""

    version: str
    build: int | None
    digest: str
    floor: int
    refused: str | None
    open_flaws: list[str]
    unreachable: list[str]


class RefusedOut(BaseModel):
    """A confined process (`worker`, `broker` or `child`) that tried what none of ours ever tries: system call → how
    often. `about`: what it was started for, such as a model."""

    process: str
    about: str
    pid: int
    calls: dict[str, int]
    first_ms: int
    last_ms: int


class DenialsOut(BaseModel):
    """`red`: something was refused within a day. `refused`: since the service started, the newest first."""

    red: bool
    why: str
    refused: list[RefusedOut]


class Machine(BaseModel):
    cores: int
    memory_bytes: int
    posture: PostureOut
    seal: SealOut | None
    downgrades: list[DowngradeOut]
    processes: list[ProcessOut]
    suggestion: SuggestionOut | None
    version: str
    missed_review: str | None
    anchored: HeldOutside
    denied: DenialsOut
    engine: EngineOut


class ChatOut(BaseModel):
    id: str
    title: str
    model: str
    workspace_id: str | None
    created_ms: int
    updated_ms: int


class ChatFound(ChatOut):
    snippet: str | None


class MessageOut(BaseModel):
    id: str
    role: str
    content: str
    model: str | None
    outcome: str | None
    request_id: str | None
    created_ms: int


class WholeChat(ChatOut):
    messages: list[MessageOut]


class ActorOut(BaseModel):
    kind: str
    id: str
    username: str


class EntryOut(BaseModel):
    position: int
    time_ms: int
    event: str
    actor: ActorOut
    target: str
    outcome: str
    request_id: str | None
    facts: dict[str, Any]


class VerifierOut(BaseModel):
    name: str
    sha256: str
    size_bytes: int


class EgressLedgerOut(BaseModel):
    """`older`: the `before` with which to look for more; none: there is no more. `newest`: the `after` with which to
    ask what came since."""

    entries: list[EntryOut]
    older: int | None
    newest: int


class CheckpointOut(BaseModel):
    size: int
    note: str


class AnchoredOut(BaseModel):
    """What came of one anchor; `size`: how many entries the checkpoint that it took covers."""

    anchor: str
    size: int | None
    error: str | None
    message: str


class AnchoringOut(BaseModel):
    anchored: list[AnchoredOut]


class AttestationHead(BaseModel):
    """One that is kept. `colour`: the worst of its findings'; `reds`, `ambers`: how many of them are."""

    id: str
    time_ms: int
    nonce: str | None
    scheduled: bool
    colour: str
    reds: int
    ambers: int


class AttestationsOut(BaseModel):
    attestations: list[AttestationHead]


class AttestationIn(In):
    nonce: str | None = Field(default=None, max_length=200)


class AuditPage(BaseModel):
    """`older`: the `before` with which to look for more; none: there is no more."""

    entries: list[EntryOut]
    older: int | None
    size: int
    checkpoint: CheckpointOut


class VerdictOut(BaseModel):
    ok: bool
    size: int
    first_wrong: int | None
    before: int | None
    reason: str
    took_ms: float


class UsageRowOut(BaseModel):
    key: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    failed: int


class UsageOut(BaseModel):
    rows: list[UsageRowOut]


class AskedOut(BaseModel):
    """What the policy was asked, as `/policy/explain` takes it."""

    action: str
    thing: str
    workspace: str
    purpose: str


class ErrorDetail(BaseModel):
    """`asked`: where the policy refused."""

    code: str
    message: str
    hint: str
    param: str | None
    asked: AskedOut | None = None


class ErrorOut(BaseModel):
    error: ErrorDetail


class QuotaOut(BaseModel):
    """How a limit stands. Amounts are seconds, whole currency, or plain numbers; `words` says it in a sentence."""

    id: str
    words: str
    subject: Subject
    subject_id: str
    each: bool
    model: str | None
    measure: Measure
    unit: str
    period: Period
    limit: float
    used: float
    held: float
    remaining: float
    renews_ms: int | None


class QuotaBalance(BaseModel):
    """`who`: a person's id; empty: all together."""

    who: str
    used: float
    held: float
    remaining: float
    renews_ms: int | None


class QuotaListed(BaseModel):
    id: str
    words: str
    subject: Subject
    subject_id: str
    each: bool
    model: str | None
    measure: Measure
    unit: str
    period: Period
    limit: float
    balances: list[QuotaBalance]


class QuotaIn(In):
    subject: Subject
    subject_id: str = Field(default="", max_length=128)
    each: bool = False
    model: str | None = Field(default=None, max_length=256)
    measure: Measure
    period: Period
    limit: float = Field(ge=0, allow_inf_nan=False)


class RehearsalIn(In):
    backup: str = Field(min_length=1, max_length=64, description="Its name, as `intramural restore` says it.")
    note: str = Field(default="", max_length=2_000)


class SignOffIn(In):
    from_ms: int = Field(ge=0)
    to_ms: int = Field(ge=0)
    note: str = Field(default="", max_length=2_000)
