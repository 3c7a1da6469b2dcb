"""For developers: what a text's tokens are, what tokens say, and what a conversation looks like to the model.

`/v1/tokenize`, `/v1/detokenize` and `/v1/apply-template` (also without `/v1`, as vLLM and llama.cpp's server have
them). Bodies are as theirs: `content` is llama.cpp's word, `prompt` vLLM's, and each gets the answer it expects.
"""

from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from intramural.core.actor import Actor
from intramural.core.chat import ChatRequest
from intramural.core.errors import Misasked
from intramural.http import bodies, sse
from intramural.http.checks import bad
from intramural.http.doors import Doors
from intramural.http.openai import parse, shapes
from intramural.http.operations import Operation
from intramural.services import Inference, Models
from intramural.serving import Token

MAX_TOKENS = 2**20


class TokenizeIn(msgspec.Struct, forbid_unknown_fields=True):
    """A text (`content` or `prompt`) or a conversation (`messages`), and how to read it.

    llama.cpp's: content, add_special, parse_special, with_pieces. vLLM's: prompt or messages, add_special_tokens,
    return_token_strs, add_generation_prompt, continue_final_message, tools.
    """

    model: str
    content: str | None = None
    prompt: str | None = None
    messages: list[shapes.MessageIn] | None = None
    tools: list[shapes.ToolIn] | None = None
    add_special: bool | None = None
    add_special_tokens: bool | None = None
    parse_special: bool | None = None
    with_pieces: bool | None = None
    return_token_strs: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None


class DetokenizeIn(msgspec.Struct, forbid_unknown_fields=True):
    model: str
    tokens: list[int]


class TemplateIn(msgspec.Struct, forbid_unknown_fields=True):
    """A conversation as a chat completion has it."""

    model: str
    messages: list[shapes.MessageIn]
    tools: list[shapes.ToolIn] | None = None
    tool_choice: Literal["none", "auto", "required"] | shapes.NamedChoice | None = None
    response_format: shapes.FormatIn | None = None


def operations(doors: Doors) -> list[Operation]:
    """Tokenizing, the way back, and templates."""
    inference, models = doors.services.inference, doors.services.models

    async def tokenize(request: Request) -> Response:
        caller = await doors.identify(request)
        wire = bodies.decode(await doors.body(request), TokenizeIn)
        request_id = doors.new_id()
        return await sse.answered(request, _tokenized(inference, models, caller.actor, wire, request_id), receipt=False)

    async def detokenize(request: Request) -> Response:
        caller = await doors.identify(request)
        wire = bodies.decode(await doors.body(request), DetokenizeIn)
        if len(wire.tokens) > MAX_TOKENS:
            raise bad("tokens", f"`tokens` has {len(wire.tokens)} entries.", f"Send at most {MAX_TOKENS}.")
        request_id = doors.new_id()

        async def whole() -> Response:
            text = await inference.detokenize(caller.actor, wire.model, wire.tokens, request_id)
            return JSONResponse({"content": text, "prompt": text}, headers=_headers(request_id))

        return await sse.answered(request, whole(), receipt=False)

    async def template(request: Request) -> Response:
        caller = await doors.identify(request)
        wire = bodies.decode(await doors.body(request), TemplateIn)
        asked = _conversation(
            wire.model, wire.messages, wire.tools, doors.new_id(),
            tool_choice=wire.tool_choice, response_format=wire.response_format,
        )  # fmt: skip

        async def whole() -> Response:
            return JSONResponse({"prompt": await inference.rendered(caller.actor, asked)}, headers=_headers(asked.id))

        return await sse.answered(request, whole(), receipt=False)

    listed = (
        ("/tokenize", "A text's tokens.", tokenize, TokenizeIn),
        ("/detokenize", "The text that tokens stand for.", detokenize, DetokenizeIn),
        ("/apply-template", "A conversation as the model reads it.", template, TemplateIn),
    )
    return [
        Operation("POST", prefix + path, summary, endpoint, shape)
        for prefix in ("/v1", "")
        for path, summary, endpoint, shape in listed
    ]


async def _tokenized(inference: Inference, models: Models, actor: Actor, wire: TokenizeIn, request_id: str) -> Response:
    given = [each for each in (wire.content, wire.prompt, wire.messages) if each is not None]
    if len(given) != 1:
        raise bad("content", "One of `content`, `prompt` and `messages` is needed.", "Send exactly one of them.")
    if wire.messages is not None:
        asked = _conversation(wire.model, wire.messages, wire.tools, request_id)
        _check_end(wire, asked)
        text, special, marks = await inference.rendered(actor, asked), False, True
    else:
        text = wire.content if wire.content is not None else wire.prompt or ""
        special, marks = wire.prompt is not None, wire.parse_special is not False
    for said in (wire.add_special, wire.add_special_tokens):
        special = special if said is None else said
    tokens = await inference.tokenize(actor, wire.model, text, request_id, special=special, marks=marks)
    body: dict[str, Any] = {
        "tokens": [_with_piece(each) for each in tokens] if wire.with_pieces else [each.id for each in tokens],
        "count": len(tokens),
        "max_model_len": models.context_tokens(models.manifest(wire.model)),
    }
    if wire.return_token_strs:
        body["token_strs"] = [each.piece.decode("utf-8", "replace") for each in tokens]
    return JSONResponse(body, headers=_headers(request_id))


def _with_piece(token: Token) -> dict[str, Any]:
    """A piece that is no text by itself is given as its bytes."""
    try:
        return {"id": token.id, "piece": token.piece.decode("utf-8")}
    except UnicodeDecodeError:
        return {"id": token.id, "piece": list(token.piece)}


def _conversation(
    model: str, messages: list[shapes.MessageIn], tools: list[shapes.ToolIn] | None, request_id: str, **more: Any
) -> ChatRequest:
    """As a chat completion would be asked."""
    return parse.chat(shapes.ChatIn(model=model, messages=messages, tools=tools, **more), request_id)


def _check_end(wire: TokenizeIn, asked: ChatRequest) -> None:
    """A conversation ends where the answer begins, or with the assistant's words that it goes on from."""
    if wire.add_generation_prompt is False:
        raise _unsupported("add_generation_prompt")
    if wire.continue_final_message is not None:
        continued = asked.messages[-1].role == "assistant"
        if wire.continue_final_message is not continued:
            raise _unsupported("continue_final_message")


def _headers(request_id: str) -> dict[str, str]:
    return {"X-Request-Id": request_id}


def _unsupported(field: str) -> Misasked:
    return Misasked("unsupported_parameter", f"`{field}` cannot be had so here.", "Leave it out.", param=field)
