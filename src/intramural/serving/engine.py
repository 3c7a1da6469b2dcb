"""The child's side: an engine on a Unix socket. Imported whole before confinement; `serve` runs after it.

Every engine parameter that matters is set here, field by field; nothing a client sends reaches this file.
"""

import os
import signal
from collections.abc import Mapping
from typing import Any

import xllamacpp

#: Tokens of a prompt computed in one go. Only between such steps does the engine notice a client that left, and let
#: the other slots write their next token: with 512 both can take seconds. 64 costs a tenth of the prompt speed.
BATCH_TOKENS = 64
#: How vectors are made that need the whole text in one go: each token looks at those behind it as well.
_WHOLE_AT_ONCE = ("mean", "cls", "rank")
#: Copies of a slot's windows and states that the engine may keep.
CHECKPOINTS = 1
#: HTTP threads besides one per slot: health, tokenising, and answers whose client left but which are not yet stopped.
_SPARE_HTTP_THREADS = 4

_POOLING = {
    "last": xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_LAST,
    "mean": xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN,
    "cls": xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_CLS,
    "rank": xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK,
}


_CACHE_TYPES = {
    "f16": xllamacpp.ggml_type.GGML_TYPE_F16,
    "q8_0": xllamacpp.ggml_type.GGML_TYPE_Q8_0,
    "q4_0": xllamacpp.ggml_type.GGML_TYPE_Q4_0,
}
_FLASH = {
    "auto": xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_AUTO,
    "on": xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    "off": xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}
_ROPE = {
    "linear": xllamacpp.llama_rope_scaling_type.LLAMA_ROPE_SCALING_TYPE_LINEAR,
    "yarn": xllamacpp.llama_rope_scaling_type.LLAMA_ROPE_SCALING_TYPE_YARN,
}
#: Tokens that a draft model guesses ahead at most.
DRAFT_TOKENS = 4


def serve(arg: Mapping[str, Any], fds: Mapping[str, int]) -> None:
    """Load `arg["weights"]` and answer on `arg["socket"]` until told to stop.

    `arg`: socket, weights, projector, draft, adapters (paths; only weights must be there; `fds` keeps open what they
    lead to), context_tokens (per slot), slots, threads, template (text or None), pooling (None: no embeddings), options
    (the fields of `options.EngineOptions`), states (whether any are saved). Never returns; SIGTERM ends the process.
    """
    params = parameters(arg)
    server = xllamacpp.Server(params)
    # From here on the engine sees people's texts, and its error messages may quote them: nothing it writes is kept.
    _fall_silent()
    while True:
        signal.pause()
        assert server is not None


def parameters(arg: Mapping[str, Any]) -> Any:
    """The engine's parameters for `serve`'s `arg`."""
    params = xllamacpp.CommonParams()
    params.model.path = arg["weights"]
    if arg.get("projector"):
        params.mmproj.path = arg["projector"]
    params.hostnames = [arg["socket"]]
    params.offline = True
    # Read, not mapped: some quantisations are laid out anew for this processor, and mapped weights would then be in
    # memory twice. It also means that what was verified cannot change under a running worker.
    params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
    params.verbosity = 1  # errors: why weights cannot be loaded; nothing at all once they are
    _close_side_doors(params)
    if arg.get("states"):
        # States are written to memory handed over at the start and read from there; a file's name is its number.
        params.slot_save_path = "/proc/self/fd/"
    _size(params, context_tokens=int(arg["context_tokens"]), slots=int(arg["slots"]), threads=int(arg["threads"]))
    if arg["pooling"] in _WHOLE_AT_ONCE:
        params.n_batch = params.n_ubatch = int(arg["context_tokens"])
    if arg["pooling"] is not None:
        params.embedding = True
        params.pooling_type = _POOLING[arg["pooling"]]
    if arg.get("options"):
        _set_options(params, arg["options"], arg.get("draft"))
    # With a scale of nothing: only a request that asks for one is answered with it.
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 0.0) for path in arg.get("adapters") or ()]
    params.lora_init_without_apply = True
    params.use_jinja = True
    if arg.get("template"):
        params.chat_template = arg["template"]
    return params


def _close_side_doors(params: Any) -> None:
    params.ui = False
    # Says which slots compute, and no word of what: whoever is to be answered alone waits until none does.
    params.endpoint_slots = True
    params.endpoint_props = False
    params.endpoint_metrics = False
    params.models_autoload = False
    params.server_tools = []
    params.slot_save_path = ""


def _size(params: Any, *, context_tokens: int, slots: int, threads: int) -> None:
    params.n_ctx = context_tokens * slots
    params.n_parallel = slots
    params.kv_unified = False
    params.ctx_shift = False
    params.fit_params = False
    params.n_batch = BATCH_TOKENS
    params.n_ubatch = BATCH_TOKENS
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.n_threads_http = slots + _SPARE_HTTP_THREADS
    # A second cache of finished prompts beside the slots' own would be memory nobody planned.
    params.cache_ram_mib = 0
    # Windows and recurrent states cannot be wound back, so the engine keeps copies to go on from. The last one is what
    # the next turn of a conversation needs; each is as large as the windows and states themselves.
    params.n_ctx_checkpoints = CHECKPOINTS


def _set_options(params: Any, options: Mapping[str, Any], draft: str | None) -> None:
    """See `options.EngineOptions`, where their bounds are."""
    params.cache_type_k = params.cache_type_v = _CACHE_TYPES[options["kv"]]
    params.flash_attn_type = _FLASH[options["flash"]]
    params.swa_full = options["full_windows"]
    if options["rope"] != "none":
        params.rope_scaling_type = _ROPE[options["rope"]]
        params.rope_freq_scale = 1 / options["stretch"]
    params.n_gpu_layers = options["gpu_layers"]
    if options["experts_on_cpu"]:
        params.tensor_buft_overrides = experts_on_cpu(options["experts_on_cpu"])
    if options["speculative"] == "ngram":
        params.speculative.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
    elif options["speculative"] == "draft" and draft is not None:
        params.speculative.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE]
        guessing = params.speculative.draft
        guessing.mparams.path = draft
        guessing.n_max = DRAFT_TOKENS
        guessing.cache_type_k = guessing.cache_type_v = _CACHE_TYPES[options["kv"]]
        for each in (guessing.cpuparams, guessing.cpuparams_batch):
            each.n_threads = params.cpuparams.n_threads


def experts_on_cpu(layers: int) -> str:
    """The engine's word for: the experts of the first `layers` layers stay in ordinary memory."""
    return ",".join(rf"blk\.{layer}\.ffn_(up|down|gate|gate_up)_(ch|)exps=CPU" for layer in range(layers))


def _fall_silent() -> None:
    """Point standard output and error at a pipe nobody reads (opening /dev/null is no longer allowed here)."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    for descriptor in (1, 2):
        os.dup2(write_end, descriptor)
    os.close(write_end)
