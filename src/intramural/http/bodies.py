"""Reading request bodies: bounded, strict, and with an answer that says what is wrong where."""

import re
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request

from intramural.core.errors import Misasked, TooLarge

T = TypeVar("T")

_UNKNOWN_FIELD = re.compile(r"unknown field `([^`]*)`")
_AT = re.compile(r" - at `\$\.?(.*)`$")
#: Deeper JSON than this is refused before it is decoded; no dialect needs a quarter of it.
MAX_DEPTH = 64


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body. Raises TooLarge(`body_too_large`) as soon as the limit is passed, announced or not."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise Misasked("client_left", "The client left before its request was complete.", "Send it again.")
        chunk, more = message.get("body", b""), message.get("more_body", False)
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(
        "body_too_large", f"The request body is over {max_bytes} bytes.", "Send less text, or split the request."
    )


def decode(body: bytes, shape: type[T]) -> T:
    """`body` as `shape` (a msgspec struct). Raises Misasked naming the field at fault."""
    if _depth(body) > MAX_DEPTH:
        raise Misasked("nested_too_deep", f"The JSON is nested more than {MAX_DEPTH} deep.", "Flatten it.")
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        raise _bad_field(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Misasked("bad_json", f"The body is not valid JSON: {error}.", "Send one UTF-8 JSON object.") from None


def convert(value: Any, shape: Any, where: str) -> Any:
    """JSON that is decoded already, as `shape`. `where` is its place in the body. Raises Misasked as `decode`."""
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise _bad_field(str(error), where) from None


def _bad_field(text: str, where: str = "") -> Misasked:
    unknown = _UNKNOWN_FIELD.search(text)
    at = _AT.search(text)
    path = f"{where}.{at.group(1)}".strip(".").replace(".[", "[") if at else where
    if unknown:
        name = f"{path}.{unknown.group(1)}".lstrip(".")
        return Misasked("unknown_parameter", f"There is no parameter {name!r}.", "Leave it out.", param=name)
    return Misasked(
        "bad_parameter", f"{_AT.sub('', text)}{f' in {path!r}' if path else ''}.", "Mend it.", param=path or None
    )


def _depth(body: bytes) -> int:
    """How deep brackets nest outside strings, without decoding (a decoder's own limit is a crash or an exception)."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return 0
    depth = deepest = 0
    for token in re.finditer(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', body, re.DOTALL):
        first = body[token.start()]
        if first in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first in b"]}":
            depth -= 1
    return deepest
