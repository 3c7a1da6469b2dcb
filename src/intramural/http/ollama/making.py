"""What `/api/create` asks for, in our words. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from intramural.core.errors import Misasked
from intramural.http.checks import bad
from intramural.http.ollama import options, shapes
from intramural.http.ollama.names import canonical
from intramural.library import Defaults
from intramural.library.defaults import SAMPLING, as_options

DIGEST: Final = re.compile("sha256:[0-9a-f]{64}")
_NOT_CONVERTED: Final = "Weights stay as they were published: get the model in the quantisation you want."
_REFUSED: Final[Mapping[str, str]] = {
    "adapters": "Use a model into which the adapter was merged.",
    "draft_files": "Nothing is drafted here.",
    "draft_quantize": _NOT_CONVERTED,
    "info": "What a model is, its own file says.",
    "license": "A model keeps the licence that its source states.",
    "parser": "How answers are read follows from the model's template.",
    "quantization": _NOT_CONVERTED,
    "quantize": _NOT_CONVERTED,
    "remote_host": "No other machine is asked for answers.",
    "renderer": "A model answers with the template that was inspected with it.",
    "requires": "Leave it out.",
    "template": "A model answers with the template that was inspected with it; say what you want in `system`.",
}


@dataclass(frozen=True, slots=True)
class Making:
    """A model to be made: of the model `base`, or of uploaded `files` (name → digest); one of them."""

    name: str
    base: str | None
    files: Mapping[str, str]
    defaults: Defaults
    stream: bool
    without_effect: tuple[str, ...]


def making(wire: shapes.CreateIn) -> Making:
    """Raises Misasked naming the parameter."""
    for field, hint in _REFUSED.items():
        if getattr(wire, field):
            raise Misasked("unsupported_parameter", f"`{field}` is not supported.", hint, param=field)
    if bool(wire.from_) == bool(wire.files):
        message = "Exactly one of `from` and `files` says what the model is made of."
        raise bad("from", message, "Name a model in `from`, or uploaded files in `files`.")
    name = wire.model or wire.name
    if not name:
        raise bad("model", "`model` is missing.", "Say how the new model shall be called.")
    for file, digest in (wire.files or {}).items():
        if not DIGEST.fullmatch(digest):
            raise bad("files", f"{digest[:80]!r} of {file[:80]!r} is no digest.", "Write sha256:<64 hex digits>.")
    return Making(
        name=canonical(name),
        base=canonical(wire.from_) if wire.from_ else None,
        files=wire.files or {},
        defaults=_defaults(wire),
        stream=wire.stream is not False,
        without_effect=tuple(f"parameters.{each}" for each in options.without_effect(wire.parameters)),
    )


def _defaults(wire: shapes.CreateIn) -> Defaults:
    try:
        sampling = options.sampling(wire.parameters, logprobs=None, top_logprobs=None)
        context_tokens = options.context_tokens(wire.parameters)
    except Misasked as error:
        message = error.message.replace("`options.", "`parameters.")
        param = (error.param or "").replace("options.", "parameters.")
        raise Misasked(error.code, message, error.hint, param=param) from None
    built = {
        "system": wire.system or None,
        "messages": [_said(each, f"messages[{at}]") for at, each in enumerate(wire.messages or [])],
        "context_tokens": context_tokens,
        **{name: getattr(sampling, name) for name in SAMPLING},
    }
    try:
        return msgspec.convert(built, Defaults)
    except msgspec.ValidationError as error:
        raise bad("system", f"What it shall say is out of bounds: {error}.", "Shorten it.") from None


def _said(wire: shapes.MessageIn, where: str) -> dict[str, str]:
    role = wire.role.lower()
    plain = not (wire.images or wire.tool_calls or wire.thinking or wire.tool_name or wire.tool_call_id)
    if role not in ("system", "user", "assistant") or not plain or not wire.content:
        message = f"`{where}` is no message that can be kept with a model."
        raise bad(where, message, "Use texts of the roles system, user and assistant.")
    return {"role": role, "content": wire.content}


def parameters(defaults: Defaults | None) -> str:
    """The defaults as Ollama lists them: one a line."""
    listed = []
    for name, value in as_options(defaults).items():
        values = value if isinstance(value, list) else [value]
        listed += [f"{name:<30} {msgspec.json.encode(each).decode()}" for each in values]
    return "\n".join(listed)


def modelfile(name: str, defaults: Defaults | None) -> str:
    """A Modelfile that makes the same of the model `name` again."""
    lines = ["# Made from what the library knows of it.", f"FROM {name}"]
    if defaults and defaults.system is not None:
        lines.append(f"SYSTEM {_quoted(defaults.system)}")
    for option, value in as_options(defaults).items():
        for each in value if isinstance(value, list) else [value]:
            lines.append(f"PARAMETER {option} {_quoted(each) if isinstance(each, str) else each}")
    lines += [f"MESSAGE {each.role} {_quoted(each.content)}" for each in (defaults.messages if defaults else ())]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return f'"""{text}"""' if "\n" in text or '"' in text else f'"{text}"'
