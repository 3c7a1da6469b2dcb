"""`/v1/completions`, the older way: a text to go on with."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from intramural.core.actor import Actor
from intramural.core.chat import ChatEvent, ChatRequest, Delta, Finished, Usage
from intramural.http import bodies, sse
from intramural.http.doors import Doors
from intramural.http.openai import parse, shapes, write
from intramural.http.openai.chat import DIALECT
from intramural.http.operations import Operation
from intramural.http.wire import OPENAI, frame
from intramural.services import Inference


def operations(doors: Doors) -> list[Operation]:
    """Continuing a text."""
    inference = doors.services.inference

    async def completions(request: Request) -> Response:
        caller = await doors.identify(request)
        wire = bodies.decode(await doors.body(request), shapes.CompletionIn)
        asked = parse.completions(wire, doors.new_id)
        created_s = doors.now_s()
        headers = {"X-Request-Id": asked[0].id}
        if wire.stream:
            waits = sse.Waits()
            events = inference.answer(caller.actor, asked[0], DIALECT, "completion", on_wait=waits)
            with_usage = bool(wire.stream_options and wire.stream_options.include_usage)
            frames = _text_frames(events, asked[0], created_s, echo=bool(wire.echo), with_usage=with_usage)
            return sse.EventStream(frames, waits, OPENAI, headers=headers)

        async def whole() -> Response:
            body = await _all_prompts(inference, caller.actor, asked, created_s, echo=bool(wire.echo))
            return JSONResponse(body, headers=headers)

        return await sse.answered(request, whole())

    return [Operation("POST", "/v1/completions", "Continue a text.", completions, shapes.CompletionIn)]


async def _all_prompts(
    inference: Inference, actor: Actor, asked: tuple[ChatRequest, ...], created_s: int, *, echo: bool
) -> dict[str, Any]:
    """The prompts one after another: a batch is not a way past the queue."""
    choices: list[dict[str, Any]] = []
    total = Usage(0, 0)
    for one in asked:
        events = [e async for e in inference.answer(actor, one, DIALECT, "completion")]
        answers, usage = write.collect(events, one.choices)
        prefix = parse.echoed(one) if echo else ""
        for answer in answers:
            choices.append(write.text_choice(len(choices), answer, prefix=prefix, logprobs=one.sampling.logprobs))
        total = Usage(
            total.prompt_tokens + usage.prompt_tokens,
            total.completion_tokens + usage.completion_tokens,
            total.cached_tokens + usage.cached_tokens,
        )
    return write.text_completion(asked[0].id, asked[0].model, created_s, choices, total)


async def _text_frames(
    events: AsyncGenerator[ChatEvent, None], asked: ChatRequest, created_s: int, *, echo: bool, with_usage: bool
) -> AsyncGenerator[bytes, None]:
    head = write.text_head(asked.id, asked.model, created_s)
    prefix = parse.echoed(asked) if echo else ""
    offsets: dict[int, int] = {}
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Delta | Finished):
                if event.index not in offsets:
                    offsets[event.index] = len(prefix)
                    if prefix:
                        said = write.text_chunk_choice(Delta(event.index, prefix), 0, logprobs=False)
                        yield frame({**head, "choices": [said]})
                choice = write.text_chunk_choice(event, offsets[event.index], logprobs=asked.sampling.logprobs)
                offsets[event.index] += len(choice["text"])
                yield frame({**head, "choices": [choice]})
            elif isinstance(event, Usage) and with_usage:
                yield frame({**head, "choices": [], "usage": write.usage_object(event)})
