"""What differs between dialects when nothing has been said yet, or when it goes wrong: errors, ends, silences.

A `Wire` is one dialect's way to word an error, to frame it in a stream, to say that something is still on its way, and
to end. Everything else of a stream (`sse.EventStream`) is the same for all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from intramural.core.errors import IntramuralError
from intramural.http import errors

_EVENTS = b"text/event-stream; charset=utf-8"
_LINES = b"application/x-ndjson"
_encode = msgspec.json.Encoder().encode


def frame(value: Any, event: str | None = None) -> bytes:
    """One `data:` frame holding `value` as JSON, named if `event` is given."""
    head = b"" if event is None else b"event: " + event.encode() + b"\n"
    return b"%bdata: %b\n\n" % (head, _encode(value))


class Json(JSONResponse):
    """What a model gave, as one object: encoded in a tenth of the time."""

    def render(self, content: Any) -> bytes:
        return _encode(content)


def line(value: Any) -> bytes:
    """One line of newline-delimited JSON."""
    return _encode(value) + b"\n"


def _waiting(position: int, wait_s: float) -> bytes:
    about = f", about {wait_s:.0f} s" if wait_s >= 1 else ""
    return f": waiting {position}{about}\n\n".encode()


@dataclass(frozen=True, slots=True)
class Wire:
    """One dialect's form. `waiting` words a place in the queue, `heartbeat` is sent through long silences; both may be
    empty where the form has no room for them."""

    status: Callable[[IntramuralError], int]
    body: Callable[[IntramuralError], dict[str, Any]]
    frame_error: Callable[[IntramuralError], bytes]
    media_type: bytes = _EVENTS
    heartbeat: bytes = b": still there\n\n"
    waiting: Callable[[int, float], bytes] = _waiting
    end: bytes = b""
    error_type: str = "application/json"

    def response(self, error: IntramuralError) -> Response:
        """The error as a whole response."""
        return JSONResponse(self.body(error), self.status(error), errors.headers_of(error), self.error_type)


OPENAI = Wire(
    errors.status_of, errors.openai_body, lambda error: frame(errors.openai_body(error)), end=b"data: [DONE]\n\n"
)


def _response_body(error: IntramuralError) -> dict[str, Any]:
    return errors.openai_body(error, errors.RESPONSE_NAMES)


def _responses_error(error: IntramuralError) -> bytes:
    told = _response_body(error)["error"]
    return frame({"type": "error", "sequence_number": 0, **{k: told[k] for k in ("code", "message", "param")}}, "error")


#: The Responses API names its events, errors too; these stand before any other event here, as a response that has begun
#: tells its own. The end is what the Open Responses specification asks for and OpenAI's clients understand.
RESPONSES = Wire(errors.status_of, _response_body, _responses_error, end=b"data: [DONE]\n\n")
ANTHROPIC = Wire(
    errors.anthropic_status,
    errors.anthropic_body,
    lambda error: frame(errors.anthropic_body(error), "error"),
    heartbeat=frame({"type": "ping"}, "ping"),
)
OLLAMA = Wire(
    errors.status_of,
    errors.ollama_body,
    lambda error: line(errors.ollama_body(error)),
    media_type=_LINES,
    heartbeat=b"",
    waiting=lambda *_: b"",
)
#: Directories that keep people (RFC 7644); nothing is streamed to them.
SCIM = Wire(
    errors.status_of, errors.scim_body, lambda error: line(errors.scim_body(error)), error_type="application/scim+json"
)
PAGE = Wire(errors.status_of, errors.page_body, lambda error: frame(errors.page_body(error), "error"))
#: As `PAGE`, for streams of chat chunks.
CHAT_PAGE = Wire(errors.status_of, errors.page_body, PAGE.frame_error, end=OPENAI.end)


#: What vLLM and llama.cpp's server have outside `/v1`.
_DEVELOPERS = frozenset({"/tokenize", "/detokenize", "/apply-template"})


def wire_of(path: str, headers: Mapping[str, str]) -> Wire:
    """The form that a request to `path` expects. `headers`: lower-case names."""
    if path.startswith("/v1/messages") or (path.startswith("/v1/") and "anthropic-version" in headers):
        return ANTHROPIC
    if path.startswith("/v1/responses"):
        return RESPONSES
    if path.startswith(("/v1/", "/v2/")) or path in _DEVELOPERS:
        return OPENAI
    if path.startswith("/scim/"):
        return SCIM
    return OLLAMA if path.startswith("/api/") else PAGE


def wire_of_scope(scope: Scope) -> Wire:
    """As `wire_of`, from an ASGI scope."""
    names = {name.decode("latin-1"): "" for name, _ in scope["headers"] if name == b"anthropic-version"}
    return wire_of(scope["path"], names)
