"""What each kind of engine takes, and how: our own engine's request in, theirs out. Pure.

A llama-server takes all that our own engine does. Of the others this page knows every field it sends; whatever a kind
cannot honour is refused by name, never dropped.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import msgspec

from intramural.core.chat import ChatRequest
from intramural.core.engines import EngineKind, Remote
from intramural.core.errors import Broken, IntramuralError, Misasked, TooLarge, Unavailable
from intramural.serving.stream import context_exceeded
from intramural.serving.stream import refusal as own_refusal

CHAT: Final = "/v1/chat/completions"
COMPLETIONS: Final = "/v1/completions"
EMBEDDINGS: Final = "/v1/embeddings"
RERANK: Final = "/v1/rerank"
COUNT: Final = f"{CHAT}/input_tokens"
HEALTH: Final = "/health"
MODELS: Final = "/v1/models"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of engine takes. `routes`: ours → its own. `fields`: ours → its own, of generations; None: all, as
    they are. `private`: fields that no client asked for and the kind does not know; they are left out. `more`: what
    every generation is sent besides. `goes_on`: what has it continue an answer that is begun for it; None: it cannot.
    `salted`: it computes beginnings again where the salt is another, so that nobody can tell what others asked.
    """

    routes: Mapping[str, str]
    fields: Mapping[str, str] | None = None
    private: frozenset[str] = frozenset()
    more: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    goes_on: Mapping[str, Any] | None = None
    health: str = HEALTH
    salted: bool = False


_SAME: Final = (CHAT, COMPLETIONS, EMBEDDINGS)
_TOKENS: Final = ("/tokenize", "/detokenize")
_COMMON: Final = (
    "messages", "prompt", "stream", "temperature", "top_p", "presence_penalty", "frequency_penalty", "max_tokens",
    "seed", "logit_bias", "logprobs", "top_logprobs", "tools", "tool_choice", "parallel_tool_calls", "response_format",
)  # fmt: skip
_BATCHED: Final = (*_COMMON, "top_k", "min_p", "chat_template_kwargs")
_PRIVATE: Final = frozenset({"timings_per_token", "return_progress", "stream_options", "id_slot", "cache_prompt"})
_ALL_ALONG: Final = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
_GO_ON: Final = {"continue_final_message": True, "add_generation_prompt": False}

KINDS: Final[Mapping[EngineKind, Kind]] = {
    "llama-server": Kind(
        routes={each: each for each in (*_SAME, RERANK, COUNT, *_TOKENS, "/props", "/apply-template")},
        goes_on={},
    ),
    "vllm": Kind(
        routes={
            **{each: each for each in (*_SAME, RERANK, *_TOKENS)},
            COUNT: "/tokenize",
        },
        fields={**{each: each for each in _BATCHED}, "repeat_penalty": "repetition_penalty"},
        private=_PRIVATE,
        more=_ALL_ALONG,
        goes_on=_GO_ON,
        salted=True,
    ),
    "sglang": Kind(
        routes={each: each for each in _SAME},
        fields={**{each: each for each in _BATCHED}, "repeat_penalty": "repetition_penalty"},
        private=_PRIVATE,
        more=_ALL_ALONG,
        goes_on={"continue_final_message": True},
        salted=True,
    ),
    "openai": Kind(
        routes={each: each for each in _SAME},
        fields={each: each for each in _COMMON},
        private=_PRIVATE,
        more={"stream_options": {"include_usage": True}},
        health=MODELS,
    ),
}  # fmt: skip

#: As clients call what our engine's fields stand for.
_CALLED: Final[Mapping[str, str]] = {
    "reasoning_budget_tokens": "thinking",
    "chat_template_kwargs": "thinking",
    "n_probs": "logprobs",
    "grammar": "response_format",
    "json_schema": "response_format",
}
#: `continue_final_message` and its like belong to the chat route; raw prompts with these are another form there.
_ONLY_CHAT: Final = ("logprobs", "response_format")
_TOO_LONG: Final = re.compile(
    r"maximum context length (?:is|of) (?:only )?(\d{1,9})|longer than the model's context length \((\d{1,9})"
    r"|maximum model length of (\d{1,9})|max_model_len \((\d{1,9})|context length is (?:only )?(\d{1,9})",
    re.IGNORECASE,
)
_THEIR_TOKENS: Final = re.compile(
    r"\((\d{1,9}) in the (?:messages|prompt)|(?:contains? (?:at least )?|request has |resulted in |input \()(\d{1,9}) ",
    re.IGNORECASE,
)
_SCHEMA: Final = re.compile(r"grammar|json.?schema|structured.?output|guided|xgrammar|outlines", re.IGNORECASE)


def refuse(remote: Remote, request: ChatRequest) -> None:
    """Raises Misasked for what no engine elsewhere, or none of this kind, can honour: before anybody waits for it."""
    if request.deterministic:
        raise cannot(remote, "deterministic", "an answer that comes out the same again")
    if remote.engine.kind == "llama-server":
        return
    if request.suffix is not None:
        raise cannot(remote, "suffix", "a text before and after a gap")
    last = request.messages[-1] if request.messages else None
    if last is not None and last.role == "assistant" and KINDS[remote.engine.kind].goes_on is None:
        raise cannot(remote, "messages", "an answer that is begun for it")
    if request.prompt is not None:
        if request.sampling.logprobs:
            raise cannot(remote, "logprobs", "log-probabilities of a raw prompt's continuation")
        if request.response_format.kind != "text":
            raise cannot(remote, "response_format", "a format for a raw prompt's continuation")


def translated(remote: Remote, target: str, body: bytes, salt: str = "") -> tuple[str, bytes]:
    """Our engine's request as this kind takes it; `salt` is its tenant's.

    Raises Misasked(`engine_cannot`) naming the field or the route.
    """
    kind = KINDS[remote.engine.kind]
    if target not in kind.routes:
        raise cannot(remote, None, _ROUTES.get(target, target))
    if not body:
        return kind.routes[target], body
    fields: dict[str, Any] = msgspec.json.decode(body)
    if kind.fields is not None:
        if target in (CHAT, COMPLETIONS):
            fields = _generation(remote, kind, kind.fields, target, fields)
            if kind.salted and salt:
                fields["cache_salt"] = salt
        elif target == COUNT:
            known = ("messages", "tools", "chat_template_kwargs")
            fields = {name: fields[name] for name in known if name in fields}
        elif target == "/tokenize":
            fields = _to_tokenize(remote, fields)
    fields["model"] = remote.model.theirs
    return kind.routes[target], msgspec.json.encode(fields)


def _generation(
    remote: Remote, kind: Kind, known: Mapping[str, str], target: str, fields: Mapping[str, Any]
) -> dict[str, Any]:
    asked: dict[str, Any] = {}
    for name, value in fields.items():
        if name in kind.private:
            continue
        if target == COMPLETIONS and name in _ONLY_CHAT:
            raise cannot(remote, name, f"`{name}` with a raw prompt")
        if name == "chat_template_kwargs" and name not in known and set(value) == {"reasoning_effort"}:
            asked |= value  # as OpenAI calls it, at the top
            continue
        if name not in known:
            called = _CALLED.get(name, name)
            raise cannot(remote, called, f"`{called}`")
        asked[known[name]] = value
    if "logit_bias" in asked:
        asked["logit_bias"] = {str(token): bias for token, bias in asked["logit_bias"]}
    if asked.get("top_k") == 0:
        asked["top_k"] = -1  # as these say "all"
    messages = asked.get("messages") or [{}]
    begun = kind.goes_on if messages[-1].get("role") == "assistant" else None
    return {**asked, **kind.more, **(begun or {})}


def _to_tokenize(remote: Remote, fields: Mapping[str, Any]) -> dict[str, Any]:
    if fields.get("with_pieces"):
        raise cannot(remote, None, "tokens with the bytes they stand for")
    return {"prompt": fields["content"], "add_special_tokens": bool(fields.get("add_special"))}


#: What each route is for, in people's words.
_ROUTES: Final[Mapping[str, str]] = {
    RERANK: "ranking texts",
    COUNT: "counting a conversation's tokens",
    "/tokenize": "showing tokens",
    "/detokenize": "making text of tokens",
    "/apply-template": "showing the prompt that messages make",
}


def cannot(remote: Remote, param: str | None, what: str) -> Misasked:
    """The engine's kind does not do that."""
    return Misasked(
        "engine_cannot",
        f"{remote.model.name} runs on a {remote.engine.kind} engine elsewhere, which does not offer {what}.",
        "Leave it out, or ask a model that runs here.",
        param=param,
    )


class _TheirError(msgspec.Struct):
    message: str = ""
    type: str | None = None


class _TheirBody(msgspec.Struct):
    error: _TheirError | str | None = None
    message: str = ""
    detail: str | list[Any] | None = None


def refusal(remote: Remote, status: int, body: bytes, retry_after_s: float | None) -> IntramuralError:
    """What a response other than 200 stands for: whose fault it is. Of their words only the caller sees any."""
    engine = remote.engine
    if status in (401, 403):
        hint = "An administrator has to mend its key in engines.toml."
        return Broken("engine_key_refused", f"The engine {engine.name} does not accept this service's key.", hint)
    if status in (429, 503):
        wait_s = 1.0 if retry_after_s is None else retry_after_s
        message = f"The engine {engine.name} has too much to do."
        return Unavailable("engine_busy", message, "Try again.", retry_after_s=wait_s)
    if 300 <= status < 400:
        message = f"The engine {engine.name} sends us on to somewhere else, which is never followed."
        return Broken("engine_redirects", message, "An administrator has to name its real address.")
    if status == 413:
        return TooLarge("engine_refused", f"The engine {engine.name} takes no request as large as this one.")
    if status == 404 and not _speaks(body):
        return _no_model(remote)
    if engine.kind == "llama-server" and status != 404:
        return own_refusal(status, body)
    if 400 <= status < 500:
        return _misasked(remote, status, _words(body))
    return Broken("engine_failed", f"The engine {engine.name} failed on this request.", "Try again.")


def _misasked(remote: Remote, status: int, words: str) -> IntramuralError:
    if (limit := _TOO_LONG.search(words)) is not None:
        tokens = _THEIR_TOKENS.search(words)
        most = next(int(each) for each in limit.groups() if each)
        return context_exceeded(int(tokens[1] or tokens[2]) if tokens else None, most)
    if status == 404:
        return _no_model(remote)
    if _SCHEMA.search(words):
        return Misasked(
            "invalid_schema", "The engine cannot enforce this JSON schema.", "Simplify it.", param="response_format"
        )
    return Misasked("engine_refused", f"The engine refused the request: {words[:300] or f'status {status}'}")


def _no_model(remote: Remote) -> Broken:
    return Broken(
        "engine_lacks_model",
        f"The engine {remote.engine.name} does not serve {remote.model.name} (any more).",
        "An administrator has to compare engines.toml with what the engine serves.",
    )


def _speaks(body: bytes) -> bool:
    return bool(_words(body))


def _words(body: bytes) -> str:
    try:
        found = msgspec.json.decode(body, type=_TheirBody)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    error = found.error.message if isinstance(found.error, _TheirError) else found.error
    detail = found.detail if isinstance(found.detail, str) else ""
    return error or found.message or detail


def listed(body: bytes) -> Mapping[str, int | None] | None:
    """The names in an answer of `/v1/models`, with how long a context each has where that is told (vLLM does). None if
    it is no such answer."""
    try:
        found = msgspec.json.decode(body, type=_Listing)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return {name: each.max_model_len for each in found.data for name in (each.id, *each.aliases)}


class _Listed(msgspec.Struct):
    id: str
    aliases: list[str] = []
    max_model_len: int | None = None


class _Listing(msgspec.Struct):
    data: list[_Listed]
