"""Opening the data directory and everything in it, in order; and what is written down of a start."""

import asyncio
import fcntl
import os
import shutil
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.types import ASGIApp

from intramural import http, web
from intramural.access import Access, Action, AgeRules, Policy, read_rules
from intramural.access.ages import check_age
from intramural.app.desks import downgrades_of, engine_floor, services_of
from intramural.audit import (
    AuditLog,
    Event,
    Fact,
)
from intramural.core.actor import SYSTEM
from intramural.core.clock import Clock, SystemClock
from intramural.core.config import Config
from intramural.core.engines import RemoteEngine
from intramural.core.errors import Conflicting, Misasked
from intramural.core.outward import Connect
from intramural.egress import (
    Book,
    Broker,
    Egress,
    Errand,
    Mode,
    confined_broker,
    named_rules,
    parse_mode,
)
from intramural.guard import reader_of
from intramural.metering import Traces, parse_endpoint
from intramural.sandbox import Posture, missing_layers, probe
from intramural.services import (
    Denials,
    Services,
)
from intramural.services.egress import AuditLedger
from intramural.services.enclosure import Enclosure, read_packet_filter, seal_service, start_spawner
from intramural.services.engines import record_engines
from intramural.services.moving import require_place
from intramural.serving import (
    EMBEDDED,
    Pool,
    RemoteSpawner,
    SandboxedSpawner,
    States,
    Warmth,
    buffer_size,
    engine_name,
    installed,
    require_build,
    require_intact,
    sweep,
)
from intramural.storage import Database
from intramural.vault import Stored, Vault

#: Share of the memory that is free at start which workers may plan for; the rest is for the page cache and neighbours.
_MEMORY_SHARE = 0.7
#: A setting that gives something up → the event that says so at each start, where it has one of its own.
_DOWNGRADED: Mapping[str, Event] = {
    "sandbox.required_level": Event.SANDBOX_DOWNGRADED,
    "sandbox.seal": Event.SANDBOX_DOWNGRADED,
    "sandbox.older_engines": Event.ENGINES_OLDER,
    "egress.mode": Event.EGRESS_UNSUPERVISED,
    "consent.label_answers": Event.LABELS_OFF,
}


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
        packet_filter = read_packet_filter(int(SystemClock().now_s() * 1000))
        yield Enclosure(seal_service(config), spawner, listener.getsockname()[:2], packet_filter), listener


@asynccontextmanager
async def opened(config: Config, enclosure: Enclosure | None = None) -> AsyncIterator[House]:
    """Open the data directory and everything in it; leaving the block closes all of it, in order.

    `enclosure`: what confines this process, if it serves.
    """
    clock = SystemClock()
    if enclosure is not None:
        enclosure.spawner.attach()
    async with AsyncExitStack() as stack:
        claim(config.data_dir, stack)
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
        denials = Denials(audit, clock)
        await denials.open()
        stack.push_async_callback(denials.close)
        egress = await _egress(config, db, audit, posture, clock)
        stack.push_async_callback(egress.close)
        pool = await _pool(config, vault, posture, clock, egress)
        await pool.start()
        stack.push_async_callback(pool.close)
        traces = _traces(config, clock, egress)
        names = reader_of(config.guard, config.data_dir / "run", missing_layers(posture.level))
        stack.push_async_callback(names.close)
        services = services_of(
            config,
            db,
            vault,
            audit,
            access,
            pool,
            traces,
            posture,
            enclosure,
            clock,
            policy,
            ages,
            names,
            egress,
            denials,
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


async def _pool(config: Config, vault: Vault, posture: Posture, clock: Clock, egress: Egress) -> Pool:
    budget_bytes = config.serving.memory_budget_bytes or int(available_bytes() * _MEMORY_SHARE)
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


def _traces(config: Config, clock: Clock, egress: Egress) -> Traces:
    text = config.traces.endpoint
    endpoint = parse_endpoint(text, allow_network=config.library.allow_network) if text else None
    connect = egress.way(Errand(SYSTEM, "traces", "traces.endpoint"))
    return Traces(clock, endpoint, config.traces.ca_file, connect)


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
    for each in downgrades_of(config, posture, enclosure):
        named: dict[str, Fact] = {"value": each.value, "origin": each.origin, "in_force": each.in_force}
        named |= {"user": os.geteuid(), "reasons": list(posture.reasons)}
        await audit.record(
            _DOWNGRADED.get(each.setting, Event.SERVICE_DOWNGRADED), SYSTEM, target=each.setting, facts=named
        )


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


def claim(data_dir: Path, stack: AsyncExitStack) -> None:
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


def available_bytes() -> int:
    for line in Path("/proc/meminfo").read_text("ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
