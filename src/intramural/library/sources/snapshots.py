"""Which files of a repository or folder are a safetensors snapshot. Pure: names in, names out.

Only the top folder is looked at, and only names that are known: `SUPPORT` has those beside the weights. So programs,
pickles and whatever lies in folders are not asked for at all.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from intramural.core.errors import Misasked, Missing, Refused, Untrusted
from intramural.library.manifest import INDEX, SAFETENSORS, SUPPORT, Role, kind_of
from intramural.library.names import suggest_name
from intramural.library.provenance.signatures import NAME
from intramural.library.sources.sets import MAX_SHARDS, plain_name

#: What `:tag` says to mean the snapshot.
TAG = "safetensors"
_SHARD = re.compile(r"(?P<stem>.+)[-_](?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})", re.DOTALL)
#: Of several sets of weights: the one that libraries of models look for.
_USUAL = ("model", "pytorch_model")
#: The largest file beside the weights (a tokenizer); inspection has a bound for each.
MAX_SUPPORT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`weights` in order; `support` by name; `signatures`: where one may lie. `name` is what to call the model."""

    name: str
    weights: tuple[str, ...]
    support: tuple[str, ...]
    signatures: tuple[str, ...] = (NAME,)

    @property
    def paths(self) -> tuple[tuple[str, Role], ...]:
        """Every file and what it is to the model, the weights first."""
        weights: list[tuple[str, Role]] = [(name, "weights") for name in self.weights]
        return (*weights, *((name, "support") for name in self.support))


def snapshot_in(paths: Iterable[str], title: str) -> Snapshot | None:
    """The snapshot among the files at `paths`, of a repository or folder called `title`; None without safetensors.

    Raises Missing(`shard_missing`), Misasked(`source_ambiguous`), Refused(`snapshot_config_missing`,
    `adapter_unsupported`), Untrusted(`bad_file_name`).
    """
    names = sorted({plain_name(path) for path in paths if "/" not in path and _is_known(path)})
    sets = _sets(name for name in names if name.endswith(SAFETENSORS))
    if not sets:
        return None
    stem, shards = _chosen(sets)
    count = _shard(next(iter(shards.values())))[2]
    missing = next((number for number in range(1, count + 1) if number not in shards), None)
    if missing is not None:
        message = f"Of the {count} files of {stem}, number {missing} is missing."
        raise Missing("shard_missing", message, "Complete the set, then try again.", param="source")
    support = tuple(name for name in names if name in SUPPORT or name == f"{stem}{INDEX}")
    if "config.json" not in support:
        hint = "Nothing was fetched. Ask the publisher for the whole model, or look for a GGUF variant of it."
        message = "There are safetensors weights, but no config.json that says what they are."
        raise Refused("snapshot_config_missing", message, hint)
    name = f"{suggest_name(title).partition(':')[0]}:{TAG}"
    return Snapshot(name, tuple(shards[number] for number in sorted(shards)), support)


def require_small(name: str, size_bytes: int) -> None:
    """Raises Untrusted(`snapshot_file_size`) for a file beside the weights that is larger than any makes sense."""
    if size_bytes > MAX_SUPPORT_BYTES:
        message = f"{name[:80]!r} is said to have {size_bytes} bytes; {MAX_SUPPORT_BYTES} at most make sense."
        raise Untrusted("snapshot_file_size", message, "Nothing was fetched. Use another model.")


def _is_known(path: str) -> bool:
    return path.endswith(SAFETENSORS) or kind_of(path, "support") != "unknown"


def _sets(names: Iterable[str]) -> Mapping[tuple[str, int], dict[int, str]]:
    """Files by stem and count, and in each by number."""
    found: dict[tuple[str, int], dict[int, str]] = {}
    for name in names:
        stem, number, count = _shard(name)
        found.setdefault((stem, count), {})[number] = name
    return found


def _shard(name: str) -> tuple[str, int, int]:
    """(stem, number, count) of a file name; (stem, 1, 1) for one that is no shard."""
    stem = name.removesuffix(SAFETENSORS)
    match = _SHARD.fullmatch(stem)
    if match is None or not 1 <= int(match["number"]) <= int(match["count"]) <= MAX_SHARDS:
        return stem, 1, 1
    return match["stem"], int(match["number"]), int(match["count"])


def _chosen(sets: Mapping[tuple[str, int], dict[int, str]]) -> tuple[str, dict[int, str]]:
    models = {key: shards for key, shards in sets.items() if not key[0].startswith("adapter")}
    if not models:
        hint = "Get the model that it was merged into, if there is one."
        raise Refused("adapter_unsupported", "There is only an adapter, which is not a model by itself.", hint)
    for usual in _USUAL:
        ours = [key for key in models if key[0] == usual]
        if len(ours) == 1:
            models = {ours[0]: models[ours[0]]}
    if len(models) > 1:
        stems = ", ".join(sorted({stem for stem, _ in models})[:8])
        message = f"There are several sets of safetensors weights: {stems}."
        raise Misasked("source_ambiguous", message, "Look for a GGUF variant of the model.", param="source")
    ((stem, _), shards), *_rest = models.items()
    return stem, shards
