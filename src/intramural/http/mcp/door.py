"""`/mcp`: the tools over HTTP, in the protocol's streamable transport without sessions and without streams."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from intramural import __version__
from intramural.core.actor import Actor
from intramural.core.errors import IntramuralError, Misasked
from intramural.http import sse
from intramural.http.doors import Doors
from intramural.http.identity import refuse_foreign
from intramural.http.mcp import rpc
from intramural.http.mcp.tools import Tool, tools
from intramural.http.operations import Operation

_INSTRUCTIONS = (
    "Tools of an institution's own AI service. Documents and models stay on its machines; what you ask is logged there."
)


class MessageIn(msgspec.Struct):
    """One JSON-RPC message, as the reference shows it; `rpc.read` checks it."""

    jsonrpc: str
    method: str
    id: int | str | None = None
    params: dict[str, Any] | None = None


def operations(doors: Doors) -> list[Operation]:
    """Taking one message. (Other methods are not offered: there is no session to end and nothing to listen to.)"""
    offered = {tool.name: tool for tool in tools(doors)}

    async def message(request: Request) -> Response:
        refuse_foreign(request)  # whatever the credential: a page in somebody's browser must not reach this
        caller = await doors.identify(request)
        body = await doors.body(request)
        try:
            call = rpc.read(body)
            rpc.require_version(request.headers.get("mcp-protocol-version"), call.id if call else None)
            if call is None or call.id is None:
                return Response(status_code=202)
            return await sse.answered(request, _answered(offered, caller.actor, call))
        except rpc.RpcError as error:
            # what cannot be read, or is in another version, is wrong as HTTP too; the rest is an answer like any other
            wrong = error.code in (rpc.PARSE_ERROR, rpc.INVALID_REQUEST, rpc.UNSUPPORTED_VERSION)
            return _json(msgspec.json.encode(error.body()), 400 if wrong else 200)

    return [Operation("POST", "/mcp", "This service's tools, in the Model Context Protocol.", message, MessageIn)]


async def _answered(offered: dict[str, Tool], actor: Actor, call: rpc.Call) -> Response:
    return _json(rpc.answer(call, await _result(offered, actor, call)))


async def _result(offered: dict[str, Tool], actor: Actor, call: rpc.Call) -> dict[str, Any]:
    """What a request is answered. Raises RpcError, and what is refused before a tool begins."""
    if call.method == "initialize":
        return _initialized(call)
    if call.method == "ping":
        return {}
    if call.method == "tools/list":
        if call.params.get("cursor") is not None:
            raise rpc.RpcError(rpc.INVALID_PARAMS, "There is one page only.", call_id=call.id)
        return {"tools": [tool.described() for tool in offered.values()]}
    if call.method == "tools/call":
        return await _used(offered, actor, call)
    raise rpc.RpcError(rpc.METHOD_NOT_FOUND, f"There is no method {call.method[:64]!r}.", call_id=call.id)


def _initialized(call: rpc.Call) -> dict[str, Any]:
    wanted = call.params.get("protocolVersion")
    if not isinstance(wanted, str):
        raise rpc.RpcError(rpc.INVALID_PARAMS, "`protocolVersion` must be a text.", call_id=call.id)
    return {
        "protocolVersion": wanted if wanted in rpc.VERSIONS else rpc.VERSIONS[0],
        "capabilities": {"tools": {"listChanged": False}},
        "serverInfo": {"name": "intramural", "title": "intramural", "version": __version__},
        "instructions": _INSTRUCTIONS,
    }


async def _used(offered: dict[str, Tool], actor: Actor, call: rpc.Call) -> dict[str, Any]:
    """A tool's result. What the caller may not, or asked wrongly, is a result too: one that a model can read."""
    name, arguments = call.params.get("name"), call.params.get("arguments", {})
    tool = offered.get(name) if isinstance(name, str) else None
    if tool is None:
        raise rpc.RpcError(rpc.INVALID_PARAMS, f"There is no tool {str(name)[:64]!r}.", call_id=call.id)
    try:
        found = await tool.work(actor, _taken(tool, arguments))
    except IntramuralError as error:
        return {"content": [{"type": "text", "text": str(error)}], "isError": True}
    text = msgspec.json.encode(found).decode()
    return {"content": [{"type": "text", "text": text}], "structuredContent": found, "isError": False}


def _taken(tool: Tool, arguments: object) -> Any:
    try:
        return msgspec.convert(arguments, tool.takes)
    except msgspec.ValidationError as error:
        raise Misasked("bad_parameter", f"{error}.", "See the tool's `inputSchema`.", param="arguments") from error


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json", headers={"Cache-Control": "no-store"})
