"""`/v1/models` as Anthropic's clients ask for it: newest first, in pages."""

from collections.abc import Callable, Sequence
from typing import Any

from starlette.requests import Request

from intramural.core.errors import Misasked
from intramural.http.abilities import can_chat, can_see, can_think
from intramural.http.anthropic.door import timestamp
from intramural.library import Manifest

_LIMIT = 20
_MAX_LIMIT = 1000


def model(manifest: Manifest, context_tokens: int | None) -> dict[str, Any]:
    """One model; `context_tokens` is what its prompt and its answer may be together, None if it does not fit here."""
    return {
        "type": "model",
        "id": manifest.name,
        "display_name": manifest.name,
        "created_at": timestamp(manifest.added_ms),
        "lifecycle": "active",
        "deprecated_at": None,
        "retires_at": None,
        "line": None,
        "max_input_tokens": context_tokens,
        "max_tokens": context_tokens,
        "capabilities": _capabilities(manifest),
    }


def _capabilities(manifest: Manifest) -> dict[str, Any]:
    chats, thinks = can_chat(manifest), can_think(manifest)
    return {
        "batch": _supported(chats),
        "citations": _supported(False),
        "code_execution": _supported(False),
        "context_management": {
            "supported": False,
            **dict.fromkeys(
                ("clear_thinking_20251015", "clear_tool_uses_20250919", "compact_20260112"), _supported(False)
            ),
        },
        "effort": {
            "supported": thinks,
            # the highest three are one
            **{degree: _supported(thinks) for degree in ("low", "medium", "high", "xhigh", "max")},
        },
        "image_input": _supported(can_see(manifest)),
        "pdf_input": _supported(False),
        "server_tools": {
            "supported": False,
            "code_execution": _supported(False),
            "web_search": _supported(False),
        },
        "structured_outputs": _supported(chats),
        "thinking": {
            "supported": thinks,
            "types": {
                "adaptive": _supported(thinks),
                "between_tools": _supported(False),
                "disabled": _supported(True),
                "enabled": _supported(thinks),
            },
        },
    }


def _supported(yes: bool) -> dict[str, bool]:
    return {"supported": yes}


def page(
    manifests: Sequence[Manifest], request: Request, context_tokens: Callable[[Manifest], int | None]
) -> dict[str, Any]:
    """A page of them, as the query asks. Raises Misasked naming the parameter."""
    query = request.query_params
    wanted = query.getlist("lifecycle[]") + query.getlist("lifecycle")
    listed = manifests if not wanted or "active" in wanted else []
    ordered = sorted(listed, key=lambda each: (-each.added_ms, each.name))
    names = [each.name for each in ordered]
    limit = _limit(query.get("limit"))
    begin, end = 0, len(ordered)
    if after := query.get("after_id"):
        begin = _place(names, after, "after_id") + 1
    if before := query.get("before_id"):
        end = _place(names, before, "before_id")
        begin = max(begin, end - limit)
    shown = ordered[begin:end][:limit]
    left = begin > 0 if query.get("before_id") else begin + len(shown) < end
    return {
        "data": [model(each, context_tokens(each)) for each in shown],
        "has_more": left,
        "first_id": shown[0].name if shown else None,
        "last_id": shown[-1].name if shown else None,
    }


def _limit(given: str | None) -> int:
    if given is None:
        return _LIMIT
    if not (given.isascii() and given.isdecimal() and len(given) < 5 and 1 <= int(given) <= _MAX_LIMIT):
        raise Misasked("bad_parameter", f"`limit` is {given!r}.", f"It must be from 1 to {_MAX_LIMIT}.", param="limit")
    return int(given)


def _place(names: Sequence[str], name: str, param: str) -> int:
    if name not in names:
        raise Misasked("bad_parameter", f"`{param}` names no model: {name!r}.", "Send one of the list.", param=param)
    return names.index(name)
