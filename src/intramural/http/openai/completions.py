"""`/v1/completions`, the older way: a text to go on with.

Several prompts are several requests, answered one after another: a batch is not a way past the queue. Choice `index`
counts through all of them.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from intramural.core.chat import ChatEvent, ChatRequest, Delta, Finished, Usage
from intramural.http import bodies, sse
from intramural.http.doors import Doors
from intramural.http.openai import parse, shapes, write
from intramural.http.openai.chat import DIALECT
from intramural.http.operations import Operation
from intramural.http.wire import OPENAI, Json, frame

#: Begins the answer to one of the prompts.
Ask = Callable[[ChatRequest], AsyncGenerator[ChatEvent, None]]


def operations(doors: Doors) -> list[Operation]:
    """Continuing a text."""
    inference = doors.services.inference

    async def completions(request: Request) -> Response:
        caller = await doors.identify(request)
        wire = bodies.decode(await doors.body(request), shapes.CompletionIn)
        asked = parse.completions(wire, doors.request_ids(request).__next__)
        with_usage = bool(wire.stream_options and wire.stream_options.include_usage)
        form = write.Form(asked[0], doors.now_s(), with_usage=with_usage)
        headers = {sse.REQUEST_ID: asked[0].id}
        waits = sse.Waits()

        def ask(one: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
            return inference.answer(caller.actor, one, DIALECT, "completion", on_wait=waits)

        if wire.stream:
            frames = _frames(ask, asked, form, inference.fingerprint, echo=bool(wire.echo))
            return sse.EventStream(frames, waits, OPENAI, headers=headers)

        async def whole() -> Response:
            choices, usage = await _all_prompts(ask, asked, echo=bool(wire.echo))
            body = write.text_head(replace(form, fingerprint=inference.fingerprint(wire.model)))
            body |= {"choices": choices, "usage": write.usage_object(usage)}
            if len(asked) > 1:
                body["receipts"] = [sse.receipt_path(one.id) for one in asked]
            return Json(body, headers=headers)

        return await sse.answered(request, whole())

    return [Operation("POST", "/v1/completions", "Continue a text.", completions, shapes.CompletionIn)]


async def _all_prompts(ask: Ask, asked: Sequence[ChatRequest], *, echo: bool) -> tuple[list[dict[str, Any]], Usage]:
    choices: list[dict[str, Any]] = []
    total = Usage(0, 0)
    for one in asked:
        async with aclosing(ask(one)) as events:
            answers, usage = write.collect([event async for event in events], one.choices)
        prefix = parse.echoed(one) if echo else ""
        for answer in answers:
            choices.append(write.text_choice(len(choices), answer, prefix=prefix, logprobs=one.sampling.logprobs))
        total = _sum(total, usage)
    return choices, total


async def _frames(
    ask: Ask, asked: Sequence[ChatRequest], form: write.Form, fingerprint: Callable[[str], str], *, echo: bool
) -> AsyncGenerator[bytes, None]:
    writer: write.TextWriter | None = None
    total = Usage(0, 0)
    for number, one in enumerate(asked):
        async with aclosing(ask(one)) as events:
            async for event in events:
                if writer is None:
                    writer = write.TextWriter(replace(form, fingerprint=fingerprint(one.model)))
                if isinstance(event, Usage):
                    total = _sum(total, event)
                elif isinstance(event, Delta | Finished):
                    prefix = parse.echoed(one) if echo else ""
                    for chunk in writer.chunks(replace(event, index=event.index + number * one.choices), prefix):
                        yield frame(chunk)
    if writer is not None and form.with_usage:
        yield frame(writer.usage_chunk(total))


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        one.prompt_tokens + other.prompt_tokens,
        one.completion_tokens + other.completion_tokens,
        one.cached_tokens + other.cached_tokens,
        reasoning_tokens=one.reasoning_tokens + other.reasoning_tokens,
    )
