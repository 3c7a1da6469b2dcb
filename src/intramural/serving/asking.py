"""How a request is put to a model: what is decided before it is loaded, and what once it is known what it can do."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

import msgspec
from msgspec.structs import replace

from intramural.core.chat import ChatRequest, Thinking
from intramural.core.errors import Misasked
from intramural.serving import formatted
from intramural.serving.images import check as check_images
from intramural.serving.model import ModelToServe
from intramural.serving.remote.fields import refuse
from intramural.serving.request import build, check, look_back, may_think, thinking_fields
from intramural.serving.schema import Bounds
from intramural.serving.tools import Drive, drive, plain
from intramural.serving.traits import Asking, Prompt, Tokens

#: Models below this plan are taken for small ones, which ramble where a schema leaves room.
_SMALL_BYTES = 2 * 2**30
_SMALL_BOUNDS = Bounds(string_chars=256, items=8, calls=2, members=6, decimals=6)
_BOUNDS = Bounds(string_chars=16384, items=256, calls=16)

_Got = TypeVar("_Got")


class _Count(msgspec.Struct):
    """`count` is vLLM's word."""

    input_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    count: Annotated[int, msgspec.Meta(ge=0)] | None = None


def put(model: ModelToServe, request: ChatRequest) -> tuple[Drive | None, ChatRequest]:
    """How `request` is put to `model`: what reads its answer, if tools may be called, and what is really asked.

    Raises Misasked for what is wrong with it, as far as that is known before the model is loaded.
    """
    check(request)
    if model.remote is not None:
        refuse(model.remote, request)
    if check_images(request.messages) and not model.reads_images:
        raise reads_no_images(model)
    request = look_back(request, model.plan.context_tokens)
    formatted.check(request.response_format)
    driven = drive(request, _SMALL_BOUNDS if is_small(model) else _BOUNDS)
    if driven is not None:
        return driven, driven.request
    if any(message.tool_calls or message.role == "tool" for message in request.messages):
        request = replace(request, messages=plain(request.messages))
    left = request.sampling.max_tokens
    asked = formatted.narrowed(request.response_format, small=is_small(model), max_tokens=left)
    return None, replace(request, tools=(), response_format=asked)


def is_small(model: ModelToServe) -> bool:
    """Whether it rambles where a schema leaves room."""
    return model.remote is None and model.plan.memory_bytes < _SMALL_BYTES


def reads_no_images(model: ModelToServe) -> Misasked:
    """`model` was shown one."""
    return Misasked(
        "model_reads_no_images", f"{model.name} reads text, not images.", "Ask a model that comes with a projector.",
        param="messages",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Way:
    """One way to ask a model that is loaded. `exact`: the engine's exact compiler holds the answer to its schema."""

    drive: Drive | None
    request: ChatRequest
    exact: bool


async def ways_of(lease: Asking, driven: Drive | None, request: ChatRequest, *, small: bool) -> Sequence[Way]:
    """The ways to ask, best first: a template that knows tools tells of them by itself, and the exact compiler
    enforces most. Either may be beyond the engine (`invalid_schema`), which then is asked in the next way."""
    pairs: list[tuple[Drive | None, ChatRequest]] = [(driven, request)]
    if driven is not None and driven.native is not None and (await lease.traits()).tools:
        pairs.insert(0, (driven.native, driven.native.request))
    ways: list[Way] = []
    for how, asked in pairs:
        if (
            formatted.exactly(asked.response_format, small=small)
            and (traits := await lease.traits()).grammars
            and (asked.prompt is not None or not may_think(asked.thinking, traits))
        ):
            ways.append(Way(how, asked, exact=True))
        ways.append(Way(how, asked, exact=False))
    return ways


async def first_of(ways: Sequence[Way], ask: Callable[[Way], Awaitable[_Got]]) -> _Got:
    """What `ask` gets in the first way that is not beyond the engine."""
    for way in ways[:-1]:
        try:
            return await ask(way)
        except Misasked as error:
            if error.code != "invalid_schema":
                raise
    return await ask(ways[-1])


async def rendered(lease: Asking, model: ModelToServe, request: ChatRequest) -> str:
    """The prompt that the messages of `request` make, with all that is added to them: tools, thinking.

    Raises what asking it would.
    """

    async def ask(way: Way) -> str:
        _, body = await _chat_body(lease, way.request)
        return (await lease.whole("/apply-template", msgspec.Raw(body), Prompt)).prompt

    return await first_of(await ways_of(lease, *put(model, request), small=is_small(model)), ask)


async def count_tokens(lease: Asking, model: ModelToServe, request: ChatRequest) -> int:
    """How many prompt tokens `request` makes, with all that is added to it: tools, thinking, pictures.

    Raises what asking it would.
    """
    if isinstance(request.prompt, str):
        prompt = {"content": request.prompt, "add_special": True, "parse_special": True}
        return len((await lease.whole("/tokenize", prompt, Tokens)).tokens)
    if request.prompt is not None:
        return len(request.prompt)

    async def ask(way: Way) -> int:
        target, body = await _chat_body(lease, way.request)
        found = await lease.whole(f"{target}/input_tokens", msgspec.Raw(body), _Count)
        return (found.count if found.input_tokens is None else found.input_tokens) or 0

    return await first_of(await ways_of(lease, *put(model, request), small=is_small(model)), ask)


async def _chat_body(lease: Asking, asked: ChatRequest) -> tuple[str, bytes]:
    fields = thinking_fields(asked.thinking, await lease.traits()) if asked.thinking != Thinking() else {}
    return build(asked, 0, fields)
