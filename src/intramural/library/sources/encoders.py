"""Which files of a repository or folder are an ONNX model. Pure: names in, names out.

The weights are one `.onnx` file, in the top folder or in `onnx/`; what is read with them lies in the top folder, and
`1_Pooling/config.json`, which says how vectors are made, below it. Nothing else is asked for.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from intramural.core.errors import Misasked, Refused
from intramural.library.manifest import ONNX, POOLING, TOKENIZER, Role
from intramural.library.names import suggest_name
from intramural.library.provenance.signatures import NAME
from intramural.library.sources.sets import plain_name

#: What `:tag` says to mean it.
TAG = "onnx"
#: Where Sentence Transformers keeps how vectors are made, and what that file is called here.
POOLING_PATH = "1_Pooling/config.json"
_FOLDER = "onnx/"
_SUPPORT = (TOKENIZER, "config.json", "tokenizer_config.json", "special_tokens_map.json")
#: Of several files of weights: the one as it was trained.
_USUAL = "model.onnx"


@dataclass(frozen=True, slots=True)
class Encoder:
    """`weights` and `support` are paths where they lie; `name` is what to call the model."""

    name: str
    weights: tuple[str, ...]
    support: tuple[str, ...]
    signatures: tuple[str, ...] = (NAME,)

    @property
    def paths(self) -> tuple[tuple[str, Role], ...]:
        """Every file and what it is to the model, the weights first."""
        support: list[tuple[str, Role]] = [(path, "support") for path in self.support]
        return (*((path, "weights") for path in self.weights), *support)


def encoder_in(paths: Iterable[str], title: str, wanted: str | None = None) -> Encoder | None:
    """The ONNX model among the files at `paths`, of a repository or folder called `title`; None without ONNX files.

    `wanted` names its weights. Raises Misasked(`source_ambiguous`), Refused(`snapshot_tokenizer_missing`),
    Untrusted(`bad_file_name`).
    """
    listed = set(paths)
    found = [wanted] if wanted in listed else sorted(path for path in listed if _is_weights(path))
    if not found or (wanted is not None and wanted not in listed):
        return None
    weights = _chosen(found)
    plain_name(weights)
    support = tuple(path for path in (*_SUPPORT, POOLING_PATH) if path in listed)
    if TOKENIZER not in support:
        hint = "Nothing was fetched. Ask the publisher for its tokenizer.json."
        raise Refused("snapshot_tokenizer_missing", "There are ONNX weights, but no tokenizer.json.", hint)
    variant = plain_name(weights).removesuffix(ONNX).removeprefix("model").strip("._-")
    name = suggest_name(title).partition(":")[0]
    return Encoder(f"{name}:{suggest_name(variant).replace(':', '-') if variant else TAG}", (weights,), support)


def known_as(path: str) -> str:
    """What the file at `path` is called in the library, which has no folders."""
    return POOLING if path == POOLING_PATH else plain_name(path)


def _is_weights(path: str) -> bool:
    return path.lower().endswith(ONNX) and "/" not in path.removeprefix(_FOLDER)


def _chosen(found: Sequence[str]) -> str:
    usual: Mapping[int, str] = dict(enumerate(path for path in found if path.removeprefix(_FOLDER) == _USUAL))
    if len(found) == 1 or usual:
        return usual.get(0, found[0])
    shown = ", ".join(found[:8])
    message = f"There are several ONNX files: {shown}."
    raise Misasked("source_ambiguous", message, "Name one of them, with its path.", param="source")
