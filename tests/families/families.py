"""What each family's files hold: its keys and its tensors, as the engine's loader asks for them.

Source: the ggml project's tables of keys and tensors (`gguf.constants`) and its loaders, one per architecture.
"""

from dataclasses import dataclass, replace

from tests.families.tiny import Family, Size, Tensors

from intramural.serving.model import Pooling


def _common(made: Tensors, *, kv_heads: object = None, feed_forward: int | None = None, rms: bool = True) -> None:
    size = made.size
    made.key(
        block_count=size.layers,
        context_length=size.context,
        embedding_length=size.width,
        feed_forward_length=size.feed_forward if feed_forward is None else feed_forward,
        attention__head_count=size.heads,
        attention__head_count_kv=size.kv_heads if kv_heads is None else kv_heads,
    )
    if rms:
        made.key(attention__layer_norm_rms_epsilon=1e-5)
    made.matrix("token_embd", size.width, size.vocabulary)
    made.norm("output_norm")


def _heads(made: Tensors) -> None:
    made.key(
        attention__key_length=made.size.head,
        attention__value_length=made.size.head,
        rope__dimension_count=made.size.head,
        rope__freq_base=10000.0,
    )


def _attention(made: Tensors, layer: int, *, query: int | None = None, head: int | None = None, kv: int = 0) -> None:
    size, at = made.size, made.block(layer)
    head, kv = head or size.head, kv or size.kv_heads
    made.matrix(at("attn_q"), size.width, query or size.heads * head)
    made.matrix(at("attn_k"), size.width, kv * head)
    made.matrix(at("attn_v"), size.width, kv * head)
    made.matrix(at("attn_output"), size.heads * head, size.width)


def _dense(made: Tensors, layer: int) -> None:
    size, at = made.size, made.block(layer)
    made.matrix(at("ffn_gate"), size.width, size.feed_forward)
    made.matrix(at("ffn_up"), size.width, size.feed_forward)
    made.matrix(at("ffn_down"), size.feed_forward, size.width)


def _experts(made: Tensors, layer: int, *, shared: int = 0) -> None:
    size, at = made.size, made.block(layer)
    made.plain(at("ffn_gate_inp.weight"), size.width, size.experts)
    made.matrix(at("ffn_gate_exps"), size.width, size.expert_feed_forward, size.experts)
    made.matrix(at("ffn_up_exps"), size.width, size.expert_feed_forward, size.experts)
    made.matrix(at("ffn_down_exps"), size.expert_feed_forward, size.width, size.experts)
    if shared:
        made.matrix(at("ffn_gate_shexp"), size.width, shared)
        made.matrix(at("ffn_up_shexp"), size.width, shared)
        made.matrix(at("ffn_down_shexp"), shared, size.width)


def _expert_keys(made: Tensors) -> None:
    size = made.size
    made.key(expert_count=size.experts, expert_used_count=size.experts_used)
    made.key(expert_feed_forward_length=size.expert_feed_forward)


def llama(made: Tensors) -> None:
    """Llama 2 and 3, Mistral 7B, Codestral, Devstral, Mistral Small: dense, grouped queries."""
    _common(made)
    _heads(made)
    for layer in range(made.size.layers):
        at = made.block(layer)
        made.norm(at("attn_norm"), at("ffn_norm"))
        _attention(made, layer)
        _dense(made, layer)


def mixtral(made: Tensors) -> None:
    """Mixtral: the llama architecture with experts in every layer."""
    size = made.size
    _common(made, feed_forward=size.expert_feed_forward)
    _heads(made)
    made.key(expert_count=size.experts, expert_used_count=size.experts_used)
    for layer in range(size.layers):
        at = made.block(layer)
        made.norm(at("attn_norm"), at("ffn_norm"))
        _attention(made, layer)
        _experts(made, layer)


def llama4(made: Tensors) -> None:
    """Llama 4: chunked attention in three of four layers, experts in every second one, one of them shared."""
    _common(made)
    _heads(made)
    _expert_keys(made)
    made.key(interleave_moe_layer_step=2)
    for layer in range(made.size.layers):
        at = made.block(layer)
        made.norm(at("attn_norm"), at("ffn_norm"))
        _attention(made, layer)
        if layer % 2:
            _experts(made, layer, shared=made.size.expert_feed_forward)
        else:
            _dense(made, layer)


def qwen3(made: Tensors) -> None:
    """Qwen3: queries and keys are normalised."""
    _common(made)
    _heads(made)
    for layer in range(made.size.layers):
        at = made.block(layer)
        made.norm(at("attn_norm"), at("ffn_norm"))
        made.norm(at("attn_q_norm"), at("attn_k_norm"), width=made.size.head)
        _attention(made, layer)
        _dense(made, layer)


def qwen3moe(made: Tensors) -> None:
    """Qwen3 with experts, Qwen3-Coder."""
    _common(made)
    _heads(made)
    _expert_keys(made)
    for layer in range(made.size.layers):
        at = made.block(layer)
        made.norm(at("attn_norm"), at("ffn_norm"))
        made.norm(at("attn_q_norm"), at("attn_k_norm"), width=made.size.head)
        _attention(made, layer)
        _experts(made, layer)


#: Of the linear-attention layers: heads of keys and of values, and the width of each.
_STATE_GROUPS, _STATE_HEADS, _STATE_WIDTH, _CONVOLUTION = 2, 2, 32, 4


def _hybrid(made: Tensors, *, joint: bool) -> None:
    """Three layers with a recurrent state, then one with attention; `joint`: beta and alpha lie in one tensor."""
    size = made.size
    inner = _STATE_HEADS * _STATE_WIDTH
    made.key(
        ssm__conv_kernel=_CONVOLUTION,
        ssm__inner_size=inner,
        ssm__state_size=_STATE_WIDTH,
        ssm__time_step_rank=_STATE_HEADS,
        ssm__group_count=_STATE_GROUPS,
        full_attention_interval=4,
    )
    for layer in range(size.layers):
        at = made.block(layer)
        made.norm(at("attn_norm"), at("post_attention_norm"))
        if layer % 4 == 3:
            made.norm(at("attn_q_norm"), at("attn_k_norm"), width=size.head)
            _attention(made, layer, query=2 * size.heads * size.head)
            continue
        mixed = 2 * _STATE_GROUPS * _STATE_WIDTH + inner
        made.matrix(at("attn_qkv"), size.width, mixed)
        made.matrix(at("attn_gate"), size.width, inner)
        made.plain(at("ssm_conv1d.weight"), _CONVOLUTION, mixed)
        made.plain(at("ssm_dt.bias"), _STATE_HEADS)
        made.plain(at("ssm_a"), _STATE_HEADS)
        if joint:
            made.matrix(at("ssm_ba"), size.width, 2 * _STATE_HEADS)
        else:
            made.matrix(at("ssm_beta"), size.width, _STATE_HEADS)
            made.matrix(at("ssm_alpha"), size.width, _STATE_HEADS)
        made.norm(at("ssm_norm"), width=_STATE_WIDTH)
        made.matrix(at("ssm_out"), inner, size.width)


def _gated_shared(made: Tensors, layer: int) -> None:
    _experts(made, layer, shared=made.size.expert_feed_forward)
    made.plain(f"blk.{layer}.ffn_gate_inp_shexp.weight", made.size.width)


def qwen3next(made: Tensors) -> None:
    """Qwen3-Next, Qwen3-Coder-Next: linear attention in three of four layers, experts, one of them shared."""
    _common(made)
    _heads(made)
    _expert_keys(made)
    made.key(expert_shared_feed_forward_length=made.size.expert_feed_forward)
    _hybrid(made, joint=True)
    for layer in range(made.size.layers):
        _gated_shared(made, layer)


def qwen35(made: Tensors) -> None:
    """Qwen3.5 and after, dense: linear attention in three of four layers."""
    _common(made)
    _heads(made)
    made.key(rope__dimension_sections=[8, 4, 4, 0])
    _hybrid(made, joint=False)
    for layer in range(made.size.layers):
        _dense(made, layer)


def qwen35moe(made: Tensors) -> None:
    """Qwen3.5 and after, with experts."""
    _common(made)
    _heads(made)
    _expert_keys(made)
    made.key(expert_shared_feed_forward_length=made.size.expert_feed_forward, rope__dimension_sections=[8, 4, 4, 0])
    _hybrid(made, joint=False)
    for layer in range(made.size.layers):
        _gated_shared(made, layer)


def gemma3(made: Tensors) -> None:
    """Gemma 3: five layers with a sliding window, then one without; norms before and behind."""
    size = made.size
    _common(made)
    _heads(made)
    made.key(attention__sliding_window=size.window)
    for layer in range(size.layers):
        at = made.block(layer)
        made.norm(at("attn_norm"), at("post_attention_norm"), at("ffn_norm"), at("post_ffw_norm"))
        made.norm(at("attn_q_norm"), at("attn_k_norm"), width=size.head)
        _attention(made, layer)
        _dense(made, layer)


def _gemma4(made: Tensors) -> None:
    size = made.size
    sliding = [layer % 6 != 5 for layer in range(size.layers)]
    _common(made, kv_heads=[size.kv_heads if each else 1 for each in sliding])
    made.key(
        attention__sliding_window=size.window,
        attention__sliding_window_pattern=sliding,
        attention__key_length=2 * size.head,
        attention__value_length=2 * size.head,
        attention__key_length_swa=size.head,
        attention__value_length_swa=size.head,
        attention__shared_kv_layers=0,
        embedding_length_per_layer_input=0,
        rope__dimension_count=2 * size.head,
        rope__dimension_count_swa=size.head,
        rope__freq_base=1000000.0,
        rope__freq_base_swa=10000.0,
        final_logit_softcapping=30.0,
    )
    made.plain("rope_freqs.weight", size.head, fill="ones")
    for layer, slides in enumerate(sliding):
        at, head = made.block(layer), size.head if slides else 2 * size.head
        made.norm(at("attn_norm"), at("post_attention_norm"), at("ffn_norm"), at("post_ffw_norm"))
        made.norm(at("attn_q_norm"), at("attn_k_norm"), width=head)
        made.norm(at("layer_output_scale"), width=1)
        _attention(made, layer, head=head, kv=size.kv_heads if slides else 1)
        _dense(made, layer)


def gemma4(made: Tensors) -> None:
    """Gemma 4 (12B, 31B): heads of full layers are twice as wide as those of layers with a sliding window."""
    _gemma4(made)


def gemma4_moe(made: Tensors) -> None:
    """Gemma 4 26B-A4B: experts beside a dense part in every layer."""
    size = made.size
    _gemma4(made)
    _expert_keys(made)
    for layer in range(size.layers):
        at = made.block(layer)
        _experts(made, layer)
        made.plain(at("ffn_gate_inp.scale"), size.width, fill="ones")
        made.norm(at("pre_ffw_norm_2"), at("post_ffw_norm_1"), at("post_ffw_norm_2"))


#: Of attention over a compressed cache: the ranks, and how the width of a head is made up.
_QUERY_RANK, _CACHE_RANK, _ROPE = 32, 64, 32


def deepseek2(made: Tensors) -> None:
    """DeepSeek V2, V3, R1: the cache holds one compressed vector a token; the first layer is dense."""
    size = made.size
    _common(made, kv_heads=1)
    _expert_keys(made)
    made.key(
        attention__key_length=_CACHE_RANK + _ROPE,
        attention__value_length=_CACHE_RANK,
        attention__key_length_mla=size.head + _ROPE,
        attention__value_length_mla=size.head,
        attention__q_lora_rank=_QUERY_RANK,
        attention__kv_lora_rank=_CACHE_RANK,
        rope__dimension_count=_ROPE,
        leading_dense_block_count=1,
        expert_shared_count=1,
        expert_weights_scale=2.5,
        expert_weights_norm=True,
        expert_gating_func=2,
        vocab_size=size.vocabulary,
    )
    made.matrix("output", size.width, size.vocabulary)
    for layer in range(size.layers):
        at = made.block(layer)
        made.norm(at("attn_norm"), at("ffn_norm"))
        made.norm(at("attn_q_a_norm"), width=_QUERY_RANK)
        made.norm(at("attn_kv_a_norm"), width=_CACHE_RANK)
        made.matrix(at("attn_q_a"), size.width, _QUERY_RANK)
        made.matrix(at("attn_q_b"), _QUERY_RANK, size.heads * (size.head + _ROPE))
        made.matrix(at("attn_kv_a_mqa"), size.width, _CACHE_RANK + _ROPE)
        made.matrix(at("attn_k_b"), size.head, _CACHE_RANK, size.heads)
        made.matrix(at("attn_v_b"), _CACHE_RANK, size.head, size.heads)
        made.matrix(at("attn_output"), size.heads * size.head, size.width)
        if layer:
            _experts(made, layer, shared=size.expert_feed_forward)
            made.plain(at("exp_probs_b.bias"), size.experts)
        else:
            _dense(made, layer)


#: Of DeepSeek V4: copies of the stream, groups and rank of the output, and the indexer, whose keys must not be as wide
#: as those of the attention: with both alike the engine divides by zero when it starts.
_COPIES, _OUT_GROUPS, _OUT_RANK, _INDEX_HEADS, _INDEX_WIDTH = 4, 2, 32, 2, 64


def _compressed(made: Tensors, layer: int, ratio: int, width: int) -> None:
    size, at = made.size, made.block(layer)
    twice = 2 if ratio == 4 else 1
    made.matrix(at("attn_compressor_kv"), size.width, twice * width)
    made.matrix(at("attn_compressor_gate"), size.width, twice * width)
    made.plain(at("attn_compressor_ape.weight"), twice * width, ratio)
    made.norm(at("attn_compressor_norm"), width=width)
    if ratio != 4:
        return
    made.matrix(at("indexer.proj"), size.width, _INDEX_HEADS)
    made.matrix(at("indexer.attn_q_b"), _QUERY_RANK, _INDEX_HEADS * _INDEX_WIDTH)
    made.matrix(at("indexer_compressor_kv"), size.width, 2 * _INDEX_WIDTH)
    made.matrix(at("indexer_compressor_gate"), size.width, 2 * _INDEX_WIDTH)
    made.plain(at("indexer_compressor_ape.weight"), 2 * _INDEX_WIDTH, ratio)
    made.norm(at("indexer_compressor_norm"), width=_INDEX_WIDTH)


def _deepseek4_keys(made: Tensors, ratios: list[int], width: int) -> None:
    size = made.size
    made.key(
        attention__key_length=width,
        attention__value_length=width,
        rope__dimension_count=_ROPE,
        attention__q_lora_rank=_QUERY_RANK,
        attention__sliding_window=size.window,
        attention__indexer__head_count=_INDEX_HEADS,
        attention__indexer__key_length=_INDEX_WIDTH,
        attention__indexer__top_k=8,
        attention__output_group_count=_OUT_GROUPS,
        attention__output_lora_rank=_OUT_RANK,
        attention__compress_rope_freq_base=160000.0,
        attention__compress_ratios=ratios,
        hyper_connection__count=_COPIES,
        hyper_connection__sinkhorn_iterations=4,
        hyper_connection__epsilon=1e-6,
        hash_layer_count=1,
        expert_shared_count=1,
        expert_weights_scale=1.5,
        expert_weights_norm=True,
        expert_gating_func=4,
        swiglu_clamp_exp=[10.0] * size.layers,
        vocab_size=size.vocabulary,
    )


def deepseek4(made: Tensors) -> None:
    """DeepSeek V4: a window, the rest of the context compressed 4 or 128 to 1, several streams, experts."""
    size, width = made.size, 128
    ratios = [(0, 4, 128)[layer % 3] for layer in range(size.layers)]
    _common(made, kv_heads=1)
    _expert_keys(made)
    _deepseek4_keys(made, ratios, width)
    streams, mixing = _COPIES * size.width, (2 + _COPIES) * _COPIES
    made.matrix("output", size.width, size.vocabulary)
    made.plain("output_hc_fn.weight", streams, _COPIES)
    made.plain("output_hc_base.weight", _COPIES)
    made.plain("output_hc_scale.weight", 1)
    for layer, ratio in enumerate(ratios):
        at = made.block(layer)
        made.norm(at("attn_norm"), at("ffn_norm"))
        made.plain(at("attn_sinks.weight"), size.heads)
        made.norm(at("attn_q_a_norm"), width=_QUERY_RANK)
        made.norm(at("attn_kv_a_norm"), width=width)
        made.matrix(at("attn_q_a"), size.width, _QUERY_RANK)
        made.matrix(at("attn_q_b"), _QUERY_RANK, size.heads * width)
        made.matrix(at("attn_kv"), size.width, width)
        made.matrix(at("attn_output_a"), size.heads * width // _OUT_GROUPS, _OUT_RANK * _OUT_GROUPS)
        made.matrix(at("attn_output_b"), _OUT_RANK * _OUT_GROUPS, size.width)
        for part in ("attn", "ffn"):
            made.plain(at(f"hc_{part}_fn.weight"), streams, mixing)
            made.plain(at(f"hc_{part}_base.weight"), mixing)
            made.plain(at(f"hc_{part}_scale.weight"), 3)
        if ratio:
            _compressed(made, layer, ratio, width)
        _experts(made, layer, shared=size.expert_feed_forward)
        if layer < 1:
            made.plain(at("ffn_gate_tid2eid.weight"), size.experts_used, size.vocabulary, fill="ids")
        else:
            made.plain(at("exp_probs_b.bias"), size.experts)


def bloom(made: Tensors) -> None:
    """BLOOM: positions as a bias on the attention, one tensor for queries, keys and values, biases everywhere."""
    size = made.size
    _common(made, kv_heads=size.heads, rms=False)
    made.key(attention__layer_norm_epsilon=1e-5)
    made.plain("output_norm.bias", size.width)
    made.norm("token_embd_norm")
    made.plain("token_embd_norm.bias", size.width)
    for layer in range(size.layers):
        at = made.block(layer)
        for name in ("attn_norm", "ffn_norm"):
            made.norm(at(name))
            made.plain(at(f"{name}.bias"), size.width)
        made.matrix(at("attn_qkv"), size.width, 3 * size.width)
        made.plain(at("attn_qkv.bias"), 3 * size.width)
        made.matrix(at("attn_output"), size.width, size.width)
        made.plain(at("attn_output.bias"), size.width)
        made.matrix(at("ffn_up"), size.width, size.feed_forward)
        made.plain(at("ffn_up.bias"), size.feed_forward)
        made.matrix(at("ffn_down"), size.feed_forward, size.width)
        made.plain(at("ffn_down.bias"), size.width)


def bert(pooling: str) -> Family:
    """An encoder, as embedding models and rerankers are; `pooling`: mean, cls or rank (with a head that scores)."""
    return lambda made: _bert(made, pooling)


def _bert(made: Tensors, pooling: str) -> None:
    size = made.size
    made.tokenizer = "bert"
    _common(made, kv_heads=size.heads, rms=False)
    made.tensors = [each for each in made.tensors if each[0] != "output_norm.weight"]
    made.key(attention__layer_norm_epsilon=1e-12, attention__causal=False)
    made.key(pooling_type={"mean": 1, "cls": 2, "rank": 4}[pooling])
    made.plain("token_types.weight", size.width, 2)
    made.plain("position_embd.weight", size.width, size.context)
    made.norm("token_embd_norm")
    made.plain("token_embd_norm.bias", size.width)
    for layer in range(size.layers):
        at = made.block(layer)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            made.matrix(at(name), size.width, size.width)
            made.plain(at(f"{name}.bias"), size.width)
        made.matrix(at("ffn_up"), size.width, size.feed_forward)
        made.plain(at("ffn_up.bias"), size.feed_forward)
        made.matrix(at("ffn_down"), size.feed_forward, size.width)
        made.plain(at("ffn_down.bias"), size.width)
        for name in ("attn_output_norm", "layer_output_norm"):
            made.norm(at(name))
            made.plain(at(f"{name}.bias"), size.width)
    if pooling == "rank":
        made.matrix("cls", size.width, size.width)
        made.plain("cls.bias", size.width)
        made.matrix("cls.output", size.width, 1)
        made.plain("cls.output.bias", 1)


TINY = Size()


@dataclass(frozen=True)
class Row:
    """A row of `docs/families.md`: `models` is what people know the family by."""

    name: str
    architecture: str
    models: str
    family: Family
    size: Size = TINY
    #: None: the engine cannot make embeddings with it, and is started without them.
    pooling: Pooling | None = "last"


_FOUR = replace(Size(), layers=4)
ROWS: tuple[Row, ...] = (
    Row("llama", "llama", "Llama 3.1 (405B too), Llama 3.3, Mistral 7B, Mistral Small, Devstral, Codestral", llama),
    Row("mixtral", "llama", "Mixtral 8x7B, 8x22B", mixtral),
    Row("llama4", "llama4", "Llama 4 Scout, Maverick", llama4, _FOUR),
    Row("qwen3", "qwen3", "Qwen3 0.6B to 32B", qwen3),
    Row("qwen3moe", "qwen3moe", "Qwen3 30B-A3B, 235B-A22B, Qwen3-Coder 30B-A3B, 480B-A35B", qwen3moe),
    Row("qwen3next", "qwen3next", "Qwen3-Next, Qwen3-Coder-Next", qwen3next, _FOUR),
    Row("qwen35", "qwen35", "Qwen3.5, 3.6, 3.8, dense", qwen35, _FOUR),
    Row("qwen35moe", "qwen35moe", "Qwen3.5 35B-A3B, 122B-A10B, 397B-A17B", qwen35moe, _FOUR),
    Row("gemma3", "gemma3", "Gemma 3, MedGemma", gemma3, replace(Size(), layers=6)),
    Row("gemma4", "gemma4", "Gemma 4 12B, 31B", gemma4, replace(Size(), layers=6)),
    Row("gemma4-moe", "gemma4", "Gemma 4 26B-A4B", gemma4_moe, replace(Size(), layers=6)),
    Row("deepseek2", "deepseek2", "DeepSeek V3, R1", deepseek2),
    Row("deepseek4", "deepseek4", "DeepSeek V4 Flash, Pro", deepseek4, replace(Size(), layers=3), None),
    Row("mistral3", "mistral3", "Ministral 3, Mistral Large 3", llama),
    Row("bloom", "bloom", "BLOOM", bloom),
)
