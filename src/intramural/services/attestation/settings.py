"""The settings as a hash that says nothing of a secret, and everything of whether anything else was changed. Pure."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

from intramural.audit import canonical
from intramural.core.config import SECTIONS, Config
from intramural.services.attestation.facts import Settings

#: What may have a password in it, besides what is never shown (`repr=False`).
_SECRET = frozenset({"storage.url"})
_WITH_PASSWORD = re.compile(r"://[^/@\s]*:[^/@\s]*@")
#: In a secret's place.
PRESENT = {"secret": "set"}


def settings(config: Config) -> Settings:
    """Of every setting, and of the files for engines and sign-in."""
    secrets: list[str] = []
    everything = {name: _plain(name, value, secrets) for name, value in _all(config)}
    return Settings(
        sha256=hashlib.sha256(canonical(everything).encode("ascii")).hexdigest(),
        changed=tuple(name for name, value in _all(config) if value != _default(name)),
        secrets=tuple(secrets),
    )


def _all(config: Config) -> Iterator[tuple[str, Any]]:
    yield "data_dir", config.data_dir
    for section in SECTIONS:
        values = getattr(config, section)
        for each in fields(values):
            yield f"{section}.{each.name}", getattr(values, each.name)
    yield "engines", config.engines
    yield "sign-in", config.providers


def _default(name: str) -> Any:
    section, _, setting = name.partition(".")
    if section in SECTIONS:
        return getattr(SECTIONS[section](), setting)
    found = {each.name: each for each in fields(Config)}.get({"sign-in": "providers"}.get(name, name))
    if found is None or found.default is not MISSING:
        return None if found is None else found.default
    return found.default_factory() if found.default_factory is not MISSING else None


def _plain(name: str, value: Any, secrets: list[str]) -> Any:
    """As JSON, with secrets left out; those that are set are added to `secrets`."""
    if (name in _SECRET and value) or (isinstance(value, str) and _WITH_PASSWORD.search(value)):
        secrets.append(name)
        return PRESENT
    if is_dataclass(value) and not isinstance(value, type):
        found = {}
        for each in fields(value):
            inner, at = getattr(value, each.name), f"{name}.{each.name}"
            if each.repr or inner is None:
                found[each.name] = _plain(at, inner, secrets)
            else:
                secrets.append(at)
                found[each.name] = PRESENT
        return found
    if isinstance(value, tuple | list | frozenset | set):
        items = sorted(value) if isinstance(value, frozenset | set) else value
        return [_plain(f"{name}.{number}", each, secrets) for number, each in enumerate(items)]
    if isinstance(value, dict):
        return {str(key): _plain(f"{name}.{key}", each, secrets) for key, each in value.items()}
    return str(value) if isinstance(value, Path) else value
