"""What commands do to a data directory that no service has open."""

import asyncio
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from intramural.app.front import server
from intramural.app.ground import engine_floor
from intramural.app.house import available_bytes, claim
from intramural.audit import (
    REWRITTEN,
    AuditLog,
    Event,
    VerifierKey,
    anchored,
    anchors_of,
    first_and_newest,
    log_signer,
    public_key,
    witness_signers,
)
from intramural.core.actor import SYSTEM
from intramural.core.clock import Clock, SystemClock
from intramural.core.config import Config
from intramural.http.witness import Witness
from intramural.sandbox import allows, probe
from intramural.sandbox.seal import parse_level as parse_seal
from intramural.services.backups import Folder, Lock, Made, Restored
from intramural.services.backups import back_up as write_backup
from intramural.services.backups import restore as restore_backup
from intramural.services.downgrades import downgrades
from intramural.services.moving import Moved, move, note_place, require_place
from intramural.services.reports import missed_review
from intramural.serving import (
    NOT_CONFINED,
    installed,
    standing_of,
)
from intramural.storage import Database


def witness_keys(folder: Path, name: str) -> list[str]:
    """The public keys of the witness in `folder`, which are made on first use."""
    return [str(each.key) for each in witness_signers(folder, name)]


async def witness(folder: Path, name: str, logs: Sequence[str], host: str, port: int) -> None:
    """Be a witness of `logs` (public keys) until told to stop. Raises Conflicting(`data_dir_in_use`)."""
    known = {key.name: key for key in map(VerifierKey.parse, logs)}
    async with AsyncExitStack() as stack:
        claim(folder, stack)
        application = Witness(folder, known, witness_signers(folder, name), SystemClock()).application()
        listener = socket.create_server((host, port))
        stack.callback(listener.close)
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with server(application).running(listener):
            await stop.wait()


async def move_database(config: Config, target: Path | str) -> Moved:
    """Move everything into another database; the service must be stopped. Raises as `move`, Conflicting(…_in_use)."""
    clock, secrets = SystemClock(), config.data_dir / "secrets"
    async with AsyncExitStack() as stack:
        claim(config.data_dir, stack)
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
        "memory_available_bytes": available_bytes(),
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
