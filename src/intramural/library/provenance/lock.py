"""`models.lock`: which models a machine shall have, to the byte. Read, written and compared without touching anything.

TOML, one `[[model]]` each, sorted by name, written the same way every time, so that a change of it can be reviewed.
`name`, `source` and `files` are always there; `revision` and `signer` where they are known.
"""

import json
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from intramural.core.errors import IntramuralError, Misasked, Untrusted
from intramural.library.blobs import Blob
from intramural.library.manifest import Manifest, ModelFile, Role
from intramural.library.names import parse_name

VERSION = 1


class LockedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file: its publisher's name for it, what it is for, and exactly which bytes."""

    name: str
    role: Role
    digest: str
    size_bytes: int

    @property
    def blob(self) -> Blob:
        return Blob(self.digest, self.size_bytes)


class LockedModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model: where to get it, and what must come."""

    name: str
    source: str
    revision: str | None = None
    signer: str | None = None
    files: tuple[LockedFile, ...]


class Lock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file; models by name."""

    version: Literal[1]
    model: tuple[LockedModel, ...] = ()


# text -----------------------------------------------------------------------------------------------------------------


def read_lock(text: str) -> Lock:
    """The lock in `text`. Raises Misasked(`bad_lock`) saying what is wrong and where."""
    try:
        lock = msgspec.convert(tomllib.loads(text), Lock)
        names = [parse_name(each.name) for each in lock.model]
        for each in lock.model:
            _require_sound(each)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as error:
        raise _bad(str(error)) from error
    except IntramuralError as error:
        raise _bad(error.message) from error
    if names != [each.name for each in lock.model]:
        raise _bad("a model's name is not in its one spelling, as in 'qwen3' for 'qwen3:latest'")
    if len(set(names)) != len(names):
        raise _bad("a model is there twice")
    return lock


def _require_sound(model: LockedModel) -> None:
    """Raises IntramuralError: what makes a `Blob` refuse, or Misasked(`bad_lock`)."""
    for each in model.files:
        _ = each.blob
    if not model.files or model.files[0].role != "weights":
        raise _bad(f"{model.name} has no weights")
    if not all(text.isprintable() for text in _texts(model)):
        raise _bad(f"{model.name} has control characters in its fields")


def _texts(model: LockedModel) -> list[str]:
    return [model.source, model.revision or "", model.signer or "", *(each.name for each in model.files)]


def _bad(why: str) -> Misasked:
    hint = "`intramural sync --write models.lock` writes one of what is here."
    return Misasked("bad_lock", f"This is not a models.lock: {why.rstrip('.')}.", hint, param="lock")


def write_lock(models: Iterable[LockedModel]) -> str:
    """The text of a lock with `models`. Raises Misasked(`bad_lock`) when a field holds control characters."""
    lines = [f"version = {VERSION}", ""]
    for model in sorted(models, key=lambda each: each.name):
        _require_sound(model)
        lines += ["[[model]]", f"name = {_quoted(model.name)}", f"source = {_quoted(model.source)}"]
        lines += [f"revision = {_quoted(model.revision)}"] if model.revision else []
        lines += [f"signer = {_quoted(model.signer)}"] if model.signer else []
        lines += ["files = [", *(f"  {_inline(file)}," for file in model.files), "]", ""]
    return "\n".join(lines)


def _inline(file: LockedFile) -> str:
    name, role, digest = map(_quoted, (file.name, file.role, file.digest))
    return f"{{ name = {name}, role = {role}, digest = {digest}, size_bytes = {file.size_bytes} }}"


def _quoted(text: str) -> str:
    """A JSON string of printable text is a TOML string as well."""
    return json.dumps(text, ensure_ascii=False)


def locked(manifest: Manifest) -> LockedModel:
    """What a lock says of a model that is here. A signature that was made here later is not at the model's source, so
    a lock cannot ask for it.
    """
    signer = manifest.signer if manifest.signed_ms == manifest.added_ms else None
    files = tuple(LockedFile(f.name, f.role, f.blob.digest, f.blob.size_bytes) for f in manifest.files)
    return LockedModel(
        name=manifest.name, source=manifest.source, revision=manifest.revision, signer=signer, files=files
    )


# comparing ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not as locked; None: it is not there."""

    what: str
    locked: str | None
    found: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """What to do about one model: `keep` it, `get` it, `replace` it; an `extra` one is in no lock."""

    act: Literal["keep", "get", "replace", "extra"]
    name: str
    model: LockedModel | None
    changes: tuple[Change, ...] = ()


def compare(lock: Lock, here: Iterable[Manifest]) -> list[Step]:
    """What separates the machine from the lock, by name. Bytes and signers count, not where they came from."""
    found = {manifest.name: manifest for manifest in here}
    steps = []
    for model in lock.model:
        manifest = found.pop(model.name, None)
        if manifest is None:
            steps.append(Step("get", model.name, model))
            continue
        differs = changes(model, manifest.files, None, manifest.signer)
        steps.append(Step("replace" if differs else "keep", model.name, model, tuple(differs)))
    return sorted([*steps, *(Step("extra", name, None) for name in found)], key=lambda step: step.name)


def changes(model: LockedModel, files: Sequence[ModelFile], revision: str | None, signer: str | None) -> list[Change]:
    """How files differ from what is locked. Revisions are compared where both know one, signers where the lock does."""
    differs = []
    if model.revision and revision and model.revision != revision:
        differs.append(Change("revision", model.revision, revision))
    if model.signer and model.signer != signer:
        differs.append(Change("signer", model.signer, signer))
    expected = {each.name: each for each in model.files}
    offered = {each.name: LockedFile(each.name, each.role, each.blob.digest, each.blob.size_bytes) for each in files}
    for name in [*expected, *(name for name in offered if name not in expected)]:
        if expected.get(name) != offered.get(name):
            differs.append(Change(name, _said(expected.get(name)), _said(offered.get(name))))
    if not differs and tuple(offered.values()) != model.files:
        differs.append(Change("order", ", ".join(expected), ", ".join(offered)))
    return differs


def _said(file: LockedFile | None) -> str | None:
    return None if file is None else f"{file.digest} ({file.role}, {file.size_bytes} bytes)"


def require_locked(model: LockedModel, files: Sequence[ModelFile], revision: str | None, signer: str | None) -> None:
    """Raises Untrusted(`lock_mismatch`), with the difference line by line, unless exactly what is locked is offered."""
    differs = changes(model, files, revision, signer)
    if differs:
        message = f"{model.source} no longer has what models.lock says of {model.name}:\n{diff(differs)}"
        hint = "Find out who moved it. If the new one is wanted: pull it, then `intramural sync --write` the lock anew."
        raise Untrusted("lock_mismatch", message, hint)


def diff(differs: Iterable[Change]) -> str:
    """For people: `-` is what the lock says, `+` what was found."""
    return "\n".join(f"  {each.what}\n    - {each.locked or 'none'}\n    + {each.found or 'none'}" for each in differs)
