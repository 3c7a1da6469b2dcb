"""Reading the facts: dull, bounded, and saying of whatever could not be read that it could not."""

import asyncio
import base64
import platform
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from intramural.audit import AuditLog, Entry, Event, Wanted
from intramural.core.clock import Clock
from intramural.core.config import Config
from intramural.core.errors import IntramuralError
from intramural.core.quiet import SWITCHES
from intramural.egress import Egress
from intramural.library import Manifest
from intramural.sandbox import Posture, missing_layers, network
from intramural.sandbox.packetfilter import PacketFilter
from intramural.sandbox.readback import Held
from intramural.services.anchoring import Anchoring
from intramural.services.attestation import facts as f
from intramural.services.attestation.controlling import Controls
from intramural.services.attestation.settings import settings
from intramural.services.attestation.software import software
from intramural.services.downgrades import downgrades
from intramural.services.egress import LEDGER
from intramural.services.enclosure import Enclosure, connects, processes, unset_switches

#: What is summed up of the ledger: a month of it, and no more lines than two seconds read.
LEDGER_DAYS = 30
MOST_LEDGER_LINES = 20_000
MOST_DESTINATIONS = 100
MOST_ALLOWED = 500
#: Of one namespace: a service with hundreds of clients has as many connections.
MOST_SOCKETS = 200
MOST_REFUSED = 100
MOST_PROCESSES = 256
_PAGE = 1_000
_DAY_MS = 86_400_000

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Sources:
    """Where facts are read. `workers`: name, process and what it says of itself, of those that run. `loaded`: names of
    models with a worker. `address`: what the service listens on (None: it does not)."""

    config: Config
    clock: Clock
    audit: AuditLog
    anchoring: Anchoring
    posture: Posture
    enclosure: Enclosure | None
    workers: Callable[[], Sequence[tuple[str, int, tuple[str, ...]]]]
    egress: Egress
    models: Callable[[], Sequence[Manifest]]
    policy_digest: str
    controls: Controls


async def gather(sources: Sources) -> f.Facts:
    """The facts as they are now. Takes some seconds; holds up nobody. Raises Unavailable where the log cannot be read.

    The log's checkpoint is read last: whatever the log had of all this by then is under it.
    """
    made_ms = int(sources.clock.now_s() * 1000)
    config, posture = sources.config, sources.posture
    models = await _seen(asyncio.to_thread(sources.models))
    installed = await _seen(asyncio.to_thread(software, () if isinstance(models, f.NotSeen) else models, sources.clock))
    control = await _control(sources)
    workers = sources.workers()
    found, ended = await asyncio.to_thread(_processes, sources.enclosure, workers)
    namespaces, meanwhile = await asyncio.to_thread(_namespaces, found)
    loaded = frozenset(name for name, _, _ in workers)
    seal = None if sources.enclosure is None else sources.enclosure.seal
    return f.Facts(
        made_ms=made_ms,
        anchors=await _seen(_anchors(sources.anchoring)),
        kernel=f.Kernel(posture.kernel, platform.machine(), posture.landlock_abi),
        confinement=f.Confinement(
            level=posture.level.value,
            required=config.sandbox.required_level,
            own_user=posture.own_uid,
            reasons=posture.reasons,
            seal=f.NotSeen("no service runs: a command opened the house for a moment") if seal is None else seal.level,
            seal_layers=() if seal is None else seal.layers,
            connects=connects(config),
        ),
        processes=found,
        gone=ended + meanwhile,
        refused=await _seen(_refused(sources.audit, made_ms)),
        namespaces=namespaces,
        packet_filter=_packet_filter(sources.enclosure),
        control=control,
        way=await _way(sources, made_ms),
        switches=SWITCHES,
        engines=tuple(
            f.Engine(each.name, each.kind, str(each.address), each.outside, tuple(model.name for model in each.models))
            for each in config.engines
        ),
        required_trust=config.library.required_trust,
        models=models if isinstance(models, f.NotSeen) else tuple(_model(each, loaded) for each in models),
        software=installed,
        policy_digest=sources.policy_digest,
        settings=settings(config),
        downgrades=tuple(
            f.Downgrade(each.setting, each.value, each.says)
            for each in downgrades(config, posture, None if seal is None else seal.level)
        ),
        log=log_of(sources.audit),
    )


async def _seen(work: Awaitable[_Found]) -> _Found | f.NotSeen:
    try:
        return await work
    except IntramuralError as error:
        return f.NotSeen(error.message)
    except (OSError, ValueError) as error:
        return f.NotSeen(str(error)[:200])


# processes and their networks -----------------------------------------------------------------------------------------


def _processes(
    enclosure: Enclosure | None, workers: Sequence[tuple[str, int, tuple[str, ...]]]
) -> tuple[tuple[f.Process, ...], tuple[str, ...]]:
    """Every process of the service, and the names of those that ended while they were looked at (blocking)."""
    found = processes(enclosure, workers)[:MOST_PROCESSES]
    there = {each.pid for each in found}
    described = tuple(_process(each, unset_switches(enclosure, each.pid)) for each in found)
    return described, tuple(name for name, pid, _ in workers if pid not in there)


def _process(held: Held, unset: tuple[str, ...] | None) -> f.Process:
    began: int | f.NotSeen
    try:
        began = int(network.began_s(held.pid) * 1000)
    except (OSError, ValueError, StopIteration) as error:
        began = f.NotSeen(str(error)[:200])
    return f.Process(
        kind="helper" if held.role == "child" else held.role,
        name=held.name,
        pid=held.pid,
        began_ms=began,
        user=held.user,
        seccomp=held.seccomp,
        filters=held.filters,
        no_new_privileges=held.no_new_privileges,
        capabilities=held.capabilities,
        layers=held.layers,
        network=_network(held),
        unset=f.NotSeen("it did not say") if unset is None else unset,
    )


def _network(held: Held) -> f.Network | f.NotSeen:
    hidden = f.NotSeen("the kernel tells it to nobody, of a process that hides its memory")
    try:
        place, interfaces = network.place(held.pid), network.interfaces(held.pid)
    except OSError as error:
        return f.NotSeen(f"the process ended, or its network may not be read: {error.strerror}")
    return f.Network(place, hidden if held.network is None else held.network, interfaces)


def _namespaces(found: Sequence[f.Process]) -> tuple[tuple[f.Namespace, ...], tuple[str, ...]]:
    """Each network namespace that a process of ours is in, once, with its sockets; and the names of processes that
    ended meanwhile, and their network with them (blocking)."""
    by_place: dict[int, list[f.Process]] = {}
    for each in found:
        if isinstance(each.network, f.Network):
            by_place.setdefault(each.network.place, []).append(each)
    try:
        own = network.own_sockets()
    except OSError:
        own = frozenset()
    namespaces, gone = [], list[str]()
    for place, there in by_place.items():
        try:
            namespaces.append(of_namespace(place, there, network.sockets(there[0].pid), own))
        except ProcessLookupError:
            gone += [each.name for each in there]
    return tuple(namespaces), tuple(gone)


def of_namespace(place: int, there: Sequence[f.Process], tables: network.Sockets, own: frozenset[int]) -> f.Namespace:
    """Which of its sockets are ours, and which others of our users reach beyond this machine. Those of clients come
    last: of them alone there are ever so many that they are not all listed. Pure."""
    users = {each.user for each in there}
    ours = [
        f.Owned(each, "service" if each.inode in own else "user")
        for each in tables.found
        if each.inode in own or (each.user in users and each.inode and not each.is_loopback)
    ]
    ports = {each.socket.local_port for each in ours if each.owner == "service" and each.socket.state == "listening"}

    def order(each: f.Owned) -> tuple[bool, bool, bool]:
        found = each.socket
        came = each.owner == "service" and found.state == "connected" and found.local_port in ports
        return came, found.state != "listening", found.is_loopback

    ours.sort(key=order)
    return f.Namespace(
        place=place,
        pids=tuple(each.pid for each in there),
        listed=tuple(ours[:MOST_SOCKETS]),
        more=max(0, len(ours) - MOST_SOCKETS),
        others=len(tables.found) - len(ours),
        cut=tables.cut,
        unread=tables.unread,
    )


def _packet_filter(enclosure: Enclosure | None) -> PacketFilter | f.NotSeen:
    if enclosure is None:
        return f.NotSeen("it is read when a service starts, and none runs")
    found = enclosure.packet_filter
    return f.NotSeen(found) if isinstance(found, str) else found


async def _refused(audit: AuditLog, now_ms: int) -> f.Refused:
    """The newest that the log has of the period."""
    from_ms = now_ms - LEDGER_DAYS * _DAY_MS
    found = (await audit.search(Wanted(event=Event.SANDBOX_DENIED, from_ms=from_ms), _PAGE)).entries
    calls = tuple(
        f.RefusedCall(each.time_ms, each.target, str(each.facts.get("process", "")), str(each.facts.get("call", "")))
        for each in found[:MOST_REFUSED]
    )
    return f.Refused(from_ms, calls, len(found) - len(calls))


async def _control(sources: Sources) -> f.Control | f.NotSeen:
    if sources.enclosure is None:
        return f.NotSeen("no service runs, so nothing listens that could be connected to")
    address = sources.enclosure.address
    return await _seen(sources.controls.make(address, missing_layers(sources.posture.level)))


# what leaves ----------------------------------------------------------------------------------------------------------


async def _way(sources: Sources, now_ms: int) -> f.Way:
    egress = sources.egress
    entries = await egress.book.entries()
    allowed = [
        f.Allowed(each.purpose, each.host, each.port, tuple(sorted(each.near)), each.id, each.expires_ms)
        for each in egress.allowed()
    ]
    return f.Way(
        mode=egress.mode,
        running=egress.is_running,
        allowed=tuple(allowed[:MOST_ALLOWED]),
        more=max(0, len(allowed) - MOST_ALLOWED),
        asked=sum(each.verdict == "asked" for each in entries),
        ledger=await _seen(_ledger(sources.audit, now_ms)),
    )


async def _ledger(audit: AuditLog, now_ms: int) -> f.Ledger:
    """Its newest lines of the period, summed up."""
    from_ms, before = now_ms - LEDGER_DAYS * _DAY_MS, None
    lines: list[Entry] = []
    while len(lines) < MOST_LEDGER_LINES:
        found = await audit.search(Wanted(before, event=LEDGER, from_ms=from_ms), _PAGE)
        lines += found.entries
        before = found.older
        if before is None:
            break
    went = summed(lines)
    return f.Ledger(
        from_ms=from_ms,
        to_ms=now_ms,
        lines=len(lines),
        whole=before is None,
        went=tuple(went[:MOST_DESTINATIONS]),
        more=max(0, len(went) - MOST_DESTINATIONS),
    )


@dataclass
class _Sum:
    connected: int = 0
    refused: int = 0
    failed: int = 0
    sent: list[int | None] = field(default_factory=list)
    received: list[int | None] = field(default_factory=list)


def summed(lines: Iterable[Entry]) -> list[f.Went]:
    """Lines of the ledger by destination, those with the most bytes first. Pure."""
    sums: dict[tuple[str, str, int], _Sum] = {}
    for line in lines:
        to = str(line.facts.get("purpose", "")), str(line.facts.get("host", "")), int(line.facts.get("port", 0))
        if line.event == Event.EGRESS_CONNECTED:
            sums.setdefault(to, _Sum()).connected += 1
        elif line.event == Event.EGRESS_FAILED:
            sums.setdefault(to, _Sum()).failed += 1
        elif line.event in (Event.EGRESS_REFUSED, Event.EGRESS_ASKED):
            sums.setdefault(to, _Sum()).refused += 1
        elif line.event == Event.EGRESS_CLOSED:
            found = sums.setdefault(to, _Sum())
            found.sent.append(line.facts.get("sent_bytes"))
            found.received.append(line.facts.get("received_bytes"))
    went = [
        f.Went(*to, found.connected, found.refused, found.failed, _total(found.sent), _total(found.received))
        for to, found in sums.items()
    ]
    return sorted(went, key=lambda each: (-(each.sent_bytes or 0), each.purpose, each.host, each.port))


def _total(numbers: Sequence[int | None]) -> int | None:
    known = [each for each in numbers if each is not None]
    return sum(known) if len(known) == len(numbers) else None


# the rest -------------------------------------------------------------------------------------------------------------


async def _anchors(anchoring: Anchoring) -> f.Anchors:
    found = await anchoring.standing()
    return f.Anchors(anchoring.named, found.colour, found.why, await anchoring.newest_ms())


def _model(manifest: Manifest, loaded: frozenset[str]) -> f.Model:
    return f.Model(
        name=manifest.name,
        digest=manifest.digest,
        size_bytes=manifest.size_bytes,
        source=manifest.source,
        trust=manifest.trust,
        signer=manifest.signer,
        signed_ms=manifest.signed_ms,
        quarantined=manifest.is_quarantined,
        loaded=manifest.name in loaded,
    )


def log_of(audit: AuditLog) -> f.Log:
    """The log as it is now."""
    note = audit.checkpoint()
    checkpoint = audit.verifier.checkpoint_of(note)
    keys = [str(audit.verifier), *(() if audit.second_key is None else (str(audit.second_key),))]
    root = base64.b64encode(checkpoint.root).decode()
    return f.Log(checkpoint.origin, checkpoint.size, root, note, tuple(keys))
