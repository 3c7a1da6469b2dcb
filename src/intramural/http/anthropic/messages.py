"""`/v1/messages` and `/v1/messages/count_tokens`."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response

from intramural.core.chat import ChatEvent
from intramural.http import bodies, sse
from intramural.http.anthropic import door, parse, shapes, write
from intramural.http.anthropic.door import DIALECT
from intramural.http.doors import Doors
from intramural.http.operations import Operation
from intramural.http.wire import Json, frame


def operations(doors: Doors) -> list[Operation]:
    """Writing a message, and counting what one would cost."""
    inference = doors.services.inference

    async def messages(request: Request, request_id: str) -> Response:
        caller = await doors.identify(request)
        wire = bodies.decode(await doors.body(request), shapes.MessagesIn)
        asked = parse.message(wire, request_id, profile=request.headers.get("anthropic-user-profile-id"))
        form, headers = parse.form(wire), door.headers(request_id)
        if wire.stream:
            waits = sse.Waits()
            writer = write.StreamWriter(asked, form)
            events = inference.answer(caller.actor, asked, DIALECT, "chat", on_wait=waits, on_read=writer.prompt_read)
            frames = message_frames(events, writer)
            return sse.EventStream(frames, waits, door.wire(request_id), headers=headers)

        async def whole() -> Response:
            events = [e async for e in inference.answer(caller.actor, asked, DIALECT, "chat")]
            return Json(write.message(asked, events, form), headers=headers)

        return await sse.answered(request, whole())

    async def count_tokens(request: Request, request_id: str) -> Response:
        caller = await doors.identify(request)
        asked = parse.count(bodies.decode(await doors.body(request), shapes.CountIn), request_id)

        async def whole() -> Response:
            tokens = await inference.count_tokens(caller.actor, asked)
            return Json({"input_tokens": tokens}, headers=door.headers(request_id))

        return await sse.answered(request, whole(), receipt=False)

    return [
        Operation("POST", "/v1/messages", "Write a message.", door.named(doors, messages), shapes.MessagesIn),
        Operation(
            "POST",
            "/v1/messages/count_tokens",
            "Count the tokens of a message's prompt.",
            door.named(doors, count_tokens),
            shapes.CountIn,
        ),
    ]


async def message_frames(
    events: AsyncGenerator[ChatEvent, None], writer: write.StreamWriter
) -> AsyncGenerator[bytes, None]:
    """The frames of a stream of `events`."""
    async with aclosing(events):
        async for event in events:
            if told := writer.feed(event):
                yield b"".join(frame(each, each["type"]) for each in told)
