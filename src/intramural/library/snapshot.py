"""Models as safetensors snapshots: weights, a `config.json` that says what they are, and what else is read with them.

No engine here serves them; they are kept, verified and carried. So all that is promised of them is that each file is
what its name says, that the set is complete and agrees with itself, and that nothing in it is or names a program
(`auto_map` has readers import Python files from the repository). The chat template is audited as a GGUF file's is.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NoReturn

from intramural.library.facts import (
    MAX_CONTEXT,
    MAX_HEADS,
    MAX_LAYERS,
    MAX_VOCABULARY,
    MAX_WIDTH,
    ModelFacts,
    prevailing_type,
)
from intramural.library.gguf import LIMIT, Malformed, ReadAt
from intramural.library.manifest import Kind, Piece
from intramural.library.safetensors import DTYPES, Contents, read_contents
from intramural.library.shape import Shape
from intramural.library.strictjson import BadJson, Read, read_object, require_object, whole_characters


class SnapshotFlaw(StrEnum):
    """Why a snapshot is refused. The values are error codes and never change their meaning."""

    CONFIG_MISSING = "snapshot_config_missing"
    TOKENIZER_MISSING = "snapshot_tokenizer_missing"
    FILE_UNKNOWN = "snapshot_file_unknown"
    FILE_TWICE = "snapshot_file_twice"
    FILE_SIZE = "snapshot_file_size"
    MIXED = "snapshot_mixed"
    UTF8 = "snapshot_utf8"
    JSON = "snapshot_json"
    DUPLICATE = "snapshot_duplicate"
    CUSTOM_CODE = "snapshot_custom_code"
    MISSING_KEY = "snapshot_missing_key"
    SCHEMA = "snapshot_schema"
    KEY_RANGE = "snapshot_key_range"
    TENSOR_TWICE = "snapshot_tensor_twice"
    INDEX = "snapshot_index"


#: The largest vocabularies take some 35 MB, the lists of the largest models some 10.
MAX_BYTES: Mapping[Kind, int] = {
    "config": 1 << 20,
    "tokenizer": 64 << 20,
    "tokenizer_config": 16 << 20,
    "template": 1 << 20,
    "index": 16 << 20,
    "settings": 1 << 20,
    "pooling": 1 << 16,
}
_ONCE = ("onnx", "config", "tokenizer", "tokenizer_config", "template", "index", "pooling")
_CODE_KEYS = ("auto_map", "custom_pipelines")
_MODEL_TYPE = re.compile("[a-z0-9][a-z0-9_.-]{0,63}")
_METHOD = re.compile("[a-z0-9][a-z0-9_-]{0,31}")
_SHARD = re.compile(r".+[-_](?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.safetensors", re.DOTALL)
_INNER = ("text_config", "llm_config")
_TEMPLATE_NAME = re.compile("[A-Za-z0-9_-]{1,64}")


def require_whole(pieces: Sequence[Piece]) -> None:
    """That files with these names can be a model, as far as names tell. Raises Malformed. GGUF files all pass."""
    kinds = [piece.kind for piece in pieces]
    if all(kind == "gguf" for kind in kinds):
        return
    if len({"gguf", "safetensors", "onnx"} & set(kinds)) != 1 or "gguf" in kinds:
        _refuse(SnapshotFlaw.MIXED, "These files are no model together: their weights are of several formats, or none.")
    if "unknown" in kinds:
        _refuse(SnapshotFlaw.FILE_UNKNOWN, "A file of the snapshot has a name that is not taken.")
    single = [kind for kind in kinds if kind in _ONCE]
    if len(set(single)) != len(single):
        _refuse(SnapshotFlaw.FILE_TWICE, "A file of the snapshot is there twice.")
    if "onnx" in kinds:
        if "tokenizer" not in kinds:
            _refuse(SnapshotFlaw.TOKENIZER_MISSING, "There is no tokenizer.json, without which no text can be read.")
    elif "config" not in kinds:
        _refuse(SnapshotFlaw.CONFIG_MISSING, "There is no config.json, which says what the weights are.")


#: A chat template's text, and the byte of its file at which it stands; by its name here.
Templates = Mapping[str, tuple[str, int]]


def examine_snapshot(
    files: Sequence[tuple[ReadAt, int]], pieces: Sequence[Piece]
) -> tuple[ModelFacts | None, Templates]:
    """Read one file alone (then no facts), or all files of a model. Raises Malformed.

    The chat templates are for the caller to audit; of several the first is the one that is used.
    """
    if len(files) > 1:
        require_whole(pieces)
    together = list(zip(files, pieces, strict=True))
    shards = [read_contents(*file) for file, piece in together if piece.kind == "safetensors"]
    support: dict[Kind, Read] = {
        piece.kind: read_support(file, piece.kind) for file, piece in together if piece.kind != "safetensors"
    }
    config = Config(support["config"]) if "config" in support else None
    templates = dict(_templates(support))
    if len(files) == 1 or config is None:
        return None, templates
    _check_set(shards, support.get("index"))
    return _facts(shards, config, templates), templates


# one file -------------------------------------------------------------------------------------------------------------


def read_support(file: tuple[ReadAt, int], kind: Kind) -> Read:
    """What a file beside the weights says. The template is text; the tokenizer is checked and not kept."""
    read_at, size_bytes = file
    most = MAX_BYTES.get(kind, 0)
    if not 0 < size_bytes <= most:
        _refuse(SnapshotFlaw.FILE_SIZE, f"The {kind} file has {size_bytes} bytes; 1 to {most} make sense.", offset=0)
    raw = read_at(0, size_bytes)
    try:
        if kind == "template":
            return Read({"chat_template": _text(raw)}, {"chat_template": 0}, len(raw))
        if kind == "tokenizer":
            require_object(raw)
            return Read({}, {}, len(raw))
        read = read_object(raw)
    except BadJson as error:
        flaw = {"utf8": SnapshotFlaw.UTF8, "json": SnapshotFlaw.JSON, "duplicate": SnapshotFlaw.DUPLICATE}[error.what]
        _refuse(flaw, f"The {kind} file: {error.why}", error.field, error.offset)
    _check_no_code(read, kind)
    return read


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadJson("utf8", "It is not UTF-8.", error.start, None) from error


def _check_no_code(read: Read, kind: Kind) -> None:
    if kind == "index":
        return  # names of tensors only, and they are compared
    for name, value in read.object.items():
        for key, inner in _keys_within(name, value):
            if key in _CODE_KEYS and inner not in (None, {}, []):
                message = f"The {kind} file names Python code to run ({key})."
                _refuse(SnapshotFlaw.CUSTOM_CODE, message, key, read.places[name])


def _keys_within(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    waiting: list[tuple[str, Any]] = [(name, value)]
    while waiting:
        key, found = waiting.pop()
        yield key, found
        if isinstance(found, dict):
            waiting.extend(found.items())
        elif isinstance(found, list):
            waiting.extend(("", each) for each in found if isinstance(each, dict | list))


# all of them ----------------------------------------------------------------------------------------------------------


def _check_set(shards: Sequence[Contents], index: Read | None) -> None:
    """No tensor is in two files, and the index, if there is one, says which tensor is in which file."""
    where: dict[str, int] = {}
    for number, shard in enumerate(shards, start=1):
        for tensor in shard.tensors:
            if tensor.name in where:
                message = f"{tensor.name} is in file {where[tensor.name]} and in file {number}."
                _refuse(SnapshotFlaw.TENSOR_TWICE, message, tensor.name, tensor.place)
            where[tensor.name] = number
    if index is None:
        return
    place, said = index.places.get("weight_map", 0), index.object.get("weight_map")
    if not isinstance(said, dict):
        _refuse(SnapshotFlaw.INDEX, "The index has no weight_map.", "weight_map", place)
    if said.keys() != where.keys():
        first = min(said.keys() ^ where.keys())
        there = "has no such tensor" if first in said else "is not told of it"
        _refuse(SnapshotFlaw.INDEX, f"{first[:80]}: the files and the index differ (which {there}).", first, place)
    for name, file in said.items():
        if _number_of(file, len(shards)) != where[name]:
            message = f"{name} is in file {where[name]}, not where the index has it."
            _refuse(SnapshotFlaw.INDEX, message, name, place)


def _number_of(file: Any, count: int) -> int | None:
    """Which of `count` files the index means."""
    if not isinstance(file, str):
        return None
    match = _SHARD.fullmatch(file)
    if match is None:
        return 1 if count == 1 and file.endswith(".safetensors") else None
    return int(match["number"]) if int(match["count"]) == count else None


def _facts(shards: Sequence[Contents], config: "Config", templates: Templates) -> ModelFacts:
    tensors = [tensor for shard in shards for tensor in shard.tensors]
    parameters = sum(tensor.weights for tensor in tensors)
    stored = prevailing_type((tensor.dtype, tensor.end - tensor.begin) for tensor in tensors)
    return ModelFacts(
        architecture=config.model_type,
        parameters=min(max(1, parameters), LIMIT // 2),
        quantisation=config.method or (stored if stored in DTYPES else "none"),
        trained_context_tokens=config.context_tokens,
        shape=config.shape,
        template=next((text for text, _ in templates.values()), None),
        pooling=None,
        claimed_licence=None,
        header_bytes=sum(shard.header_bytes for shard in shards),
    )


def _templates(support: Mapping[Kind, Read]) -> Iterator[tuple[str, tuple[str, int]]]:
    """(name, (text, place)). `chat_template.jinja` goes before what `tokenizer_config.json` says."""
    if (alone := support.get("template")) is not None:
        yield "chat_template.jinja", (_sound(alone.object["chat_template"], 0), 0)
    config = support.get("tokenizer_config")
    if config is None or (said := config.object.get("chat_template")) is None:
        return
    place = config.places["chat_template"]
    if isinstance(said, str):
        said = [{"name": "default", "template": said}]
    if not isinstance(said, list):
        _refuse(SnapshotFlaw.SCHEMA, "chat_template must be a text, or a list of them.", "chat_template", place)
    seen: dict[str, str] = {}
    for each in said:
        name = each.get("name") if isinstance(each, dict) else None
        text = each.get("template") if isinstance(each, dict) else None
        if not isinstance(name, str) or not isinstance(text, str) or not _TEMPLATE_NAME.fullmatch(name) or name in seen:
            message = "chat_template must have texts, each with a name of its own."
            _refuse(SnapshotFlaw.SCHEMA, message, "chat_template", place)
        seen[name] = _sound(text, place)
    for name in sorted(seen, key=lambda each: each != "default"):
        yield f"chat_template.{name}", (seen[name], place)


def _sound(text: str, place: int) -> str:
    """`text`, if it is text: JSON can spell half a character."""
    if any("\ud800" <= each <= "\udfff" for each in text):
        _refuse(SnapshotFlaw.UTF8, "The chat template has half a character.", "chat_template", place)
    return text


class Config:
    """What `config.json` says, under the names that the families of models have for it. Raises Malformed."""

    def __init__(self, read: Read) -> None:
        self._read = read
        inner = [found for name in _INNER if isinstance(found := read.object.get(name), dict)]
        self._objects: list[Mapping[str, Any]] = [*inner, read.object]
        found = read.object.get("model_type")
        if not isinstance(found, str) or not _MODEL_TYPE.fullmatch(found):
            self._refuse(SnapshotFlaw.MISSING_KEY, "'model_type' must name an architecture.", "model_type")
        self.model_type = found
        self.method = self._method()
        self.context_tokens = self._required(
            MAX_CONTEXT, "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx"
        )
        self.shape = self._shape()

    def _shape(self) -> Shape:
        layers = self._required(MAX_LAYERS, "num_hidden_layers", "n_layer", "n_layers", "num_layers")
        width = self._required(MAX_WIDTH, "hidden_size", "n_embd", "n_embed", "d_model")
        heads = self._number(MAX_HEADS, "num_attention_heads", "n_head", "n_heads")
        kv_heads = self._number(MAX_HEADS, "num_key_value_heads", "num_kv_heads") or heads
        head_length = self._number(MAX_WIDTH, "head_dim") or (width // heads if heads else 0)
        return Shape(
            layers=layers,
            heads=heads,
            kv_heads=(kv_heads,) * layers,
            key_length=head_length,
            value_length=head_length,
            embedding_length=width,
            feed_forward_length=self._number(MAX_WIDTH, "intermediate_size", "n_inner", "ffn_dim", "d_ff"),
            vocabulary_size=self._required(MAX_VOCABULARY, "vocab_size"),
            experts=self._number(MAX_HEADS, "num_local_experts", "num_experts", "n_routed_experts"),
            experts_used=self._number(MAX_HEADS, "num_experts_per_tok"),
        )

    def _method(self) -> str | None:
        """How the weights are quantised, in capitals; None where they are not."""
        found = next((each for o in self._objects if (each := o.get("quantization_config")) is not None), None)
        if found is None:
            return None
        method = found.get("quant_method") if isinstance(found, dict) else None
        if not isinstance(method, str) or not _METHOD.fullmatch(method):
            message = "'quantization_config' must name its quant_method."
            self._refuse(SnapshotFlaw.SCHEMA, message, "quantization_config")
        return method.upper()

    def _required(self, most: int, *names: str) -> int:
        found = self._number(most, *names)
        if not found:
            self._refuse(SnapshotFlaw.MISSING_KEY, f"The key {names[0]!r} is missing.", names[0])
        return found

    def _number(self, most: int, *names: str) -> int:
        """The first of `names` that is there and not null, the greatest of a list with one a layer; 0 if none is."""
        for name in names:
            for each in self._objects:
                if (found := each.get(name)) is not None:
                    return self._whole(name, found, most)
        return 0

    def _whole(self, name: str, found: Any, most: int) -> int:
        numbers = found if isinstance(found, list) and found else [found]
        if not all(type(each) is int for each in numbers):
            self._refuse(SnapshotFlaw.SCHEMA, f"The key {name!r} must be a whole number.", name)
        if not 0 <= min(numbers) <= max(numbers) <= most:
            self._refuse(SnapshotFlaw.KEY_RANGE, f"The key {name!r} makes no sense: 0 to {most} would.", name)
        return int(max(numbers))

    def _refuse(self, flaw: SnapshotFlaw, message: str, field: str) -> NoReturn:
        inner = next((self._read.places[name] for name in _INNER if name in self._read.places), 0)
        _refuse(flaw, f"config.json: {message}", field, self._read.places.get(field, inner))


def _refuse(flaw: SnapshotFlaw, message: str, field: str | None = None, offset: int | None = None) -> NoReturn:
    raise Malformed(flaw.value, whole_characters(message), field and whole_characters(field), offset)
