"""Checks that several parts of a request need, and their errors."""

import re
from collections.abc import Sequence

from intramural.core.chat import Tool
from intramural.core.errors import Misasked
from intramural.http.openai.parse import MAX_TOOLS
from intramural.http.openai.responses.shapes import Metadata, ToolIn

_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
MAX_METADATA, MAX_KEY_CHARS, MAX_VALUE_CHARS = 16, 64, 512
MAX_ID_CHARS = 128


def bad(param: str, message: str, hint: str) -> Misasked:
    """A value that cannot be."""
    return Misasked("bad_parameter", message, hint, param=param)


def unsupported(param: str, hint: str = "Leave it out.") -> Misasked:
    """A field, or a value of one, that this service cannot honour."""
    return Misasked("unsupported_parameter", f"`{param}` is not supported.", hint, param=param)


def within(name: str, value: float | None, low: float, high: float) -> float | None:
    """`value`, which None means nothing was said. Raises Misasked where it is out of bounds."""
    if value is not None and not low <= value <= high:  # also refuses NaN
        raise bad(name, f"`{name}` is {value}.", f"It must be from {low} to {high}.")
    return value


def within_int(name: str, value: int | None, low: int, high: int) -> int | None:
    """As `within`."""
    if value is not None and not low <= value <= high:
        raise bad(name, f"`{name}` is {value}.", f"It must be from {low} to {high}.")
    return value


def identifier(given: str, where: str) -> str:
    """An identifier that a client chose. Raises Misasked."""
    if not 0 < len(given) <= MAX_ID_CHARS or not given.isprintable():
        raise bad(where, "That cannot be an identifier.", f"It has 1 to {MAX_ID_CHARS} printable characters.")
    return given


def metadata(given: Metadata | None) -> Metadata:
    """`metadata` within the specification's bounds. Raises Misasked."""
    found = given or {}
    if len(found) > MAX_METADATA:
        raise bad("metadata", f"`metadata` has {len(found)} entries.", f"Send at most {MAX_METADATA}.")
    for name, value in found.items():
        if len(name) > MAX_KEY_CHARS or len(value) > MAX_VALUE_CHARS:
            hint = f"Names have {MAX_KEY_CHARS} characters at most, values {MAX_VALUE_CHARS}."
            raise bad("metadata", f"`metadata` entry {name[:MAX_KEY_CHARS]!r} is too long.", hint)
    return found


def tools(given: Sequence[ToolIn]) -> tuple[Tool, ...]:
    """Functions in the internal form. Raises Misasked naming the one at fault."""
    if len(given) > MAX_TOOLS:
        raise bad("tools", f"{len(given)} tools are too many.", f"Send at most {MAX_TOOLS}.")
    names = [tool.name for tool in given]
    for i, name in enumerate(names):
        if not _TOOL_NAME.fullmatch(name):
            raise bad(f"tools[{i}].name", f"{name!r} is not a tool name.", "Use A-Z a-z 0-9 _ - (1 to 64).")
        if name in names[:i]:
            raise bad(f"tools[{i}].name", f"Two tools are named {name!r}.", "Rename one.")
    nothing = {"type": "object", "properties": {}, "additionalProperties": False}
    return tuple(Tool(tool.name, tool.description or "", tool.parameters or nothing) for tool in given)
