"""`/v1/chat/completions`."""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from intramural.core.chat import ChatEvent, Usage
from intramural.core.errors import Misasked
from intramural.http import bodies, sse
from intramural.http.doors import Doors
from intramural.http.openai import parse, shapes, write
from intramural.http.operations import Operation
from intramural.http.wire import OPENAI, Json, frame
from intramural.metering import Dialect

DIALECT: Dialect = "openai"
#: What fields are called here that the core knows by another name.
_NAMES = {"thinking": "reasoning_effort"}


def operations(doors: Doors) -> list[Operation]:
    """Answering a conversation."""
    inference = doors.services.inference

    async def chat(request: Request) -> Response:
        caller = await doors.identify(request)
        wire = bodies.decode(await doors.body(request), shapes.ChatIn)
        asked = parse.chat(wire, doors.request_id(request))
        form = write.Form(
            asked,
            doors.now_s(),
            old_calls=wire.functions is not None,
            with_usage=bool(wire.stream_options and wire.stream_options.include_usage),
        )
        headers = {sse.REQUEST_ID: asked.id}
        waits = sse.Waits()
        # said, and not only left out: then nothing is kept, nor what is computed for it
        passing = wire.store is False
        events = inference.answer(caller.actor, asked, DIALECT, "chat", on_wait=waits, passing=passing)
        if wire.stream:
            return sse.EventStream(chat_frames(events, form, inference.fingerprint), waits, OPENAI, headers=headers)

        async def whole() -> Response:
            with fields_named():
                choices, usage = write.collect([event async for event in events], asked.choices)
            known = replace(form, fingerprint=inference.fingerprint(asked.model))
            return Json(write.chat_completion(known, choices, usage), headers=headers)

        return await sse.answered(request, whole())

    return [Operation("POST", "/v1/chat/completions", "Answer a conversation.", chat, shapes.ChatIn)]


async def chat_frames(
    events: AsyncGenerator[ChatEvent, None], form: write.Form, fingerprint: Callable[[str], str] | None = None
) -> AsyncGenerator[bytes, None]:
    """`chat.completion.chunk` frames of `events`; the page's own stream uses them too.

    `fingerprint` tells what computes a model's answers, once one is known to be computed.
    """
    writer: write.ChunkWriter | None = None
    async with aclosing(events):
        with fields_named():
            async for event in events:
                if writer is None:
                    known = form if fingerprint is None else replace(form, fingerprint=fingerprint(form.asked.model))
                    writer = write.ChunkWriter(known)
                if isinstance(event, Usage):
                    if form.with_usage:
                        yield frame(writer.usage_chunk(event))
                elif (opening := writer.opening(event)) is None:
                    yield frame(writer.chunk(event))
                else:  # in one piece: the first token is not sent later for it
                    yield frame(opening) + frame(writer.chunk(event))


@contextmanager
def fields_named() -> Iterator[None]:
    """Errors from within name the fields as this dialect does."""
    try:
        yield
    except Misasked as error:
        error.param = _NAMES.get(error.param or "", error.param)
        raise
