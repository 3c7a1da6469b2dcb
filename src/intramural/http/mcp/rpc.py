"""JSON-RPC 2.0 as the Model Context Protocol has it over HTTP: one message in, one out. Pure.

Source: modelcontextprotocol.io, specification 2025-06-18 and 2025-11-25, base protocol and streamable HTTP.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from intramural.core.errors import Misasked
from intramural.http import bodies

#: The newest first. (2025-03-26 differs in what is not offered here: batches of messages.)
VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26")

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
UNSUPPORTED_VERSION = -32022

Id = int | str


@dataclass(frozen=True, slots=True)
class Call:
    """A request, or a notification (`id` None), which gets no answer."""

    id: Id | None
    method: str
    params: dict[str, Any]


class RpcError(Exception):
    """What is wrong with a message, in the protocol's own numbers."""

    def __init__(self, code: int, message: str, *, call_id: Id | None = None, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.call_id = call_id
        self.data = data

    def body(self) -> dict[str, Any]:
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        return {"jsonrpc": "2.0", "id": self.call_id, "error": error | ({"data": self.data} if self.data else {})}


def read(body: bytes) -> Call | None:
    """The message; None for an answer to something we never asked. Raises RpcError."""
    try:
        message = bodies.decode(body, dict[str, Any])
    except Misasked as error:
        if error.code == "bad_parameter":
            raise RpcError(INVALID_REQUEST, "A message is one JSON object.") from error
        raise RpcError(PARSE_ERROR, error.message) from error
    if message.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, "A message is one JSON-RPC 2.0 object.")
    if "method" not in message and ("result" in message or "error" in message):
        return None
    call_id = message.get("id")
    if "id" in message and (isinstance(call_id, bool) or not isinstance(call_id, Id)):
        raise RpcError(INVALID_REQUEST, "`id` must be a whole number or a text.")
    method, params = message.get("method"), message.get("params", {})
    if not isinstance(method, str):
        raise RpcError(INVALID_REQUEST, "`method` must be a text.", call_id=call_id)
    if not isinstance(params, dict):
        raise RpcError(INVALID_PARAMS, "`params` must be an object.", call_id=call_id)
    return Call(call_id, method, params)


def answer(call: Call, result: dict[str, Any]) -> bytes:
    """The answer to a request."""
    return msgspec.json.encode({"jsonrpc": "2.0", "id": call.id, "result": result})


def require_version(header: str | None, call_id: Id | None) -> None:
    """Raises RpcError where `MCP-Protocol-Version` names a version that is not spoken here."""
    if header is not None and header not in VERSIONS:
        data = {"supported": list(VERSIONS), "requested": header[:64]}
        raise RpcError(UNSUPPORTED_VERSION, "Unsupported protocol version.", call_id=call_id, data=data)
