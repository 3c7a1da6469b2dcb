"""Names of models: `smollm2:135m-instruct-q4_1`, `mistralai/ministral-3:8b`. Parsed once, at the door.

Grammar: `part("/" part)*[":" tag]`, where part and tag are `[a-z0-9][a-z0-9._-]*`; at most 128 characters and four
parts. The tag `latest` says nothing and is dropped, so that one model has one name.
"""

import re

from intramural.core.errors import Misasked

MAX_CHARACTERS = 128
MAX_PARTS = 4
DEFAULT_TAG = "latest"

_WORD = "[a-z0-9][a-z0-9._-]*"
_NAME = re.compile(f"(?P<path>{_WORD}(?:/{_WORD})*)(?::(?P<tag>{_WORD}))?")
_SUFFIX = ".json"
#: A file name holds no `/`, and `:` means a drive on some systems. `%` is in no name, so this can be undone.
_ENCODED = {"/": "%2f", ":": "%3a"}
_QUANTISATION = re.compile(r"(?:i?q[0-9][a-z0-9_]*|bf16|f16|f32|mxfp4|nvfp4)")


def parse_name(text: str) -> str:
    """The one spelling of a model's name. Raises Misasked(`bad_model_name`) with what would be accepted."""
    match = _NAME.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
    if match is None or match["path"].count("/") >= MAX_PARTS:
        hint = "Use lower-case letters, digits, '.', '_' and '-', as in 'smollm2:135m-instruct-q4_1'."
        raise Misasked("bad_model_name", f"{text[:MAX_CHARACTERS]!r} is not a model name.", hint, param="model")
    tag = match["tag"]
    return match["path"] if tag in (None, DEFAULT_TAG) else f"{match['path']}:{tag}"


def file_of(name: str) -> str:
    """The manifest file of a parsed name; `name_of` undoes it."""
    for mark, code in _ENCODED.items():
        name = name.replace(mark, code)
    return name + _SUFFIX


def name_of(file: str) -> str | None:
    """The model's name if `file` is one that `file_of` makes, else None."""
    if not file.endswith(_SUFFIX):
        return None
    name = file.removesuffix(_SUFFIX)
    for mark, code in _ENCODED.items():
        name = name.replace(code, mark)
    try:
        parsed = parse_name(name)
    except Misasked:
        return None
    return parsed if file_of(parsed) == file else None


def suggest_name(file_stem: str) -> str:
    """A name for weights called `file_stem`: `Qwen3-0.6B.Q4_K_M` becomes `qwen3-0.6b:q4_k_m`."""
    text = re.sub("[^a-z0-9._-]+", "-", file_stem.lower()).strip("._-")[:MAX_CHARACTERS].strip("._-")
    for split in (".", "-"):
        head, mark, tail = text.rpartition(split)
        if mark and head.strip("._-") and _QUANTISATION.fullmatch(tail):
            return parse_name(f"{head.strip('._-')}:{tail}")
    return parse_name(text) if text else "model"
