"""A model of the library in Ollama's words. Pure."""

from typing import Any

from intramural.http.ollama.abilities import abilities
from intramural.http.ollama.making import modelfile, parameters
from intramural.http.ollama.names import listed
from intramural.http.ollama.write import timestamp
from intramural.library import Defaults, Manifest
from intramural.serving import WorkerStatus

#: When a worker ends that is never stopped for being idle: as far away as Ollama's own "for ever".
_FOR_EVER_S = 292.0 * 365.25 * 86400


def bare(digest: str) -> str:
    """A digest without the name of its algorithm, as Ollama lists it."""
    return digest.removeprefix("sha256:")


def parameter_size(parameters: int) -> str:
    """`134.52M`, `3.2B`."""
    for unit, size, digits in (("B", 10**9, 1), ("M", 10**6, 2), ("K", 10**3, 0)):
        if parameters >= size:
            return f"{parameters / size:.{digits}f}{unit}"
    return str(parameters)


def details(manifest: Manifest) -> dict[str, Any]:
    """The `details` of a listing."""
    return {
        "parent_model": "" if manifest.base is None else listed(manifest.base),
        "format": manifest.format,
        "family": manifest.architecture,
        "families": [manifest.architecture],
        "parameter_size": parameter_size(manifest.parameters),
        "quantization_level": manifest.quantisation.upper(),
        "context_length": manifest.trained_context_tokens,
        "embedding_length": manifest.shape.embedding_length,
    }


def entry(manifest: Manifest) -> dict[str, Any]:
    """One model of /api/tags."""
    name = listed(manifest.name)
    return {
        "name": name,
        "model": name,
        "modified_at": timestamp(manifest.added_ms / 1000),
        "size": manifest.size_bytes,
        "digest": bare(manifest.digest),
        "details": details(manifest),
        "capabilities": abilities(manifest),
    }


def running(manifest: Manifest, worker: WorkerStatus, now_s: float) -> dict[str, Any]:
    """One model of /api/ps. The engine computes on the processor, so nothing is on a graphics card."""
    name = listed(manifest.name)
    left_s = _FOR_EVER_S if worker.left_s is None else worker.left_s
    return {
        "name": name,
        "model": name,
        "size": worker.memory_bytes,
        "digest": bare(manifest.digest),
        "details": details(manifest),
        "expires_at": timestamp(now_s + left_s),
        "size_vram": 0,
        "context_length": worker.context_tokens,
    }


def shown(manifest: Manifest) -> dict[str, Any]:
    """The answer of /api/show."""
    return {
        "license": manifest.licence,
        "modelfile": modelfile(listed(manifest.base or manifest.name), manifest.defaults),
        "parameters": parameters(manifest.defaults),
        "template": manifest.template or "",
        **_said(manifest.defaults),
        "details": details(manifest),
        "model_info": model_info(manifest),
        "capabilities": abilities(manifest),
        "modified_at": timestamp(manifest.added_ms / 1000),
    }


def _said(defaults: Defaults | None) -> dict[str, Any]:
    """The system text and the first messages, where there are some."""
    if defaults is None:
        return {}
    messages = [{"role": each.role, "content": each.content} for each in defaults.messages]
    system = {} if defaults.system is None else {"system": defaults.system}
    return system | ({"messages": messages} if messages else {})


def model_info(manifest: Manifest) -> dict[str, Any]:
    """What the model's header says, under the header's own keys, as far as the library keeps it."""
    shape, under = manifest.shape, manifest.architecture
    heads = shape.kv_heads
    found: dict[str, Any] = {
        "general.architecture": manifest.architecture,
        "general.parameter_count": manifest.parameters,
        f"{under}.context_length": manifest.trained_context_tokens,
        f"{under}.block_count": shape.layers,
        f"{under}.embedding_length": shape.embedding_length,
        f"{under}.feed_forward_length": shape.feed_forward_length,
        f"{under}.attention.head_count": shape.heads,
        f"{under}.attention.head_count_kv": heads[0] if len(set(heads)) == 1 else list(heads),
        f"{under}.attention.key_length": shape.key_length,
        f"{under}.attention.value_length": shape.value_length,
        f"{under}.vocab_size": shape.vocabulary_size,
    }
    if shape.experts:
        found |= {f"{under}.expert_count": shape.experts, f"{under}.expert_used_count": shape.experts_used}
    if shape.sliding_window_tokens:
        found[f"{under}.attention.sliding_window"] = shape.sliding_window_tokens
    if manifest.pooling:
        found[f"{under}.pooling_type"] = manifest.pooling
    return found
