"""A tiny projector with random weights, of the kind Gemma 3 has: what lets a text model take pictures."""

from pathlib import Path

import gguf
import numpy as np

_IMAGE, _PATCH, _WIDTH, _HEADS, _FORWARD = 64, 8, 32, 2, 64
#: A picture of any size becomes this many tokens: its patches, sixteen at a time.
PICTURE_TOKENS = (_IMAGE // _PATCH) ** 2 // 16


def write_projector(path: Path, model_width: int, seed: int = 0) -> Path:
    """The projector's file at `path`, for a model of `model_width`. Same arguments, same bytes."""
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type("mmproj")
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type("gemma3")
    writer.add_vision_image_size(_IMAGE)
    writer.add_vision_patch_size(_PATCH)
    writer.add_vision_embedding_length(_WIDTH)
    writer.add_vision_feed_forward_length(_FORWARD)
    writer.add_vision_projection_dim(model_width)
    writer.add_vision_block_count(1)
    writer.add_vision_head_count(_HEADS)
    writer.add_vision_attention_layernorm_eps(1e-6)
    writer.add_vision_use_gelu(True)
    writer.add_vision_image_mean([0.5, 0.5, 0.5])
    writer.add_vision_image_std([0.5, 0.5, 0.5])
    random = np.random.default_rng(seed)
    for name, shape in _tensors(model_width).items():
        values = random.standard_normal(shape, dtype=np.float32) * np.float32(0.05)
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tensors(model_width: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "v.patch_embd.weight": (_WIDTH, 3, _PATCH, _PATCH),
        "v.patch_embd.bias": (_WIDTH,),
        "v.position_embd.weight": ((_IMAGE // _PATCH) ** 2, _WIDTH),
        "v.post_ln.weight": (_WIDTH,),
        "v.post_ln.bias": (_WIDTH,),
        "mm.input_projection.weight": (_WIDTH, model_width),
        "mm.soft_emb_norm.weight": (_WIDTH,),
    }
    linear = {"attn_q": (_WIDTH, _WIDTH), "attn_k": (_WIDTH, _WIDTH), "attn_v": (_WIDTH, _WIDTH),
              "attn_out": (_WIDTH, _WIDTH), "ffn_up": (_FORWARD, _WIDTH), "ffn_down": (_WIDTH, _FORWARD)}  # fmt: skip
    for name, shape in linear.items():
        shapes[f"v.blk.0.{name}.weight"] = shape
        shapes[f"v.blk.0.{name}.bias"] = shape[:1]
    for name in ("ln1", "ln2"):
        shapes[f"v.blk.0.{name}.weight"] = shapes[f"v.blk.0.{name}.bias"] = (_WIDTH,)
    return shapes
