"""What a response object repeats of its request."""

from typing import Any

from intramural.core.chat import ChatRequest
from intramural.http.openai.responses import shapes


def of(wire: shapes.CreateIn, request: ChatRequest, *, store: bool) -> dict[str, Any]:
    """The response object before there is anything to say. `created_at` is for whoever writes it."""
    conversation = conversation_id(wire.conversation)
    effort = wire.reasoning.effort if wire.reasoning else None
    return {
        "id": response_id(request.id),
        "object": "response",
        "created_at": 0,
        "completed_at": None,
        "status": "in_progress",
        "background": bool(wire.background),
        "conversation": None if conversation is None else {"id": conversation},
        "error": None,
        "frequency_penalty": wire.frequency_penalty or 0.0,
        "incomplete_details": None,
        "instructions": wire.instructions,
        "max_output_tokens": wire.max_output_tokens,
        "max_tool_calls": wire.max_tool_calls,
        "metadata": wire.metadata or {},
        "model": wire.model,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls,
        "presence_penalty": wire.presence_penalty or 0.0,
        "previous_response_id": wire.previous_response_id,
        "prompt_cache_key": wire.prompt_cache_key,
        "reasoning": {"effort": effort, "summary": summary(wire.reasoning), "context": "auto", "mode": "standard"},
        "safety_identifier": wire.safety_identifier,
        "service_tier": "default",
        "store": store,
        "temperature": request.sampling.temperature,
        "text": {"format": _format_echo(wire.text), "verbosity": "medium"},
        "tool_choice": _choice_echo(wire.tool_choice, bool(wire.tools)),
        "tools": [_tool_echo(raw) for raw in wire.tools or []],
        "top_logprobs": request.sampling.top_logprobs,
        "top_p": request.sampling.top_p,
        "truncation": wire.truncation or "disabled",
        "usage": None,
        "user": wire.user,
    }


def _format_echo(wire: shapes.TextIn | None) -> dict[str, Any]:
    if wire is None or wire.format is None or wire.format.type == "text":
        return {"type": "text"}
    if wire.format.type == "json_object":
        return {"type": "json_object"}
    return {
        "type": "json_schema",
        "name": wire.format.name or "answer",
        "description": wire.format.description,
        "schema": wire.format.schema,
        "strict": wire.format.strict is not False,
    }


def _choice_echo(wire: str | shapes.ChoiceIn | None, tools: bool) -> Any:
    if wire is None:
        return "auto"
    if isinstance(wire, str):
        return wire
    if wire.type == "function":
        return {"type": "function", "name": wire.name}
    named = [{"type": each.type, "name": each.name} for each in wire.tools or ()]
    return {"type": "allowed_tools", "mode": wire.mode or "auto", "tools": named}


def _tool_echo(raw: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "function",
        "name": raw["name"],
        "description": raw.get("description"),
        "parameters": raw.get("parameters"),
        "strict": raw.get("strict"),
    }


def response_id(request_id: str) -> str:
    """The response's name: the request's, so that its record in the log and its receipt are found by it."""
    return "resp_" + request_id.partition("_")[2]


def conversation_id(given: str | shapes.ConversationRef | None) -> str | None:
    """The conversation's name, whichever way it was given."""
    return given.id if isinstance(given, shapes.ConversationRef) else given


def summary(wire: shapes.ReasoningIn | None) -> str | None:
    """How thinking shall be summarised, if at all."""
    return None if wire is None else wire.summary or wire.generate_summary
