"""Models of several files: the shards of a set, each and together, and a projector, which lets a model see or hear.

A set's first file has all keys of the model, every file its own `split.no` (from zero), `split.count` and
`split.tensors.count` (of the whole set), as llama.cpp's splitting tool writes them. Native readers find the other files
by name and take the tensors of each for granted.
"""

from collections.abc import Sequence

import msgspec

from intramural.library.adapter import adapter_facts, is_adapter
from intramural.library.facts import (
    MAX_HEADS,
    MAX_LAYERS,
    MAX_WIDTH,
    Keys,
    ModelFacts,
    check_embeddings,
    check_layers,
    declared_quantisation,
    facts_of,
    placing,
    prevailing_type,
)
from intramural.library.gguf import BOOL, FLOAT32, INT32, MAX_TENSORS, UINT32, Array, Flaw, Header, Malformed, refuse
from intramural.library.manifest import Piece
from intramural.library.shape import weighing

MAX_SHARDS = 1000
_PROJECTOR_KINDS = ("mmproj", "model", None)
_SENSES = ("vision", "audio")
#: Keys after `clip.<sense>.` that native readers take as unsigned 32-bit numbers: (least, most). They divide by some.
_PROJECTOR_NUMBERS = {
    "image_size": (0, 1 << 16),
    "patch_size": (1, 1 << 12),
    "num_mel_bins": (1, 1 << 12),
    "embedding_length": (0, MAX_WIDTH),
    "feed_forward_length": (0, MAX_WIDTH),
    "projection_dim": (0, MAX_WIDTH),
    "block_count": (0, MAX_LAYERS),
    "attention.head_count": (0, MAX_HEADS),
}
_PROJECTOR_BOOLEANS = ("has_vision_encoder", "has_audio_encoder", "has_llava_projector", "use_gelu", "use_silu")
#: Native readers copy three numbers out of these, however many there are.
_COLOURS = ("image_mean", "image_std")
_PLAIN_ITEMS = (UINT32, INT32, FLOAT32, BOOL)


def check_alone(header: Header, piece: Piece) -> ModelFacts | None:
    """What one file of a model says by itself; None for a further shard and a projector. Raises Malformed."""
    if piece.role == "projector":
        with placing(header):
            _check_projector(header)
        return None
    if piece.count == 1:
        return adapter_facts(header) if is_adapter(header) else facts_of(header)
    with placing(header):
        _check_shard(header, piece)
    return facts_of(header, whole=False) if piece.number == 1 else None


def check_together(headers: Sequence[Header], pieces: Sequence[Piece]) -> ModelFacts:
    """What all files of a model say: each was checked alone, in the same order. Raises Malformed."""
    shards = [header for header, piece in zip(headers, pieces, strict=True) if piece.role == "weights"]
    if len(shards) == 1:
        return facts_of(shards[0])
    facts = facts_of(shards[0], whole=False)
    for number, header in enumerate(shards, start=1):
        with _InFile(number, len(shards)), placing(header):
            _check_tensors(header, shards, facts)
    _check_names(shards)
    tensors = [tensor for header in shards for tensor in header.tensors]
    with placing(shards[0]):
        check_layers(shards[0], tensors, facts.shape.layers)
    return msgspec.structs.replace(
        facts,
        parameters=sum(tensor.weights for tensor in tensors),
        quantisation=declared_quantisation(shards[0])
        or prevailing_type((tensor.type_name, tensor.size_bytes) for tensor in tensors),
        shape=weighing(facts.shape, facts.architecture, tensors),
        header_bytes=sum(header.header_bytes for header in shards),
    )


class _InFile:
    """Refusals inside say which file of the set they are about."""

    def __init__(self, number: int, count: int) -> None:
        self._where = f"File {number} of {count}: "

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, found: BaseException | None, trace: object) -> None:
        if isinstance(found, Malformed):
            found.message = self._where + found.message


def _check_shard(header: Header, piece: Piece) -> None:
    count, number = _split(header, "split.count"), _split(header, "split.no")
    if count != piece.count or count > MAX_SHARDS:
        message = f"The file says it is one of {count}, and is kept as one of {piece.count}."
        refuse(Flaw.SPLIT_NUMBER, message, "split.count")
    if number != piece.number - 1:
        refuse(Flaw.SPLIT_NUMBER, f"The file says it is number {number + 1}, not {piece.number}.", "split.no")
    total = _split(header, "split.tensors.count")
    if not max(1, len(header.tensors)) <= total <= MAX_TENSORS:
        message = f"The set is said to have {total} tensors; this file alone has {len(header.tensors)}."
        refuse(Flaw.SPLIT_TENSORS, message, "split.tensors.count")


def _split(header: Header, name: str) -> int:
    """One of the keys that number the files. Tools disagree on its width."""
    found = header.keys.get(name)
    scalar = None if found is None or isinstance(found, Array) else found.scalar
    if type(scalar) is not int:
        refuse(Flaw.SPLIT_KEYS, f"The key {name!r} must be a whole number in each file of a set.", name)
    return scalar


def _check_tensors(header: Header, shards: Sequence[Header], facts: ModelFacts) -> None:
    total, there = _split(header, "split.tensors.count"), sum(len(each.tensors) for each in shards)
    if total != there:
        message = f"The set is said to have {total} tensors, but has {there}."
        refuse(Flaw.SPLIT_TENSORS, message, "split.tensors.count")
    if "general.architecture" in header.keys and Keys(header).architecture != facts.architecture:
        message = f"The architecture is {Keys(header).architecture!r}, that of the first file {facts.architecture!r}."
        refuse(Flaw.SPLIT_KEYS, message, "general.architecture")
    for tensor in header.tensors:
        check_embeddings(tensor.name, tensor.dimensions, facts.shape)


def _check_names(shards: Sequence[Header]) -> None:
    home: dict[str, int] = {}
    for number, header in enumerate(shards, start=1):
        for tensor in header.tensors:
            if home.setdefault(tensor.name, number) != number:
                message = (
                    f"File {number} of {len(shards)}: the tensor {tensor.name!r} is in file {home[tensor.name]} too."
                )
                refuse(Flaw.TENSOR_NAME_DUPLICATE, message, tensor.name, tensor.place)


def _check_projector(header: Header) -> None:
    keys = Keys(header)
    kind = keys.text("general.type")
    if keys.architecture != "clip" or kind not in _PROJECTOR_KINDS:
        message = f"This is a {kind or keys.architecture!r} file, not a projector."
        refuse(Flaw.PROJECTOR, message, "general.type" if keys.architecture == "clip" else "general.architecture")
    for name in ("clip.projector_type", "clip.vision.projector_type", "clip.audio.projector_type", "general.name"):
        keys.text(name)
    for name in _PROJECTOR_BOOLEANS:
        keys.boolean(f"clip.{name}")
    for sense in _SENSES:
        _check_sense(keys, f"clip.{sense}.")
    for name, found in header.keys.items():
        if name.startswith("clip.") and isinstance(found, Array):
            _check_items(name, found)


def _check_sense(keys: Keys, prefix: str) -> None:
    numbers = {name: keys.number(prefix + name, *limits) for name, limits in _PROJECTOR_NUMBERS.items()}
    keys.float_(prefix + "attention.layer_norm_epsilon")
    heads, width = numbers["attention.head_count"], numbers["embedding_length"]
    if numbers["block_count"] and (not heads or not width or width % heads):
        name = prefix + "attention.head_count"
        refuse(Flaw.HEADS, f"{heads or 0} heads cannot share a width of {width or 0} evenly.", name)
    if numbers["patch_size"] and 0 < (numbers["image_size"] or 0) < numbers["patch_size"]:
        refuse(Flaw.KEY_RANGE, "An image is smaller than a patch of it.", prefix + "image_size")


def _check_items(name: str, found: Array) -> None:
    colour = name.endswith(tuple(f".{each}" for each in _COLOURS))
    if colour and (found.type_number != FLOAT32 or found.count != len("rgb")):
        refuse(Flaw.SCHEMA, f"The key {name!r} must be three 32-bit floats.", name)
    if found.type_number not in _PLAIN_ITEMS:
        refuse(Flaw.SCHEMA, f"The key {name!r} must be an array of 32-bit numbers.", name)
    if found.count > MAX_LAYERS:
        refuse(Flaw.KEY_RANGE, f"The key {name!r} has {found.count} items; up to {MAX_LAYERS} make sense.", name)
