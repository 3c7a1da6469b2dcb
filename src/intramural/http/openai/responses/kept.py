"""Responses that are kept: reading, ending and deleting them, and counting what one would cost."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from intramural.core.actor import Actor
from intramural.core.errors import Misasked, NotOffered
from intramural.http import bodies, sse
from intramural.http.checks import bad
from intramural.http.doors import Doors
from intramural.http.openai.responses import pages, parse, shapes
from intramural.http.openai.responses.create import context, frames
from intramural.http.operations import Operation
from intramural.http.wire import RESPONSES
from intramural.services import Responses

_PATH = "/v1/responses/{response_id}"


def operations(doors: Doors) -> list[Operation]:
    """What can be done with a response that was made."""
    responses = doors.services.responses

    async def read(request: Request) -> Response:
        caller = await doors.identify(request)
        response_id = request.path_params["response_id"]
        pages.includes(request)
        body = await responses.get(caller.actor, response_id)
        if not _flag(request, "stream"):
            return JSONResponse(body)
        told = _followed(responses, caller.actor, body, _starting_after(request))
        return sse.EventStream(frames(told), sse.Waits(), RESPONSES)

    async def delete(request: Request) -> Response:
        caller = await doors.identify(request)
        response_id = request.path_params["response_id"]
        await responses.delete(caller.actor, response_id)
        return JSONResponse({"id": response_id, "object": "response", "deleted": True})

    async def cancel(request: Request) -> Response:
        caller = await doors.identify(request)
        body = await responses.cancel(caller.actor, request.path_params["response_id"])
        if not body["background"]:
            raise Misasked(
                "not_in_background",
                "Only a response in the background can be cancelled.",
                "Close the connection that it is written to.",
            )
        return JSONResponse(body)

    async def input_items(request: Request) -> Response:
        caller = await doors.identify(request)
        found = await responses.input_items(caller.actor, request.path_params["response_id"])
        return JSONResponse(pages.page(request, found))

    async def input_tokens(request: Request) -> Response:
        caller = await doors.identify(request)
        wire = bodies.decode(await doors.body(request), shapes.CountIn)
        if not wire.model:
            raise bad("model", "`model` is missing: every model counts in its own way.", "Name one.")
        asked = parse.counted(wire, wire.model, doors.request_id(request))
        messages, _ = await context(doors, caller.actor, wire)
        count = await doors.services.inference.count_tokens(caller.actor, replace(asked, messages=messages))
        return JSONResponse({"object": "response.input_tokens", "input_tokens": count})

    async def compact(request: Request) -> Response:
        await doors.identify(request)
        raise NotOffered(
            "no_compaction",
            "Conversations are not compacted here: what a model no longer reads would be gone unseen.",
            "Begin anew with a shorter input, or set `truncation: auto`.",
        )

    return [
        Operation("POST", "/v1/responses/compact", "Refused: nothing is compacted here.", compact),
        Operation("POST", "/v1/responses/input_tokens", "Count a request's tokens.", input_tokens, shapes.CountIn),
        Operation("GET", _PATH, "A kept response.", read, query=("stream", "starting_after", "include")),
        Operation("DELETE", _PATH, "Delete a kept response.", delete),
        Operation("POST", f"{_PATH}/cancel", "End a response in the background.", cancel),
        Operation("GET", f"{_PATH}/input_items", "What a response was made from.", input_items, query=pages.QUERY),
    ]


async def _followed(
    responses: Responses, actor: Actor, body: dict[str, Any], after: int
) -> AsyncGenerator[dict[str, Any], None]:
    """The stream of a background response; where an interruption took it, only its end."""
    if not body["background"]:
        hint = "Read it without `stream`."
        raise Misasked("not_in_background", "Only a response in the background can be followed.", hint, param="stream")
    told_any = False
    async with aclosing(responses.follow(actor, body["id"], after)) as told:
        async for event in told:
            told_any = True
            yield event
    if not told_any and body["status"] == "failed":
        yield {"type": "response.failed", "sequence_number": after + 1, "response": body}


def _flag(request: Request, name: str) -> bool:
    text = request.query_params.get(name, "false")
    if text not in ("true", "false"):
        raise bad(name, f"`{name}` is {text[:16]!r}.", "It is `true` or `false`.")
    return text == "true"


def _starting_after(request: Request) -> int:
    text = request.query_params.get("starting_after", "-1")
    if text != "-1" and not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise bad("starting_after", f"`starting_after` is {text[:16]!r}.", "It is the number of an event.")
    return int(text)
