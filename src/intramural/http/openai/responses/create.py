"""`POST /v1/responses`."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from intramural.core.actor import Actor
from intramural.core.chat import ChatRequest, Message
from intramural.core.ids import new_id
from intramural.http import bodies, sse
from intramural.http.doors import Doors
from intramural.http.openai.responses import head, items, parse, shapes
from intramural.http.openai.responses.write import ResponseWriter
from intramural.http.operations import Operation
from intramural.http.wire import RESPONSES, Json, frame
from intramural.services.responses import Asked


def operations(doors: Doors) -> list[Operation]:
    """Answering, with the answer as an object that can be gone on from."""
    responses = doors.services.responses
    make_id = partial(new_id, clock=doors.clock)

    async def create(request: Request) -> Response:
        caller = await doors.identify(request)
        wire = bodies.decode(await doors.body(request), shapes.CreateIn)
        keep = responses.keeps_for(caller.actor, wire.store)
        settings = parse.settings(wire, doors.request_id(request), store=keep)
        asked = await _asked(doors, caller.actor, wire, settings.request, keep=keep)
        seal = partial(responses.sealed, caller.actor)
        writer = ResponseWriter(settings, doors.now_s(), doors.now_s, make_id, seal)
        headers = {"X-Request-Id": asked.request.id}
        if wire.background:
            await responses.start(caller.actor, asked, writer)
            if not wire.stream:
                return Json(writer.body, headers=headers)
            told = responses.follow(caller.actor, asked.id, -1)
            return sse.EventStream(frames(told), sse.Waits(), RESPONSES, headers=headers)
        if wire.stream:
            waits = sse.Waits()
            told = responses.answer(caller.actor, asked, writer, streamed=True, on_wait=waits)
            return sse.EventStream(frames(told), waits, RESPONSES, headers=headers)

        async def whole() -> Response:
            async with aclosing(responses.answer(caller.actor, asked, writer, streamed=False)) as told:
                async for _ in told:
                    pass
            return Json(writer.body, headers=headers)

        return await sse.answered(request, whole())

    return [Operation("POST", "/v1/responses", "Answer, as a response object.", create, shapes.CreateIn)]


async def context(
    doors: Doors, actor: Actor, wire: shapes.CreateIn | shapes.CountIn
) -> tuple[tuple[Message, ...], tuple[items.Item, ...]]:
    """What the model is given, and what of it is new. Raises Misasked, Missing, Conflicting."""
    responses = doors.services.responses
    given = items.taken_in(wire.input or [], partial(new_id, clock=doors.clock))
    conversation_id = head.conversation_id(wire.conversation)
    before = await responses.history(actor, wire.previous_response_id, conversation_id)
    new = await responses.resolved(actor, given)
    messages = items.messages([*before, *new], partial(responses.unsealed, actor))
    if wire.instructions:
        messages = (Message("system", wire.instructions), *messages)
    return messages, new


async def _asked(doors: Doors, actor: Actor, wire: shapes.CreateIn, request: ChatRequest, *, keep: bool) -> Asked:
    messages, new = await context(doors, actor, wire)
    return Asked(
        id=head.response_id(request.id),
        request=replace(request, messages=messages),
        input=new,
        keep=keep,
        shorten=wire.truncation == "auto",
        previous_id=wire.previous_response_id,
        conversation_id=head.conversation_id(wire.conversation),
    )


async def frames(told: AsyncGenerator[dict[str, Any], None]) -> AsyncGenerator[bytes, None]:
    """Events as they go over the wire."""
    async with aclosing(told):
        async for event in told:
            yield frame(event, event["type"])
