"""Adapters: small files of low-rank changes (LoRA) to a model's matrices, as llama.cpp's converter writes them.

For each matrix that it changes an adapter has two thin ones, `<matrix>.lora_a` and `<matrix>.lora_b`, whose product is
added to it. Native readers multiply by what these say of their size, so both are held against each other here, and
against the model before the two are loaded together.
"""

import re

from intramural.library.facts import MAX_LAYERS, Keys, ModelFacts, declared_quantisation, placing, prevailing_type
from intramural.library.gguf import Flaw, Header, Tensor, Value, refuse
from intramural.library.shape import Shape

#: What a manifest has for `pooling` where the file is an adapter.
ADAPTER = "adapter"
MAX_RANK = 1024
_TENSOR = re.compile(r"(?P<matrix>(blk\.(?P<layer>\d{1,3})\.)?[a-z0-9_.]+\.weight)\.lora_(?P<half>[ab])")
_TYPES = frozenset({"F32", "F16", "BF16", "Q8_0"})
#: Matrices that read the model's own width.
_READS_WIDTH = ("attn_q.weight", "attn_k.weight", "attn_v.weight", "ffn_gate.weight", "ffn_up.weight")


def is_adapter(header: Header) -> bool:
    """Whether the file says that it is one."""
    kind, form = (header.keys.get(name) for name in ("general.type", "adapter.type"))
    return isinstance(kind, Value) and kind.scalar == "adapter" and isinstance(form, Value) and form.scalar == "lora"


def adapter_facts(header: Header) -> ModelFacts:
    """What it is made for: the architecture, as many layers as it reaches, the width. Raises Malformed."""
    with placing(header):
        return _facts(header)


def _facts(header: Header) -> ModelFacts:
    keys = Keys(header)
    keys.text("general.name")
    keys.float_("adapter.lora.alpha")
    halves: dict[str, dict[str, Tensor]] = {}
    layers = 1
    for tensor in header.tensors:
        found = _TENSOR.fullmatch(tensor.name)
        if found is None or len(tensor.dimensions) != 2 or tensor.type_name not in _TYPES:
            refuse(Flaw.NOT_A_MODEL, f"{tensor.name!r} is no half of a low-rank change.", tensor.name, tensor.place)
        halves.setdefault(found["matrix"], {})[found["half"]] = tensor
        layers = max(layers, int(found["layer"] or 0) + 1)
    if not halves or layers > MAX_LAYERS:
        refuse(Flaw.NOT_A_MODEL, "The adapter changes no matrix, or layers that no model has.", "general.type")
    width = 1
    for matrix, pair in halves.items():
        _check_pair(matrix, pair)
        if matrix.endswith(_READS_WIDTH):
            width = max(width, pair["a"].dimensions[0])
    weighed = ((tensor.type_name, tensor.size_bytes) for tensor in header.tensors)
    return ModelFacts(
        architecture=keys.architecture,
        parameters=max(1, sum(tensor.weights for tensor in header.tensors)),
        quantisation=declared_quantisation(header) or prevailing_type(weighed),
        trained_context_tokens=1,
        shape=Shape(layers, 0, (0,) * layers, 0, 0, width, 0, 1),
        template=None,
        pooling=ADAPTER,
        claimed_licence=keys.text("general.license"),
        header_bytes=header.header_bytes,
    )


def _check_pair(matrix: str, pair: dict[str, Tensor]) -> None:
    if pair.keys() != {"a", "b"}:
        only = next(iter(pair.values()))
        refuse(Flaw.NOT_A_MODEL, f"Of the change to {matrix!r} one half is missing.", only.name, only.place)
    rank, other = pair["a"].dimensions[1], pair["b"].dimensions[0]
    if rank != other or not 1 <= rank <= MAX_RANK:
        message = f"The halves of the change to {matrix!r} do not fit: {rank} and {other}."
        refuse(Flaw.TENSOR_DIMENSIONS, message, pair["b"].name, pair["b"].place)
