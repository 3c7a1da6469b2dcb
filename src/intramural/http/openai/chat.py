"""`/v1/chat/completions`."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from intramural.core.chat import ChatEvent, ChatRequest, Usage
from intramural.http import bodies, sse
from intramural.http.doors import Doors
from intramural.http.openai import parse, shapes, write
from intramural.http.operations import Operation
from intramural.http.wire import OPENAI, frame
from intramural.metering import Dialect

DIALECT: Dialect = "openai"


def operations(doors: Doors) -> list[Operation]:
    """Answering a conversation."""
    inference = doors.services.inference

    async def chat(request: Request) -> Response:
        caller = await doors.identify(request)
        wire = bodies.decode(await doors.body(request), shapes.ChatIn)
        asked = parse.chat(wire, doors.new_id())
        created_s = doors.now_s()
        headers = {"X-Request-Id": asked.id}
        if wire.stream:
            waits = sse.Waits()
            events = inference.answer(caller.actor, asked, DIALECT, "chat", on_wait=waits)
            with_usage = bool(wire.stream_options and wire.stream_options.include_usage)
            return sse.EventStream(
                chat_frames(events, asked, created_s, with_usage=with_usage), waits, OPENAI, headers=headers
            )

        async def whole() -> Response:
            events = [e async for e in inference.answer(caller.actor, asked, DIALECT, "chat")]
            choices, usage = write.collect(events, asked.choices)
            body = write.chat_completion(
                asked.id, asked.model, created_s, choices, usage, logprobs=asked.sampling.logprobs
            )
            return JSONResponse(body, headers=headers)

        return await sse.answered(request, whole())

    return [Operation("POST", "/v1/chat/completions", "Answer a conversation.", chat, shapes.ChatIn)]


async def chat_frames(
    events: AsyncGenerator[ChatEvent, None], asked: ChatRequest, created_s: int, *, with_usage: bool
) -> AsyncGenerator[bytes, None]:
    """`chat.completion.chunk` frames of `events`; the page's own stream uses them too."""
    writer = write.ChunkWriter(asked.id, asked.model, created_s, logprobs=asked.sampling.logprobs)
    async with aclosing(events):
        async for event in events:
            if not isinstance(event, Usage):
                yield frame(writer.chunk(event))
            elif with_usage:
                yield frame(writer.usage_chunk(event))
