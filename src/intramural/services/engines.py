"""What the log is told of engines elsewhere: that one was named, changed or taken out, at the start that found it so.

Engines are a file's matter, not a route's; so what was there at the last start is kept beside it and compared.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from intramural.audit import AuditLog, Event, Fact
from intramural.core.actor import SYSTEM
from intramural.core.durable import ORDINARY, write_whole
from intramural.core.engines import RemoteEngine

KNOWN = "engines.known.json"


def facts(engine: RemoteEngine) -> dict[str, Fact]:
    """What stands in the log of one: never its key."""
    return {
        "kind": engine.kind,
        "address": str(engine.address),
        "outside": engine.outside,
        "with_key": engine.key is not None,
        "own_authority": engine.ca_file is not None,
        "models": [f"{model.name}={model.theirs}" for model in engine.models],
    }


def changes(
    before: Mapping[str, Mapping[str, Fact]], now: Mapping[str, Mapping[str, Fact]]
) -> list[tuple[Event, str, Mapping[str, Fact]]]:
    """What became of engines, by name. Pure."""
    found: list[tuple[Event, str, Mapping[str, Fact]]] = []
    for name in sorted({*before, *now}):
        if name not in now:
            found.append((Event.ENGINE_REMOVED, name, before[name]))
        elif name not in before:
            found.append((Event.ENGINE_ADDED, name, now[name]))
        elif before[name] != now[name]:
            found.append((Event.ENGINE_CHANGED, name, now[name]))
    return found


async def record_engines(audit: AuditLog, engines: Sequence[RemoteEngine], data_dir: Path) -> None:
    """Write down what changed since the last start, before any engine is asked anything."""
    file = data_dir / KNOWN
    now = {engine.name: facts(engine) for engine in engines}
    before = _known(file)
    for event, name, about in changes(before, now):
        await audit.record(event, SYSTEM, target=f"engine:{name}", facts=about)
    if before != now:
        write_whole(file, msgspec.json.encode(now), mode=ORDINARY)


def _known(file: Path) -> Mapping[str, Mapping[str, Fact]]:
    """What was there; nothing where that cannot be read: then all are written down again."""
    try:
        known: Mapping[str, Mapping[str, Fact]] = msgspec.json.decode(file.read_bytes(), type=dict[str, dict[str, Any]])
    except (OSError, msgspec.DecodeError):
        return {}
    return known
