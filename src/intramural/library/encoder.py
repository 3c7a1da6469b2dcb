"""Models as ONNX files: encoders that make vectors of texts, or rank them, with the tokenizer that goes with them.

What such a model is, is read from its graph: which inputs it takes, whether it gives a vector a token, a vector a text
or one number a pair. What is none of these is refused, for no worker here could use it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from intramural.library.facts import MAX_CONTEXT, MAX_VOCABULARY, MAX_WIDTH, ModelFacts, prevailing_type
from intramural.library.gguf import Malformed, ReadAt
from intramural.library.manifest import Kind, Piece
from intramural.library.onnx import TYPES, Graph, Value, read_graph
from intramural.library.shape import Shape
from intramural.library.snapshot import Config, read_support, require_whole
from intramural.library.strictjson import Read


class EncoderFlaw(StrEnum):
    """Why a model is refused whose files are in order. The values are error codes and never change their meaning."""

    INPUTS = "onnx_inputs"
    OUTPUTS = "onnx_outputs"
    VOCABULARY = "onnx_vocabulary"
    POOLING = "onnx_pooling"


#: What encoders take: token ids, which of them count, which of two texts each belongs to, and where it stands.
INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids", "position_ids"})
_INT64 = next(number for number, (name, _) in TYPES.items() if name == "I64")
_FLOATS = frozenset(number for number, (name, _) in TYPES.items() if name in ("F32", "F16"))
#: Outputs with a vector a text, by the names exporters give them.
_WHOLE_TEXT = ("sentence_embedding", "sentence_embeddings", "text_embeds")
#: Without a config, and without a table of positions: what nearly all encoders were trained with.
_USUAL_CONTEXT = 512
#: In these families positions begin behind the padding token's.
_OFFSET_FAMILIES = frozenset({"roberta", "xlm-roberta", "camembert", "mpnet"})
_OFFSET = 2
_MODES: Mapping[str, str] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
}


def examine_encoder(files: Sequence[tuple[ReadAt, int]], pieces: Sequence[Piece]) -> ModelFacts | None:
    """Read the ONNX file alone (then no facts), or all files of a model. Raises Malformed."""
    if len(files) > 1:
        require_whole(pieces)
    together = list(zip(files, pieces, strict=True))
    graphs = [read_graph(*file) for file, piece in together if piece.kind == "onnx"]
    support: dict[Kind, Read] = {
        piece.kind: read_support(file, piece.kind) for file, piece in together if piece.kind != "onnx"
    }
    found = _Found(graphs[0])
    return None if len(files) == 1 else _facts(found, support)


@dataclass(frozen=True, slots=True)
class Use:
    """How a worker uses a graph: which output it reads, and what it has to do with it."""

    output: str
    pooling: str
    width: int | None


def use_of(inputs: Sequence[Value], outputs: Sequence[Value]) -> Use:
    """What the graph is good for. Raises Malformed(`onnx_inputs`, `onnx_outputs`)."""
    names = {each.name for each in inputs}
    if "input_ids" not in names or not names <= INPUTS:
        other = ", ".join(sorted(names - INPUTS)[:4]) or "no input_ids"
        raise _refused(EncoderFlaw.INPUTS, f"An encoder takes {', '.join(sorted(INPUTS))}; this one: {other}.", "input")
    for each in inputs:
        if each.type_number != _INT64 or each.shape is None or len(each.shape) != len(("texts", "tokens")):
            raise _refused(EncoderFlaw.INPUTS, f"{each.name} is not a table of whole numbers.", each.name)
    shaped = [(each.name, each.shape) for each in outputs if each.type_number in _FLOATS and each.shape is not None]
    whole = [(name, shape) for name, shape in shaped if name in _WHOLE_TEXT and len(shape) == 2]
    tokens = [(name, shape) for name, shape in shaped if len(shape) == 3]
    ranks = [(name, shape) for name, shape in shaped if len(shape) == 2 and shape[1] == 1]
    for found, pooling in ((whole, "given"), (tokens, "mean"), (ranks, "rank")):
        if found:
            return Use(found[0][0], pooling, None if pooling == "rank" else found[0][1][-1])
    message = "It gives neither a vector a token, nor one a text (sentence_embedding), nor one number a pair."
    raise _refused(EncoderFlaw.OUTPUTS, message, "output")


class _Found:
    """A graph with what is derived from it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.use = use_of(graph.inputs, graph.outputs)

    def rows(self, part: str) -> int:
        """Rows of the table of embeddings whose name has `part` in it; 0 if there is none."""
        found = [each.shape[0] for each in self.graph.tensors if part in each.name and len(each.shape) == 2]
        return max(found, default=0)

    def columns(self) -> int:
        tables = [each.shape for each in self.graph.tensors if len(each.shape) == 2]
        return max(tables, default=(1, 1))[1]


def _facts(found: _Found, support: Mapping[Kind, Read]) -> ModelFacts:
    tensors = found.graph.tensors
    config = Config(support["config"]) if "config" in support else None
    vocabulary = config.shape.vocabulary_size if config else found.rows("word_embeddings")
    vocabulary = vocabulary or max((each.shape[0] for each in tensors if len(each.shape) == 2), default=0)
    if not 0 < vocabulary <= MAX_VOCABULARY:
        raise _refused(EncoderFlaw.VOCABULARY, f"A vocabulary of {vocabulary} tokens makes no sense.", "vocab_size")
    width = found.use.width or (config.shape.embedding_length if config else 0) or found.columns()
    if not 0 < width <= MAX_WIDTH:
        raise _refused(EncoderFlaw.OUTPUTS, f"Vectors of {width} numbers make no sense.", "output")
    shape = Shape(
        layers=config.shape.layers if config else 1,
        heads=config.shape.heads if config else 0,
        kv_heads=(0,) * (config.shape.layers if config else 1),
        key_length=0,
        value_length=0,
        embedding_length=width,
        feed_forward_length=config.shape.feed_forward_length if config else 4 * width,
        vocabulary_size=vocabulary,
        whole="onnx",
    )
    return ModelFacts(
        architecture=config.model_type if config else "encoder",
        parameters=max(1, sum(each.weights for each in tensors)),
        quantisation=prevailing_type((each.type_name, each.size_bytes) for each in tensors),
        trained_context_tokens=_context(found, config),
        shape=shape,
        template=None,
        pooling=_pooling(found.use, support.get("pooling")),
        claimed_licence=None,
        header_bytes=0,
    )


def _context(found: _Found, config: Config | None) -> int:
    """Tokens of a text, with the marks around it."""
    positions = min(config.context_tokens if config else found.rows("position_embeddings"), MAX_CONTEXT)
    if config is not None and config.model_type in _OFFSET_FAMILIES and positions % 2**6 == _OFFSET:
        positions -= _OFFSET
    return positions or _USUAL_CONTEXT


def _pooling(use: Use, said: Read | None) -> str:
    """What `1_Pooling/config.json` says, if it is there and the choice is open."""
    if said is None or use.pooling != "mean":
        return use.pooling
    modes = [mode for key, mode in _MODES.items() if said.object.get(key) is True]
    others = [key for key, on in said.object.items() if key.startswith("pooling_mode_") and on is True]
    if len(modes) != 1 or len(others) != 1:
        message = f"Vectors are made in a way that is not offered here: {', '.join(others)[:80] or 'none is named'}."
        raise _refused(EncoderFlaw.POOLING, message, "pooling_mode")
    return modes[0]


def _refused(flaw: EncoderFlaw, message: str, field: str) -> Malformed:
    hint = "Get a model that makes vectors or ranks texts; those that chat are needed as GGUF."
    return Malformed(flaw.value, message, field, None, hint)
