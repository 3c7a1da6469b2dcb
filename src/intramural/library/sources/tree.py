"""Which models are in a tree of files that a server lists, and which files are never taken. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from intramural.core.errors import IntramuralError, Misasked, Missing, Refused
from intramural.library.manifest import Role
from intramural.library.names import suggest_name
from intramural.library.provenance.signatures import NAME
from intramural.library.sources.sets import SUFFIX, FileSet, is_projector, plain_name, sets_of

#: Formats that run code when they are loaded (pickle and its wrappings): never fetched, whoever offers them.
_PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".npy", ".npz", ".h5"})
_SAFETENSORS = ".safetensors"


@dataclass(frozen=True, slots=True)
class TreeSet:
    """One model in a tree: paths of its weights in order, its projector's, and what `sets.FileSet` says besides."""

    stem: str
    weights: tuple[str, ...]
    projector: str | None
    files: FileSet

    @property
    def paths(self) -> tuple[tuple[str, Role], ...]:
        """Every file and what it is to the model, the weights first."""
        weights: tuple[tuple[str, Role], ...] = tuple((path, "weights") for path in self.weights)
        return weights if self.projector is None else (*weights, (self.projector, "projector"))

    @property
    def signatures(self) -> tuple[str, ...]:
        """Where its signature may lie: `model.gguf.sig`, else `model.sig` beside it. Nowhere for files of several
        folders, for a signature names files as they lie beside it, and a model here has no folders."""
        folders = {path.rpartition("/")[0] for path, _ in self.paths}
        beside = str(PurePosixPath(self.weights[0]).with_name(NAME))
        return (f"{self.weights[0]}.sig", beside) if len(folders) == 1 else ()

    @property
    def name(self) -> str:
        """What to call it: the stem and, behind the colon, the quantisation."""
        return suggest_name(self.stem)


def models_in(paths: Iterable[str]) -> list[TreeSet]:
    """The models among the GGUF files at `paths` (relative, `/` between folders), by path of their first file.

    A set lies in one folder; a projector may lie in the top folder instead. Raises Untrusted(`bad_file_name`).
    """
    folders: dict[str, dict[str, str]] = {}
    for path in paths:
        if path.lower().endswith(SUFFIX):
            name = plain_name(path)
            folders.setdefault(path.removesuffix(name), {})[name] = path
    shared = {name: path for name, path in folders.get("", {}).items() if is_projector(name)}
    found = []
    for files in folders.values():
        lent = {**shared, **files} if not any(map(is_projector, files)) else files
        found += [_in_folder(each, lent) for each in sets_of(lent)]
    return sorted(found, key=lambda each: each.weights)


def choose(found: Sequence[TreeSet], path: str | None, tag: str | None) -> list[TreeSet]:
    """Those of `found` that `path` is weights of, or that `tag` is the quantisation of, as in their names.

    All complete ones where neither is said. Raises Missing(`source_not_found`, `shard_missing`).
    """
    if path is None and tag is None:
        complete = [each for each in found if not each.files.missing]
        if found and not complete:
            found[0].files.require_complete()
        return complete
    wanted = tag and tag.lower()
    chosen = [each for each in found if path in each.weights or (wanted and each.name.partition(":")[2] == wanted)]
    if not chosen:
        has = ", ".join(each.weights[0] for each in found[:8])
        hint = f"It has {has}{', …' if len(found) > 8 else ''}." if found else "It has no GGUF file."
        raise Missing("source_not_found", f"There is no model {path or tag} in the source.", hint, param="source")
    for each in chosen:
        each.files.require_complete()
    return chosen


def require_servable(path: str) -> None:
    """Raises Refused for a file whose name says that it is a pickle or another format that is not served.

    Codes: `pickle_refused`, `safetensors_not_served`; Misasked(`bad_source`) for what is no GGUF file.
    """
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in _PICKLES:
        raise _pickle(path)
    if suffix == _SAFETENSORS:
        raise _unserved(path)
    if suffix != SUFFIX:
        message = f"{path[:80]!r} is not a GGUF file."
        raise Misasked("bad_source", message, "Name a .gguf file, or leave the file away.", param="source")


def nothing_in(paths: Iterable[str]) -> IntramuralError:
    """Why a tree without GGUF files has no model for us."""
    suffixes = {PurePosixPath(path).suffix.lower(): path for path in paths}
    if _SAFETENSORS in suffixes:
        return _unserved(suffixes[_SAFETENSORS])
    for suffix, path in suffixes.items():
        if suffix in _PICKLES:
            return _pickle(path)
    return Missing("source_empty", "The source has no model.", "It has no GGUF file. Try another.", param="source")


def is_signature(body: bytes) -> bool:
    """Whether a `.sig` file may be one of ours to check: others (GnuPG's, minisign's) have that name too."""
    return body.lstrip()[:1] == b"{"


def _in_folder(files: FileSet, paths: dict[str, str]) -> TreeSet:
    projector = None if files.projector is None else paths[files.projector]
    return TreeSet(files.stem, tuple(paths[name] for name in files.weights), projector, files)


def _pickle(path: str) -> Refused:
    hint = "Nothing was fetched. Ask the publisher for GGUF, or take somebody's conversion whom you trust."
    return Refused("pickle_refused", f"{path[:80]!r} may run code when it is loaded.", hint)


def _unserved(path: str) -> Refused:
    hint = "Nothing was fetched. Of a hub name the whole: hf:owner/repository:safetensors. To run it here, get GGUF."
    return Refused("safetensors_not_served", f"{path[:80]!r} is safetensors; the library serves GGUF only.", hint)
