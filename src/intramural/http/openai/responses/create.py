"""`POST /v1/responses`."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from intramural.core.chat import ChatEvent, Message
from intramural.core.errors import IntramuralError
from intramural.core.ids import new_id
from intramural.http import bodies, sse
from intramural.http.doors import Doors
from intramural.http.openai.chat import DIALECT
from intramural.http.openai.responses import items, parse, shapes
from intramural.http.openai.responses.write import ResponseWriter
from intramural.http.operations import Operation
from intramural.http.wire import RESPONSES, frame


def operations(doors: Doors) -> list[Operation]:
    """Answering, with the answer as an object that can be gone on with."""
    inference = doors.services.inference
    make_id = partial(new_id, clock=doors.clock)

    async def create(request: Request) -> Response:
        caller = await doors.identify(request)
        wire = bodies.decode(await doors.body(request), shapes.CreateIn)
        settings = parse.settings(wire, doors.new_id(), store=False)
        own = items.taken_in(wire.input or [], make_id)
        asked = replace(settings.request, messages=_with_instructions(wire.instructions, items.messages(own)))
        writer = ResponseWriter(settings, doors.now_s(), doors.now_s, make_id)
        headers = {"X-Request-Id": asked.id}
        if wire.stream:
            waits = sse.Waits()
            events = inference.answer(caller.actor, asked, DIALECT, "chat", on_wait=waits)
            return sse.EventStream(_frames(events, writer), waits, RESPONSES, headers=headers)

        async def whole() -> Response:
            async for event in inference.answer(caller.actor, asked, DIALECT, "chat"):
                writer.feed(event)
            writer.finish()
            return JSONResponse(writer.body, headers=headers)

        return await sse.answered(request, whole())

    return [Operation("POST", "/v1/responses", "Answer, as a response object.", create, shapes.CreateIn)]


def _with_instructions(instructions: str | None, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    return (Message("system", instructions), *messages) if instructions else messages


async def _frames(events: AsyncGenerator[ChatEvent, None], writer: ResponseWriter) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(events):
            async for event in events:
                for told in writer.feed(event):
                    yield frame(told, told["type"])
        last = writer.finish()
    except IntramuralError as error:
        if not writer.begun:
            raise
        last = writer.fail(error)
    for told in last:
        yield frame(told, told["type"])
