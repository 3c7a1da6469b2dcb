"""What a well-formed header says about its model, after checking every key whose meaning is known.

Native readers cast such keys without looking (an array where a number was expected, a token id beyond the vocabulary,
more layers than there are tensors), so types and ranges are checked here first. Unknown keys are left alone.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import msgspec

from intramural.library.finding import Finding
from intramural.library.gguf import (
    BOOL,
    FIXED_BYTES,
    FLOAT32,
    INT32,
    STRING,
    UINT32,
    Array,
    Flaw,
    Header,
    Malformed,
    Tensor,
    Value,
    refuse,
)
from intramural.library.shape import Positive, Shape, completed, weighing

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
_TEMPLATE = "tokenizer.chat_template"
_POOLING = {0: None, 1: "mean", 2: "cls", 3: "last", 4: "rank"}
_STRINGS = (
    "general.name",
    "general.architecture",
    "general.type",
    "general.license",
    "general.basename",
    "general.size_label",
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
    findings: tuple[Finding, ...] = ()


def facts_of(header: Header, *, whole: bool = True) -> ModelFacts:
    """Check the known keys and gather them. Raises Malformed with a `Flaw` as its code.

    `whole` is False for the first file of a set, which has the set's keys but not all its tensors.
    """
    with placing(header):
        return _facts_of(header, whole)


@contextmanager
def placing(header: Header) -> Iterator[None]:
    """Refusals inside that name a key or a tensor say at which byte of the file it is listed.

    For a key that is not there it is the byte where the keys begin.
    """
    try:
        yield
    except Malformed as found:
        if found.offset is None and found.field is not None:
            tensors = (tensor.place for tensor in header.tensors if tensor.name == found.field)
            found.offset = header.places.get(found.field, next(tensors, FIXED_BYTES))
        raise


def _facts_of(header: Header, whole: bool) -> ModelFacts:
    keys = Keys(header)
    for name in _STRINGS:
        keys.text(name)
    keys.number("general.quantization_version", 0, 2**32 - 1)
    _check_kind(keys, whole)
    architecture = keys.architecture
    for name, (least, most) in _ARCHITECTURE_NUMBERS.items():
        keys.number(f"{architecture}.{name}", least, most)
    for name in _ARCHITECTURE_FLOATS:
        keys.float_(f"{architecture}.{name}")
    keys.short_arrays(f"{architecture}.")
    _check_experts(keys)
    layers = keys.required(f"{architecture}.block_count", 1, MAX_LAYERS)
    if whole:
        check_layers(header, header.tensors, layers)
    vocabulary_size = _check_vocabulary(keys)
    shape = completed(_shape(keys, layers, vocabulary_size), header)
    shape = weighing(shape, architecture, header.tensors)
    pooling = _POOLING[keys.number(f"{architecture}.pooling_type", 0, 4) or 0]
    if pooling not in (None, "last"):
        shape = msgspec.structs.replace(shape, whole="engine")
    for tensor in header.tensors:
        check_embeddings(tensor.name, tensor.dimensions, shape)
    return ModelFacts(
        architecture=architecture,
        parameters=max(1, sum(tensor.weights for tensor in header.tensors)),
        quantisation=declared_quantisation(header)
        or prevailing_type((tensor.type_name, tensor.size_bytes) for tensor in header.tensors),
        trained_context_tokens=keys.required(f"{architecture}.context_length", 1, MAX_CONTEXT),
        shape=shape,
        template=keys.text("tokenizer.chat_template"),
        pooling=pooling,
        claimed_licence=keys.text("general.license"),
        header_bytes=header.header_bytes,
    )


class Keys:
    """Typed look-ups; a wrong type is `SCHEMA`, a wrong number `KEY_RANGE`, None means the key is not there."""

    def __init__(self, header: Header) -> None:
        self._keys = header.keys
        self.architecture = self.text("general.architecture") or ""
        if "general.architecture" not in self._keys:
            refuse(Flaw.MISSING_KEY, "The key 'general.architecture' is missing.", "general.architecture")
        if not _ARCHITECTURE.fullmatch(self.architecture):
            message = f"{self.architecture[:40]!r} is not the name of an architecture."
            refuse(Flaw.KEY_RANGE, message, "general.architecture")

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
            refuse(Flaw.SCHEMA, f"The key {name!r} must be a whole number.", name)
        return found.scalar

    def required(self, name: str, least: int, most: int) -> int:
        found = self.number(name, least, most)
        if found is None:
            refuse(Flaw.MISSING_KEY, f"The key {name!r} is missing.", name)
        return found

    def array(self, name: str, type_number: int, what: str) -> Array | None:
        found = self._keys.get(name)
        if found is None:
            return None
        if not isinstance(found, Array) or found.type_number != type_number:
            refuse(Flaw.SCHEMA, f"The key {name!r} must be an array of {what}.", name)
        return found

    def short_arrays(self, prefix: str) -> None:
        """Arrays of numbers under `prefix` have at most one number a layer: native readers keep no more."""
        for name, found in self._keys.items():
            if name.startswith(prefix) and isinstance(found, Array) and found.type_number != STRING:
                _within(name, found.count, 0, MAX_LAYERS)

    def bytes_(self, name: str) -> bytes:
        """An array of 8-bit numbers; empty when there is none."""
        found = self._keys.get(name)
        if found is None:
            return b""
        if not isinstance(found, Array) or found.type_number not in (0, 1):
            refuse(Flaw.SCHEMA, f"The key {name!r} must be an array of bytes.", name)
        return found.numbers

    def per_layer(self, name: str, layers: int, least: int, most: int) -> tuple[int, ...] | None:
        found = self._keys.get(name)
        if not isinstance(found, Array):
            single = self.number(name, least, most)
            return None if single is None else (single,) * layers
        if found.type_number not in (UINT32, INT32):
            refuse(Flaw.SCHEMA, f"The key {name!r} must be an array of 32-bit whole numbers.", name)
        if found.count != layers:
            refuse(Flaw.LAYERS, f"The key {name!r} has {found.count} items for {layers} layers.", name)
        return tuple(_within(name, int(value), least, most) for value in found.values())

    def _scalar(self, name: str, type_number: int, what: str) -> bool | int | float | str | None:
        found = self._keys.get(name)
        if found is None:
            return None
        if not isinstance(found, Value) or found.type_number != type_number:
            refuse(Flaw.SCHEMA, f"The key {name!r} must be {what}.", name)
        return found.scalar


def _within(name: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        refuse(Flaw.KEY_RANGE, f"The key {name!r} is {value}; {least} to {most} makes sense.", name)
    return value


def _check_kind(keys: Keys, whole: bool) -> None:
    kind = keys.text("general.type")
    if kind not in _MODEL_TYPES or keys.architecture in _PARTS_OF_MODELS:
        message = f"This is a {kind or keys.architecture!r} file, not a whole model."
        refuse(Flaw.NOT_A_MODEL, message, "general.type" if kind else "general.architecture")
    if whole and (keys.whole("split.count") or 0) > 1:
        refuse(Flaw.SPLIT, "This is one piece of a model that was split into several files.", "split.count")


def _check_experts(keys: Keys) -> None:
    """Of no experts none is used, of some at least one: native readers divide by these."""
    experts = keys.number(f"{keys.architecture}.expert_count", *_ARCHITECTURE_NUMBERS["expert_count"]) or 0
    name = f"{keys.architecture}.expert_used_count"
    used = keys.number(name, *_ARCHITECTURE_NUMBERS["expert_used_count"]) or 0
    if not bool(experts) <= used <= experts:
        refuse(Flaw.EXPERTS, f"{used} of {experts} experts are said to be used for each token.", name)


def check_layers(header: Header, tensors: Iterable[Tensor], layers: int) -> None:
    """The layers that have `tensors` (of all files) are exactly those that the keys of `header` announce."""
    keys = Keys(header)
    field, decoder = f"{keys.architecture}.block_count", f"{keys.architecture}.decoder_block_count"
    decoder_layers = keys.number(decoder, *_ARCHITECTURE_NUMBERS["decoder_block_count"])
    seen: dict[str, set[int]] = {}
    for tensor in tensors:
        if match := _LAYER.match(tensor.name):
            seen.setdefault(match["stack"], set()).add(int(match["number"]))
    if not seen:
        refuse(Flaw.LAYERS, "There are no tensors of any layer.", field)
    for stack, numbers in seen.items():
        announced = layers if stack != "dec.blk" else decoder_layers or layers
        if numbers != set(range(announced)):
            found = f"{len(numbers)} ({min(numbers)} to {max(numbers)})"
            message = f"{announced} layers are announced, but there are tensors of {found}."
            refuse(Flaw.LAYERS, message, decoder if stack == "dec.blk" and decoder in keys.names() else field)


def _check_vocabulary(keys: Keys) -> int:
    tokens = keys.array("tokenizer.ggml.tokens", STRING, "texts")
    if tokens is None or keys.text("tokenizer.ggml.model") is None:
        message = "The file has no tokenizer (tokenizer.ggml.model and .tokens)."
        refuse(Flaw.MISSING_KEY, message, "tokenizer.ggml.model" if tokens else "tokenizer.ggml.tokens")
    _within("tokenizer.ggml.tokens", tokens.count, 1, MAX_VOCABULARY)
    scores = keys.array("tokenizer.ggml.scores", FLOAT32, "32-bit floats")
    kinds = keys.array("tokenizer.ggml.token_type", INT32, "32-bit numbers")
    keys.array("tokenizer.ggml.merges", STRING, "texts")
    for name, array in (("scores", scores), ("token_type", kinds)):
        if array is not None and array.count != tokens.count:
            message = f"There are {tokens.count} tokens but {array.count} {name}."
            refuse(Flaw.VOCABULARY_LENGTH, message, f"tokenizer.ggml.{name}")
    if kinds is not None:
        _check_token_kinds(kinds, tokens)
    for name in keys.names():
        if name.startswith(("tokenizer.ggml.", f"{keys.architecture}.")) and name.endswith("_token_id"):
            found = keys.number(name, 0, 2**32 - 1)
            if found is not None and found >= tokens.count:
                refuse(Flaw.TOKEN_ID, f"The key {name!r} is {found}, beyond the {tokens.count} tokens.", name)
    _check_character_map(keys)
    for name in _TOKENIZER_BOOLEANS:
        keys.boolean(f"tokenizer.ggml.{name}")
    return tokens.count


def _check_character_map(keys: Keys) -> None:
    """The normaliser's table is an opaque piece of memory to native readers: its first part must lie inside it."""
    name = "tokenizer.ggml.precompiled_charsmap"
    table = keys.bytes_(name)
    if table and (len(table) < 4 or int.from_bytes(table[:4], "little") + 4 > len(table)):
        refuse(Flaw.CHARACTER_MAP, "The table of characters says that it is longer than it is.", name)


def _check_token_kinds(kinds: Array, tokens: Array) -> None:
    for index, kind in enumerate(kinds.values()):
        if kind not in _TOKEN_KINDS:
            refuse(Flaw.KEY_RANGE, f"Token {index} has the unknown kind {kind}.", "tokenizer.ggml.token_type")
        if kind == _BYTE_TOKEN_KIND and not tokens.byte_tokens[index]:
            message = f"Token {index} is marked as a byte but is not written as <0xHH>."
            refuse(Flaw.BYTE_TOKEN, message, "tokenizer.ggml.tokens")


def _shape(keys: Keys, layers: int, vocabulary_size: int) -> Shape:
    def per_layer(name: str) -> tuple[int, ...] | None:
        return keys.per_layer(f"{keys.architecture}.{name}", layers, *_PER_LAYER_NUMBERS[name])

    embedding_length = keys.required(f"{keys.architecture}.embedding_length", 1, MAX_WIDTH)
    heads = per_layer("attention.head_count") or ()
    recurrent = any(
        name.startswith((f"{keys.architecture}.ssm.", f"{keys.architecture}.wkv.")) for name in keys.names()
    )
    if not any(heads) and not recurrent:
        name = f"{keys.architecture}.attention.head_count"
        refuse(Flaw.MISSING_KEY, f"The key {name!r} is missing or 0.", name)
    kv_heads = per_layer("attention.head_count_kv") or heads or (0,) * layers
    _check_heads(keys, heads, kv_heads)
    most_heads = max(heads, default=0)
    head_length = embedding_length // most_heads if most_heads else 0
    key_length = keys.number(f"{keys.architecture}.attention.key_length", 1, MAX_WIDTH)
    value_length = keys.number(f"{keys.architecture}.attention.value_length", 1, MAX_WIDTH)
    return Shape(
        layers=layers,
        heads=most_heads,
        kv_heads=kv_heads,
        key_length=key_length or head_length,
        value_length=value_length or head_length,
        embedding_length=embedding_length,
        feed_forward_length=max(per_layer("feed_forward_length") or (0,)),
        vocabulary_size=vocabulary_size,
        sliding_window_tokens=keys.number(f"{keys.architecture}.attention.sliding_window", 0, MAX_CONTEXT) or None,
    )


def _check_heads(keys: Keys, heads: tuple[int, ...], kv_heads: tuple[int, ...]) -> None:
    """In each layer as many heads share each pair of keys and values: native readers divide one by the other."""
    for layer, (query, pair) in enumerate(zip(heads, kv_heads, strict=False)):
        if pair and query % pair:
            name = f"{keys.architecture}.attention.head_count_kv"
            refuse(Flaw.HEADS, f"Layer {layer} has {query} heads, which cannot share {pair} evenly.", name)


def check_embeddings(name: str, dimensions: tuple[int, ...], shape: Shape) -> None:
    """The token embeddings are as many and as long as the keys say."""
    expected = (shape.embedding_length, shape.vocabulary_size)
    if name == "token_embd.weight" and dimensions != expected:
        refuse(Flaw.VOCABULARY_TENSOR, f"The token embeddings are {dimensions} instead of {expected}.", name)


def declared_quantisation(header: Header) -> str | None:
    """What the file calls its own quantisation."""
    return (
        _FILE_TYPES.get(Keys(header).number("general.file_type", 0, 2**32 - 1) or 0)
        if ("general.file_type" in header.keys)
        else None
    )


def prevailing_type(sizes: Iterable[tuple[str, int]]) -> str:
    """The type that most bytes of the tensors are of."""
    size_by_type: Counter[str] = Counter()
    for type_name, size_bytes in sizes:
        size_by_type[type_name] += size_bytes
    return max(size_by_type, key=size_by_type.__getitem__, default="none")


def templates_of(header: Header) -> Mapping[str, str]:
    """Every chat template in the file: the one that is used, and those that some engines choose by name."""
    return {
        name: value.scalar
        for name, value in header.keys.items()
        if name.startswith(_TEMPLATE) and isinstance(value, Value) and isinstance(value.scalar, str)
    }
