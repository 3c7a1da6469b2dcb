"""Which files in a folder, or layers in a registry, make up one model: shards in order, and what lets it see.

Pure: names in, names out. The conventions are those of llama.cpp's tools: `NAME-00001-of-00003.gguf` for a split model,
`mmproj` in the name of a projector.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from intramural.core.errors import Missing, Untrusted
from intramural.library.names import suggest_name

SUFFIX = ".gguf"
MAX_NAME_BYTES = 255
MAX_SHARDS = 1000
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})", re.DOTALL)
_PROJECTOR = re.compile(r"(?:^|[-_.])mmproj(?=$|[-_.])", re.IGNORECASE)
#: Names of projectors that do not say whose they are.
_ANYBODYS = ("", "model")
#: Of several projectors: the one that is exact enough and smallest. Others follow by name.
_PRECISIONS = ("f16", "bf16", "q8_0", "f32")


@dataclass(frozen=True, slots=True)
class FileSet:
    """The files of one model. `stem` is its name without suffix and shard number; `missing` lists absent shards."""

    stem: str
    weights: tuple[str, ...]
    projector: str | None = None
    missing: tuple[int, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, the projector last."""
        return self.weights if self.projector is None else (*self.weights, self.projector)

    def require_complete(self) -> None:
        """Raises Missing(`shard_missing`)."""
        if self.missing:
            count = len(self.weights) + len(self.missing)
            message = f"Of the {count} files of {self.stem}, number {self.missing[0]} is missing."
            raise Missing("shard_missing", message, "Complete the set, then try again.", param="source")


def plain_name(text: str) -> str:
    """The file name at the end of the relative path `text`. Raises Untrusted(`bad_file_name`) if any part is no name.

    Refused: `..`, an absolute path, a hidden name, a backslash, a drive, control characters, more than 255 bytes.
    """
    parts = text.split("/")
    if all(_is_plain(part) for part in parts):
        return parts[-1]
    hint = "Nothing was fetched. Tell whoever runs the source."
    raise Untrusted("bad_file_name", f"{text[:80]!r} is not the name of a file.", hint)


def is_projector(name: str) -> bool:
    """Whether a GGUF file of that name is a projector, as its name says."""
    return _PROJECTOR.search(_stem(name)) is not None


def sets_of(names: Iterable[str]) -> list[FileSet]:
    """The models among the GGUF files called `names`, by stem. Other files are passed over."""
    weights: dict[str, dict[int, str]] = {}
    counts: dict[str, int] = {}
    projectors = []
    for name in sorted(set(names)):
        if not name.lower().endswith(SUFFIX):
            continue
        if is_projector(name):
            projectors.append(name)
            continue
        stem, number, count = _shard(name)
        key = stem if count == 1 else f"{stem} of {count}"  # `x.gguf` beside `x-00001-of-00002.gguf` is another model
        weights.setdefault(key, {})[number] = name
        counts[key] = count
    bases = {_base(_shard(found[min(found)])[0]) for found in weights.values()}
    return [_set(found, counts[key], projectors, bases) for key, found in sorted(weights.items())]


def set_with(name: str, sets: Sequence[FileSet]) -> FileSet | None:
    """The one of `sets` that `name` is a file of weights of."""
    return next((each for each in sets if name in each.weights), None)


def _set(found: dict[int, str], count: int, projectors: Sequence[str], bases: set[str]) -> FileSet:
    stem = _shard(found[min(found)])[0]
    missing = tuple(number for number in range(1, count + 1) if number not in found)
    base = _base(stem)
    # One that does not say whose it is belongs to the only model there, in whatever quantisations.
    accepted = (base, *_ANYBODYS) if len(bases) == 1 else (base,)
    matching = [each for each in projectors if _projector_base(each) in accepted]
    best = min(matching, key=lambda each: (_precision(each), each), default=None)
    return FileSet(stem, tuple(found[number] for number in sorted(found)), best, missing)


def _shard(name: str) -> tuple[str, int, int]:
    """(stem, number, count) of a file name; (stem, 1, 1) for one that is no shard."""
    stem = _stem(name)
    match = _SHARD.fullmatch(stem)
    if match is None or not 1 <= int(match["number"]) <= int(match["count"]) <= MAX_SHARDS:
        return stem, 1, 1
    return match["stem"], int(match["number"]), int(match["count"])


def _stem(name: str) -> str:
    return name[: -len(SUFFIX)] if name.lower().endswith(SUFFIX) else PurePosixPath(name).stem


def _base(stem: str) -> str:
    """The model's name without its quantisation."""
    return suggest_name(stem).partition(":")[0]


def _projector_base(name: str) -> str:
    rest = _PROJECTOR.sub("", _stem(name)).strip("-_.")
    return "" if not rest or rest.lower() in _PRECISIONS else _base(rest)


def _precision(name: str) -> int:
    stem = _stem(name).lower()
    return next((at for at, each in enumerate(_PRECISIONS) if re.search(rf"(?:^|[-_.]){each}(?:$|[-_.])", stem)), 99)


def _is_plain(part: str) -> bool:
    if not part or part.startswith(".") or not part.isprintable() or any(mark in part for mark in "\\:"):
        return False
    try:
        return len(part.encode()) <= MAX_NAME_BYTES
    except UnicodeEncodeError:  # half a surrogate pair
        return False
