"""What a well-formed header says about its model, after checking every key whose meaning is known.

Native readers cast such keys without looking (an array where a number was expected, a token id beyond the vocabulary,
more layers than there are tensors), so types and ranges are checked here first. Unknown keys are left alone.
"""

import re
from collections import Counter

import msgspec

from intramural.library.gguf import BOOL, FLOAT32, INT32, STRING, UINT32, Array, Flaw, Header, Value, refuse
from intramural.library.shape import Positive, Shape, completed

MAX_LAYERS = 512
MAX_HEADS = 4096
MAX_WIDTH = 1 << 20
MAX_CONTEXT = 1 << 28
MAX_VOCABULARY = 1 << 21
_BYTE_TOKEN_KIND = 6
_TOKEN_KINDS = range(8)
_ARCHITECTURE = re.compile("[a-z0-9][a-z0-9_-]{0,31}")
_LAYER = re.compile(r"(?P<stack>(?:enc\.|dec\.)?blk)\.(?P<number>\d{1,9})\.")
_MODEL_TYPES = (None, "model")
#: Architectures that are a part of a model or an addition to one, never a model to serve.
_PARTS_OF_MODELS = frozenset({"clip", "mmproj", "control_vector"})

#: `general.file_type` as the ggml project numbers it; a name says more than the most frequent tensor type does.
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4", 39: "NVFP4", 40: "Q1_0",
}  # fmt: skip

#: Keys after `<architecture>.` that native readers take as unsigned 32-bit numbers: (least, most).
_ARCHITECTURE_NUMBERS = {
    "context_length": (1, MAX_CONTEXT),
    "embedding_length": (1, MAX_WIDTH),
    "embedding_length_out": (1, MAX_WIDTH),
    "block_count": (1, MAX_LAYERS),
    "decoder_block_count": (0, MAX_LAYERS),
    "leading_dense_block_count": (0, MAX_LAYERS),
    "nextn_predict_layers": (0, MAX_LAYERS),
    "vocab_size": (1, MAX_VOCABULARY),
    "expert_count": (0, 4096),
    "expert_used_count": (0, 4096),
    "expert_feed_forward_length": (0, MAX_WIDTH),
    "attention.key_length": (1, MAX_WIDTH),
    "attention.value_length": (1, MAX_WIDTH),
    "attention.key_length_mla": (1, MAX_WIDTH),
    "attention.value_length_mla": (1, MAX_WIDTH),
    "attention.sliding_window": (0, MAX_CONTEXT),
    "rope.dimension_count": (0, MAX_WIDTH),
    "pooling_type": (0, 4),
    "ssm.conv_kernel": (0, MAX_WIDTH),
    "ssm.inner_size": (0, MAX_WIDTH),
    "ssm.state_size": (0, MAX_WIDTH),
    "ssm.time_step_rank": (0, MAX_WIDTH),
}
#: Likewise, but these may also be arrays with one number a layer.
_PER_LAYER_NUMBERS = {
    "feed_forward_length": (0, MAX_WIDTH),
    "attention.head_count": (0, MAX_HEADS),
    "attention.head_count_kv": (0, MAX_HEADS),
}
_ARCHITECTURE_FLOATS = (
    "rope.freq_base",
    "rope.scaling.factor",
    "attention.layer_norm_rms_epsilon",
    "attention.layer_norm_epsilon",
    "attention.clamp_kqv",
    "attention.max_alibi_bias",
    "logit_scale",
)
_POOLING = {0: None, 1: "mean", 2: "cls", 3: "last", 4: "rank"}
_STRINGS = (
    "general.name",
    "general.architecture",
    "general.type",
    "general.license",
    "tokenizer.ggml.model",
    "tokenizer.ggml.pre",
    "tokenizer.chat_template",
)
_TOKENIZER_BOOLEANS = (
    "add_bos_token",
    "add_eos_token",
    "add_sep_token",
    "add_space_prefix",
    "remove_extra_whitespaces",
)


class ModelFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What inspection found. `template` is the file's own chat template; `pooling` is set for embedding models.

    `claimed_licence` is what the file says of itself, to be shown next to what its source says.
    """

    architecture: str
    parameters: Positive
    quantisation: str
    trained_context_tokens: Positive
    shape: Shape
    template: str | None
    pooling: str | None
    claimed_licence: str | None
    header_bytes: int


def facts_of(header: Header) -> ModelFacts:
    """Check the known keys and gather them. Raises Untrusted with a `Flaw` as its code."""
    keys = _Keys(header)
    for name in _STRINGS:
        keys.text(name)
    _check_kind(keys)
    architecture = keys.architecture
    for name, (least, most) in _ARCHITECTURE_NUMBERS.items():
        keys.number(f"{architecture}.{name}", least, most)
    for name in _ARCHITECTURE_FLOATS:
        keys.float_(f"{architecture}.{name}")
    layers = keys.required(f"{architecture}.block_count", 1, MAX_LAYERS)
    _check_layers(header, layers, keys.number(f"{architecture}.decoder_block_count", 0, MAX_LAYERS))
    vocabulary_size = _check_vocabulary(keys)
    shape = completed(_shape(keys, layers, vocabulary_size), header)
    _check_embedding_tensor(header, shape)
    return ModelFacts(
        architecture=architecture,
        parameters=sum(tensor.weights for tensor in header.tensors),
        quantisation=_quantisation(keys, header),
        trained_context_tokens=keys.required(f"{architecture}.context_length", 1, MAX_CONTEXT),
        shape=shape,
        template=keys.text("tokenizer.chat_template"),
        pooling=_POOLING[keys.number(f"{architecture}.pooling_type", 0, 4) or 0],
        claimed_licence=keys.text("general.license"),
        header_bytes=header.header_bytes,
    )


class _Keys:
    """Typed look-ups; a wrong type is `SCHEMA`, a wrong number `KEY_RANGE`, None means the key is not there."""

    def __init__(self, header: Header) -> None:
        self._keys = header.keys
        self.architecture = self.text("general.architecture") or ""
        if "general.architecture" not in self._keys:
            refuse(Flaw.MISSING_KEY, "The key 'general.architecture' is missing.")
        if not _ARCHITECTURE.fullmatch(self.architecture):
            refuse(Flaw.KEY_RANGE, f"{self.architecture[:40]!r} is not the name of an architecture.")

    def names(self) -> tuple[str, ...]:
        return tuple(self._keys)

    def text(self, name: str) -> str | None:
        found = self._scalar(name, STRING, "text")
        return found if isinstance(found, str) else None

    def boolean(self, name: str) -> None:
        self._scalar(name, BOOL, "true or false")

    def float_(self, name: str) -> None:
        self._scalar(name, FLOAT32, "a 32-bit float")

    def number(self, name: str, least: int, most: int) -> int | None:
        found = self._scalar(name, UINT32, "an unsigned 32-bit number")
        if not isinstance(found, int):
            return None
        return _within(name, found, least, most)

    def whole(self, name: str) -> int | None:
        """A whole number of any width: tools disagree on this key's type."""
        found = self._keys.get(name)
        if found is None:
            return None
        if not isinstance(found, Value) or type(found.scalar) is not int:
            refuse(Flaw.SCHEMA, f"The key {name!r} must be a whole number.")
        return found.scalar

    def required(self, name: str, least: int, most: int) -> int:
        found = self.number(name, least, most)
        if found is None:
            refuse(Flaw.MISSING_KEY, f"The key {name!r} is missing.")
        return found

    def array(self, name: str, type_number: int, what: str) -> Array | None:
        found = self._keys.get(name)
        if found is None:
            return None
        if not isinstance(found, Array) or found.type_number != type_number:
            refuse(Flaw.SCHEMA, f"The key {name!r} must be an array of {what}.")
        return found

    def per_layer(self, name: str, layers: int, least: int, most: int) -> tuple[int, ...] | None:
        found = self._keys.get(name)
        if not isinstance(found, Array):
            single = self.number(name, least, most)
            return None if single is None else (single,) * layers
        if found.type_number not in (UINT32, INT32):
            refuse(Flaw.SCHEMA, f"The key {name!r} must be an array of 32-bit whole numbers.")
        if found.count != layers:
            refuse(Flaw.LAYERS, f"The key {name!r} has {found.count} items for {layers} layers.")
        return tuple(_within(name, int(value), least, most) for value in found.values())

    def _scalar(self, name: str, type_number: int, what: str) -> bool | int | float | str | None:
        found = self._keys.get(name)
        if found is None:
            return None
        if not isinstance(found, Value) or found.type_number != type_number:
            refuse(Flaw.SCHEMA, f"The key {name!r} must be {what}.")
        return found.scalar


def _within(name: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        refuse(Flaw.KEY_RANGE, f"The key {name!r} is {value}; {least} to {most} makes sense.")
    return value


def _check_kind(keys: _Keys) -> None:
    kind = keys.text("general.type")
    if kind not in _MODEL_TYPES or keys.architecture in _PARTS_OF_MODELS:
        refuse(Flaw.NOT_A_MODEL, f"This is a {kind or keys.architecture!r} file, not a whole model.")
    if (keys.whole("split.count") or 0) > 1:
        refuse(Flaw.SPLIT, "This is one piece of a model that was split into several files.")


def _check_layers(header: Header, layers: int, decoder_layers: int | None) -> None:
    """The layers that have tensors are exactly those that `block_count` announces."""
    seen: dict[str, set[int]] = {}
    for tensor in header.tensors:
        if match := _LAYER.match(tensor.name):
            seen.setdefault(match["stack"], set()).add(int(match["number"]))
    if not seen:
        refuse(Flaw.LAYERS, "The file has no tensors of any layer.")
    for stack, numbers in seen.items():
        announced = layers if stack != "dec.blk" else decoder_layers or layers
        if numbers != set(range(announced)):
            found = f"{len(numbers)} ({min(numbers)} to {max(numbers)})"
            refuse(Flaw.LAYERS, f"The file announces {announced} layers but has tensors of {found}.")


def _check_vocabulary(keys: _Keys) -> int:
    tokens = keys.array("tokenizer.ggml.tokens", STRING, "texts")
    if tokens is None or keys.text("tokenizer.ggml.model") is None:
        refuse(Flaw.MISSING_KEY, "The file has no tokenizer (tokenizer.ggml.model and .tokens).")
    _within("tokenizer.ggml.tokens", tokens.count, 1, MAX_VOCABULARY)
    scores = keys.array("tokenizer.ggml.scores", FLOAT32, "32-bit floats")
    kinds = keys.array("tokenizer.ggml.token_type", INT32, "32-bit numbers")
    keys.array("tokenizer.ggml.merges", STRING, "texts")
    for name, array in (("scores", scores), ("token_type", kinds)):
        if array is not None and array.count != tokens.count:
            refuse(Flaw.VOCABULARY_LENGTH, f"There are {tokens.count} tokens but {array.count} {name}.")
    if kinds is not None:
        _check_token_kinds(kinds, tokens)
    for name in keys.names():
        if name.startswith("tokenizer.ggml.") and name.endswith("_token_id"):
            found = keys.number(name, 0, 2**32 - 1)
            if found is not None and found >= tokens.count:
                refuse(Flaw.TOKEN_ID, f"The key {name!r} is {found}, beyond the {tokens.count} tokens.")
    for name in _TOKENIZER_BOOLEANS:
        keys.boolean(f"tokenizer.ggml.{name}")
    return tokens.count


def _check_token_kinds(kinds: Array, tokens: Array) -> None:
    for index, kind in enumerate(kinds.values()):
        if kind not in _TOKEN_KINDS:
            refuse(Flaw.KEY_RANGE, f"Token {index} has the unknown kind {kind}.")
        if kind == _BYTE_TOKEN_KIND and not tokens.byte_tokens[index]:
            refuse(Flaw.BYTE_TOKEN, f"Token {index} is marked as a byte but is not written as <0xHH>.")


def _shape(keys: _Keys, layers: int, vocabulary_size: int) -> Shape:
    def per_layer(name: str) -> tuple[int, ...] | None:
        return keys.per_layer(f"{keys.architecture}.{name}", layers, *_PER_LAYER_NUMBERS[name])

    embedding_length = keys.required(f"{keys.architecture}.embedding_length", 1, MAX_WIDTH)
    heads = per_layer("attention.head_count") or ()
    recurrent = any(
        name.startswith((f"{keys.architecture}.ssm.", f"{keys.architecture}.wkv.")) for name in keys.names()
    )
    if not any(heads) and not recurrent:
        refuse(Flaw.MISSING_KEY, f"The key '{keys.architecture}.attention.head_count' is missing or 0.")
    most_heads = max(heads, default=0)
    head_length = embedding_length // most_heads if most_heads else 0
    key_length = keys.number(f"{keys.architecture}.attention.key_length", 1, MAX_WIDTH)
    value_length = keys.number(f"{keys.architecture}.attention.value_length", 1, MAX_WIDTH)
    return Shape(
        layers=layers,
        heads=most_heads,
        kv_heads=per_layer("attention.head_count_kv") or heads or (0,) * layers,
        key_length=key_length or head_length,
        value_length=value_length or head_length,
        embedding_length=embedding_length,
        feed_forward_length=max(per_layer("feed_forward_length") or (0,)),
        vocabulary_size=vocabulary_size,
        sliding_window_tokens=keys.number(f"{keys.architecture}.attention.sliding_window", 0, MAX_CONTEXT) or None,
    )


def _check_embedding_tensor(header: Header, shape: Shape) -> None:
    for tensor in header.tensors:
        expected = (shape.embedding_length, shape.vocabulary_size)
        if tensor.name == "token_embd.weight" and tensor.dimensions != expected:
            refuse(Flaw.VOCABULARY_TENSOR, f"The token embeddings are {tensor.dimensions} instead of {expected}.")


def _quantisation(keys: _Keys, header: Header) -> str:
    declared = keys.number("general.file_type", 0, 2**32 - 1)
    if declared in _FILE_TYPES:
        return _FILE_TYPES[declared]
    size_by_type: Counter[str] = Counter()
    for tensor in header.tensors:
        size_by_type[tensor.type_name] += tensor.size_bytes
    return size_by_type.most_common(1)[0][0]
