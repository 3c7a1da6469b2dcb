"""What is known of an installation at one moment: what `findings` judges, and what other evidence is made of.

Everything here was read, not remembered, or says that it could not be read: `NotSeen` stands where something is
missing, and nothing is left out in silence. Nothing is a secret, and nothing is about a person.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from intramural.sandbox.network import Interface, Socket
from intramural.sandbox.packetfilter import PacketFilter

#: What a process of the service is. `helper`: a confined one that is neither a worker nor the broker (it inspects a
#: model, or looks for names).
Kind = Literal["gateway", "spawner", "broker", "worker", "helper"]


@dataclass(frozen=True, slots=True)
class NotSeen:
    """Something that was to be read and could not be."""

    reason: str


# software -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class File:
    """A file of what is installed, by its path from where packages lie. `sha256` in hexadecimal."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Software:
    """What runs. `own`: SHA-256 over the names and bytes of every module of this product as they lie there.
    `packages`: how many distributions were checked, of whose files `changed` are not as they were installed (or gone);
    `unchecked`: distributions of which that cannot be said, or for which there was no time. `engine_files`: the native
    code that computes answers. `bill`: everything as a bill of materials (CycloneDX 1.6, JSON).
    """

    version: str
    python: str
    own: str
    packages: int
    changed: tuple[str, ...]
    unchecked: tuple[str, ...]
    engine: str
    engine_files: tuple[File, ...]
    bill: str | NotSeen


@dataclass(frozen=True, slots=True)
class Kernel:
    """What confines. `landlock_abi` 0: it has none."""

    release: str
    machine: str
    landlock_abi: int


# confinement ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Confinement:
    """What this machine reaches, what the settings ask for, and what the service put around itself. `seal`: NotSeen
    where a command opened the house for a moment, which is not sealed. `connects`: the settings for which the service
    itself may open connections."""

    level: str
    required: str
    own_user: bool
    reasons: tuple[str, ...]
    seal: str | NotSeen
    seal_layers: tuple[str, ...]
    connects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Network:
    """A process's network. `place` is the same for processes in one network namespace. `namespace`: the number of the
    namespace as `/proc/PID/ns/net` has it; NotSeen: it is told to nobody of a process that hides its memory."""

    place: int
    namespace: int | NotSeen
    interfaces: tuple[Interface, ...]


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the service, and what the kernel says holds around it. `layers`: what it says itself; of Landlock
    that is all there is, and of a broker or helper nothing is known here. `unset`: which of the switches that keep
    libraries quiet its environment does not have, as it says itself."""

    kind: Kind
    name: str
    pid: int
    began_ms: int | NotSeen
    user: int
    seccomp: bool
    filters: int
    no_new_privileges: bool
    capabilities: str
    layers: tuple[str, ...]
    network: Network | NotSeen
    unset: tuple[str, ...] | NotSeen


@dataclass(frozen=True, slots=True)
class Refused:
    """What the log has of confined processes that tried what none of ours ever tries: system calls of `target` (what
    the process was there for), the newest first. `more`: how many are not listed; the log has as many at least."""

    from_ms: int
    calls: tuple["RefusedCall", ...]
    more: int


@dataclass(frozen=True, slots=True)
class RefusedCall:
    """One call of one process. `process`: what it is (`worker`, `broker`, `child`)."""

    time_ms: int
    target: str
    process: str
    call: str


@dataclass(frozen=True, slots=True)
class Namespace:
    """The sockets of one network namespace. `listed` are those that the service's main process has open, and those of
    our processes' users that are not about this machine alone; of `others` only the number is said. `more`: how many
    are not listed. `cut`, `unread`: tables of the kernel that were read in part, or not at all."""

    place: int
    pids: tuple[int, ...]
    listed: tuple["Owned", ...]
    more: int
    others: int
    cut: tuple[str, ...]
    unread: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Owned:
    """A socket of ours. `owner`: `service` (the gateway has it open), or `user`: one of the same user has, which is the
    spawner, a worker or the broker, or another program that somebody runs as that user."""

    socket: Socket
    owner: Literal["service", "user"]


# the control ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a process tried toward the network. `outcome`: `works`, or the kernel's word for why not (`EPERM`)."""

    name: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Tried:
    """What one process of the control tried, behind the `layers` that it said. `arrived`: whether the service itself
    saw the connection come in, by a token that only this process was given."""

    layers: tuple[str, ...]
    attempts: tuple[Attempt, ...]
    arrived: bool


@dataclass(frozen=True, slots=True)
class Control:
    """The same attempts, at the same address, by a process that is confined as a worker is and by one that may connect
    as the broker may. `own`: what the service itself tried."""

    address: str
    confined: Tried | NotSeen
    allowed: Tried | NotSeen
    own: tuple[Attempt, ...]


# what leaves ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Allowed:
    """A line of the list of what may leave. `by`: the setting, or the entry that somebody made. `near`: where its
    addresses may be (`here`, `inside`, `outside`)."""

    purpose: str
    host: str
    port: int | None
    near: tuple[str, ...]
    by: str
    expires_ms: int | None


@dataclass(frozen=True, slots=True)
class Went:
    """What the ledger has of one destination in the period: connections made and closed, refusals, failures, and bytes
    of those closed (None: the kernel did not say of one)."""

    purpose: str
    host: str
    port: int
    connected: int
    refused: int
    failed: int
    sent_bytes: int | None
    received_bytes: int | None


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ledger of a period, summed up by destination. `whole`: all of it was read."""

    from_ms: int
    to_ms: int
    lines: int
    whole: bool
    went: tuple[Went, ...]
    more: int


@dataclass(frozen=True, slots=True)
class Way:
    """The way out: its mode, whether its broker runs, what is allowed, and what went."""

    mode: str
    running: bool
    allowed: tuple[Allowed, ...]
    more: int
    asked: int
    ledger: Ledger | NotSeen


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine elsewhere: what people ask its models goes there. `outside`: beyond private networks."""

    name: str
    kind: str
    address: str
    outside: bool
    models: tuple[str, ...]


# models, rules, the log -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Model:
    """A model on the shelf. `trust` and `signer` are the verdict on its signature when it was last checked, at
    `signed_ms`; every byte of it is hashed again each time it is loaded."""

    name: str
    digest: str
    size_bytes: int
    source: str
    trust: str
    signer: str | None
    signed_ms: int | None
    quarantined: bool
    loaded: bool


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings, by a SHA-256 of their canonical JSON without secrets. `changed`: names of those that are not as
    they come; `secrets`: names of those that are set and left out."""

    sha256: str
    changed: tuple[str, ...]
    secrets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Downgrade:
    """A setting that gives up something of what is promised as it comes, and what that is."""

    setting: str
    value: str
    says: str


@dataclass(frozen=True, slots=True)
class Log:
    """The log: its newest checkpoint as it is handed out, and what that says. `root` in base64."""

    origin: str
    size: int
    root: str
    checkpoint: str
    public_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Anchors:
    """Where checkpoints are held outside. `newest_ms`: when one last was; None: never."""

    named: tuple[str, ...]
    colour: str
    why: str
    newest_ms: int | None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything, read within one moment that began at `made_ms`; but the packet filter, which only somebody may read
    who could also change it, when the service started. `switches`: what libraries are told in the environment of each
    process, so that they report to nobody."""

    made_ms: int
    log: Log
    anchors: Anchors | NotSeen
    kernel: Kernel
    confinement: Confinement
    processes: tuple[Process, ...]
    gone: tuple[str, ...]
    refused: Refused | NotSeen
    namespaces: tuple[Namespace, ...]
    packet_filter: PacketFilter | NotSeen
    control: Control | NotSeen
    way: Way
    switches: Mapping[str, str]
    engines: tuple[Engine, ...]
    required_trust: str
    models: tuple[Model, ...] | NotSeen
    software: Software | NotSeen
    policy_digest: str
    settings: Settings
    downgrades: tuple[Downgrade, ...]
