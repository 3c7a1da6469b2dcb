"""Checks that several parts of a request need, and their errors."""

from collections.abc import Sequence

from intramural.core.chat import Tool
from intramural.core.errors import Misasked
from intramural.http.checks import bad
from intramural.http.openai.parse import functions_as_tools
from intramural.http.openai.responses.shapes import Metadata, ToolIn

MAX_METADATA, MAX_KEY_CHARS, MAX_VALUE_CHARS = 16, 64, 512
MAX_ID_CHARS = 128


def unsupported(param: str, hint: str = "Leave it out.") -> Misasked:
    """A field, or a value of one, that this service cannot honour."""
    return Misasked("unsupported_parameter", f"`{param}` is not supported.", hint, param=param)


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
    return functions_as_tools([(each.name, each.description or "", each.parameters) for each in given], ".name")
