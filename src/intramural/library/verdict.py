"""What inspection says of files that lie somewhere on this machine, without shelving anything."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from intramural.core.errors import IntramuralError, Misasked, Missing, Refused, Untrusted
from intramural.library.facts import ModelFacts
from intramural.library.finding import Finding
from intramural.library.gguf import Malformed
from intramural.library.inspection import Inspect
from intramural.library.manifest import SAFETENSORS, WHOLE, Piece, kind_of
from intramural.library.sources.disk import open_regular
from intramural.library.sources.sets import SUFFIX, FileSet, is_projector, set_with, sets_of
from intramural.library.sources.snapshots import snapshot_in

#: In a folder, files of these endings are looked at too: somebody may take them for weights.
_TAKEN_FOR_WEIGHTS = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".safetensors", ".onnx", ".h5", ".llamafile")

#: What a file is that says nothing of the kind by itself.
_SILENT = {"projector": "clip"}


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Of one model: `code`, `message`, `field` and `offset` (in bytes) say why it is refused.

    `findings` are what an administrator has to decide about; what it is (`architecture` …) is there unless refused.
    """

    name: str
    files: tuple[str, ...]
    verdict: Literal["sound", "refused", "quarantined"]
    code: str | None = None
    message: str | None = None
    hint: str | None = None
    field: str | None = None
    offset: int | None = None
    findings: tuple[Finding, ...] = ()
    architecture: str | None = None
    parameters: int | None = None
    quantisation: str | None = None


@dataclass(frozen=True, slots=True)
class _Group:
    """Files of one model, in order. `problem`: why they cannot be one, if names tell."""

    folder: Path
    files: FileSet
    pieces: tuple[Piece, ...]
    problem: IntramuralError | None = None


async def judge(inspect: Inspect, paths: Sequence[Path]) -> list[Verdict]:
    """A verdict on each model among `paths`: files, sets of which one file is named, and folders.

    Raises Missing(`file_not_readable`), Misasked(`nothing_to_inspect`).
    """
    groups = [group for path in paths for group in _groups(path)]
    if not groups:
        hint = "Name a GGUF file, or a folder with some."
        raise Misasked("nothing_to_inspect", "There is nothing to inspect.", hint, param="file")
    return [await _judged(inspect, group) for group in dict.fromkeys(groups)]


def _groups(path: Path) -> Iterator[_Group]:
    if not path.is_dir():
        yield _named(path)
        return
    for folder, _, names in sorted(os.walk(path)):
        sets = sets_of(names)
        snapshot = _snapshot(Path(folder), names)
        if snapshot is not None:
            yield snapshot
        with_owner = {name for each in sets for name in each.names} | set(snapshot.files.names if snapshot else ())
        alone = [name for name in sorted(names) if name not in with_owner and _is_worth_a_look(name)]
        for files in (*sets, *(FileSet(name, (name,)) for name in alone)):
            yield _Group(Path(folder), files, _pieces(files))


def _named(path: Path) -> _Group:
    """The model that the file at `path` is, or is one shard of."""
    try:
        beside = [each.name for each in path.parent.iterdir()]
    except OSError as error:
        raise _unreadable() from error
    snapshot = _snapshot(path.parent, beside) if path.name.endswith(SAFETENSORS) else None
    if snapshot is not None and path.name in snapshot.files.names:
        return snapshot
    shards = set_with(path.name, sets_of(beside))
    files = (
        FileSet(path.name, (path.name,))
        if shards is None
        else FileSet(shards.stem, shards.weights, None, shards.missing)
    )
    return _Group(path.parent, files, _pieces(files))


def _snapshot(folder: Path, names: Sequence[str]) -> _Group | None:
    """The safetensors snapshot in a folder: the files that a pull of it would take."""
    try:
        found = snapshot_in(names, folder.resolve().name)
    except (Misasked, Refused, Untrusted) as error:
        weights = tuple(sorted(name for name in names if name.endswith(SAFETENSORS)))
        return _Group(folder, FileSet(folder.name, weights), (), error)
    if found is None:
        return None
    paths = found.paths
    kinds = tuple(Piece(role, kind=kind_of(name, role)) for name, role in paths)
    return _Group(folder, FileSet(found.name, tuple(name for name, _ in paths)), kinds)


def _is_worth_a_look(name: str) -> bool:
    return name.lower().endswith((SUFFIX, *_TAKEN_FOR_WEIGHTS))


def _pieces(files: FileSet) -> tuple[Piece, ...]:
    count = len(files.weights) + len(files.missing)
    if files.stem.endswith(SAFETENSORS):
        return (Piece(kind="safetensors"),)  # beside a snapshot, and no part of it
    if count == 1:
        first = Piece("projector") if is_projector(files.weights[0]) else WHOLE
        return (first,) if files.projector is None else (first, Piece("projector"))
    numbers = [number for number in range(1, count + 1) if number not in files.missing]
    shards = tuple(Piece("weights", number, count) for number in numbers)
    return shards if files.projector is None else (*shards, Piece("projector"))


async def _judged(inspect: Inspect, group: _Group) -> Verdict:
    name, names = group.files.stem, group.files.names
    opened: list[int] = []
    if group.problem is not None:
        return _refused(name, names, group.problem)
    try:
        opened.extend(_opened(group.folder / each) for each in names)
        group.files.require_complete()
        facts = await _facts(inspect, opened, group.pieces)
    except (Untrusted, Missing) as error:
        if error.code == "file_not_readable":
            raise
        return _refused(name, names, error)
    finally:
        for each in opened:
            os.close(each)
    if facts is None:
        return Verdict(name=name, files=names, verdict="sound", architecture=_SILENT.get(group.pieces[0].role))
    return Verdict(
        name=name,
        files=names,
        verdict="quarantined" if facts.findings else "sound",
        findings=facts.findings,
        architecture=facts.architecture,
        parameters=facts.parameters,
        quantisation=facts.quantisation,
    )


async def _facts(inspect: Inspect, opened: Sequence[int], pieces: Sequence[Piece]) -> ModelFacts | None:
    if len(opened) > 1:
        return await inspect.together(opened, pieces)
    return await inspect(opened[0], os.fstat(opened[0]).st_size, pieces[0])


def _refused(name: str, names: tuple[str, ...], error: IntramuralError) -> Verdict:
    where = (error.field, error.offset) if isinstance(error, Malformed) else (None, None)
    return Verdict(
        name=name,
        files=names,
        verdict="refused",
        code=error.code,
        message=error.message,
        hint=error.hint,
        field=where[0],
        offset=where[1],
    )


def _opened(path: Path) -> int:
    try:
        return open_regular(path)
    except Missing as error:  # of what a person names here, not of a service's source
        raise _unreadable() from error


def _unreadable() -> Missing:
    hint = "Give the path of a file that you may read."
    return Missing("file_not_readable", "There is no readable regular file at that path.", hint, param="file")
