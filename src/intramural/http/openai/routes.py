"""The routes of the OpenAI dialect."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from intramural.core.actor import Actor
from intramural.core.chat import ChatEvent, ChatRequest, Delta, Finished, Usage
from intramural.core.ids import new_id
from intramural.http import bodies, sse
from intramural.http.doors import Doors
from intramural.http.errors import openai_body, openai_response
from intramural.http.openai import parse, shapes, write
from intramural.metering import Dialect

DIALECT: Dialect = "openai"
_DONE = b"data: [DONE]\n\n"


def routes(doors: Doors) -> list[Route]:
    """Every route of this dialect."""
    door = _Door(doors)
    return [
        Route("/v1/models", door.models, methods=["GET"]),
        Route("/v1/models/{name:path}", door.model, methods=["GET"]),
        Route("/v1/chat/completions", door.chat, methods=["POST"]),
        Route("/v1/completions", door.completions, methods=["POST"]),
        Route("/v1/embeddings", door.embeddings, methods=["POST"]),
    ]


class _Door:
    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._models = doors.services.models
        self._inference = doors.services.inference

    def _new_id(self) -> str:
        return new_id("req", self._doors.clock)

    def _now_s(self) -> int:
        return int(self._doors.clock.now_s())

    async def models(self, request: Request) -> Response:
        caller = await self._doors.identify(request)
        usable = await self._models.usable(caller.actor)
        return JSONResponse({"object": "list", "data": [_model_object(m.name, m.added_ms) for m in usable]})

    async def model(self, request: Request) -> Response:
        caller = await self._doors.identify(request)
        manifest = await self._models.usable_by_name(caller.actor, request.path_params["name"])
        return JSONResponse(_model_object(manifest.name, manifest.added_ms))

    async def chat(self, request: Request) -> Response:
        caller = await self._doors.identify(request)
        wire = bodies.decode(await self._doors.body(request), shapes.ChatIn)
        asked = parse.chat(wire, self._new_id())
        created_s = self._now_s()
        headers = {"X-Request-Id": asked.id}
        if wire.stream:
            waits = sse.Waits()
            events = self._inference.answer(caller.actor, asked, DIALECT, "chat", on_wait=waits)
            with_usage = bool(wire.stream_options and wire.stream_options.include_usage)
            return _stream(chat_frames(events, asked, created_s, with_usage=with_usage), waits, headers)

        async def whole() -> Response:
            events = [e async for e in self._inference.answer(caller.actor, asked, DIALECT, "chat")]
            choices, usage = write.collect(events, asked.choices)
            body = write.chat_completion(
                asked.id, asked.model, created_s, choices, usage, logprobs=asked.sampling.logprobs
            )
            return JSONResponse(body, headers=headers)

        return await sse.answered(request, whole())

    async def completions(self, request: Request) -> Response:
        caller = await self._doors.identify(request)
        wire = bodies.decode(await self._doors.body(request), shapes.CompletionIn)
        asked = parse.completions(wire, self._new_id)
        created_s = self._now_s()
        headers = {"X-Request-Id": asked[0].id}
        if wire.stream:
            waits = sse.Waits()
            events = self._inference.answer(caller.actor, asked[0], DIALECT, "completion", on_wait=waits)
            with_usage = bool(wire.stream_options and wire.stream_options.include_usage)
            frames = _text_frames(events, asked[0], created_s, echo=bool(wire.echo), with_usage=with_usage)
            return _stream(frames, waits, headers)

        async def whole() -> Response:
            body = await self._all_prompts(caller.actor, asked, created_s, echo=bool(wire.echo))
            return JSONResponse(body, headers=headers)

        return await sse.answered(request, whole())

    async def _all_prompts(
        self, actor: Actor, asked: tuple[ChatRequest, ...], created_s: int, *, echo: bool
    ) -> dict[str, Any]:
        """The prompts one after another: a batch is not a way past the queue."""
        choices: list[dict[str, Any]] = []
        total = Usage(0, 0)
        for one in asked:
            events = [e async for e in self._inference.answer(actor, one, DIALECT, "completion")]
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

    async def embeddings(self, request: Request) -> Response:
        caller = await self._doors.identify(request)
        wire = bodies.decode(await self._doors.body(request), shapes.EmbeddingIn)
        inputs = parse.embeddings(wire)
        request_id = self._new_id()

        async def whole() -> Response:
            result = await self._inference.embed(caller.actor, wire.model, inputs, DIALECT, request_id)
            body = write.embedding_list(wire.model, result, as_base64=wire.encoding_format == "base64")
            return JSONResponse(body, headers={"X-Request-Id": request_id})

        return await sse.answered(request, whole())


def _model_object(name: str, added_ms: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": added_ms // 1000, "owned_by": "intramural"}


def _stream(frames: AsyncGenerator[bytes, None], waits: sse.Waits, headers: dict[str, str]) -> Response:
    return sse.EventStream(
        frames,
        waits,
        end=_DONE,
        error_frame=lambda error: sse.frame(openai_body(error)),
        error_response=openai_response,
        headers=headers,
    )


async def chat_frames(
    events: AsyncGenerator[ChatEvent, None], asked: ChatRequest, created_s: int, *, with_usage: bool
) -> AsyncGenerator[bytes, None]:
    """`chat.completion.chunk` frames of `events`; the page's own stream uses them too."""
    writer = write.ChunkWriter(asked.id, asked.model, created_s, logprobs=asked.sampling.logprobs)
    async with aclosing(events):
        async for event in events:
            if not isinstance(event, Usage):
                yield sse.frame(writer.chunk(event))
            elif with_usage:
                yield sse.frame(writer.usage_chunk(event))


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
                        yield sse.frame({**head, "choices": [said]})
                choice = write.text_chunk_choice(event, offsets[event.index], logprobs=asked.sampling.logprobs)
                offsets[event.index] += len(choice["text"])
                yield sse.frame({**head, "choices": [choice]})
            elif isinstance(event, Usage) and with_usage:
                yield sse.frame({**head, "choices": [], "usage": write.usage_object(event)})
