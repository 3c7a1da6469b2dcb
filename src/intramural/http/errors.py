"""Errors as HTTP: the only place that knows status numbers, and every dialect's words for them."""

import math
from collections.abc import Mapping
from typing import Any

from intramural.core.errors import (
    Broken,
    Conflicting,
    Flawed,
    IntramuralError,
    Misasked,
    Missing,
    NotOffered,
    QuotaSpent,
    Refused,
    Throttled,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Untrusted,
)
from intramural.http import balances

#: Anthropic's words for a status; what is in neither table is an `api_error`.
_ANTHROPIC: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}

#: What the core calls a parameter → what a dialect calls it, where they differ.
CHAT_NAMES: Mapping[str, str] = {"thinking": "reasoning_effort"}
RESPONSE_NAMES: Mapping[str, str] = {
    "thinking": "reasoning",
    "messages": "input",
    "response_format": "text.format",
    "max_tokens": "max_output_tokens",
}
_ANTHROPIC_NAMES: Mapping[str, str] = {"response_format": "output_config.format", "stop": "stop_sequences"}
_OLLAMA_NAMES: Mapping[str, str] = {"thinking": "think", "response_format": "format", "max_tokens": "num_predict"}

#: First match wins: subclasses stand before their parents.
_STATUS: tuple[tuple[type[IntramuralError], int, str], ...] = (
    (Unauthenticated, 401, "authentication_error"),
    (Missing, 404, "invalid_request_error"),
    (Conflicting, 409, "invalid_request_error"),
    (TooLarge, 413, "invalid_request_error"),
    (Misasked, 400, "invalid_request_error"),
    (Throttled, 429, "rate_limit_error"),
    (Refused, 403, "permission_error"),
    (NotOffered, 501, "not_implemented_error"),
    (Unavailable, 503, "service_unavailable_error"),
    (Untrusted, 503, "untrusted_error"),
    (Broken, 502, "server_error"),
)


def status_of(error: IntramuralError) -> int:
    """The HTTP status of an error."""
    return next((status for kind, status, _ in _STATUS if isinstance(error, kind)), 500)


def _quota(error: IntramuralError) -> dict[str, Any]:
    """How the quota stands that refused, as an extra field."""
    return {"quota": dict(error.quota)} if isinstance(error, QuotaSpent) else {}


def _asked(error: IntramuralError) -> dict[str, Any]:
    """What the policy was asked when it refused, as an extra field."""
    return {"asked": dict(error.asked)} if isinstance(error, Refused) and error.asked else {}


def _named(error: IntramuralError, names: Mapping[str, str]) -> str | None:
    return names.get(error.param, error.param) if error.param else None


def openai_body(error: IntramuralError, names: Mapping[str, str] = CHAT_NAMES) -> dict[str, Any]:
    """OpenAI's error shape; `hint` is an extra field, and part of the message for clients that show only that."""
    kind = next((name for cls, _, name in _STATUS if isinstance(error, cls)), "server_error")
    message = f"{error.message} {error.hint}".strip()
    return {
        "error": {
            "message": message,
            "type": kind,
            "param": _named(error, names),
            "code": error.code,
            "hint": error.hint,
            **_quota(error),
        }
    }


def anthropic_status(error: IntramuralError) -> int:
    """As `status_of`; a service that is overloaded is 529 there."""
    return 529 if isinstance(error, Unavailable) else status_of(error)


def anthropic_body(error: IntramuralError, request_id: str | None = None) -> dict[str, Any]:
    """Anthropic's error shape; `param` and `hint` are extra fields, and the code stands in `details` too."""
    kind = _ANTHROPIC.get(anthropic_status(error), "api_error")
    message = f"{error.message} {error.hint}".strip()
    detail = {
        "type": kind,
        "message": message,
        "details": {"error_code": error.code},
        "code": error.code,
        "param": _named(error, _ANTHROPIC_NAMES),
        "hint": error.hint,
        **_quota(error),
    }
    return {"type": "error", "error": detail, "request_id": request_id}


def ollama_body(error: IntramuralError) -> dict[str, Any]:
    """Ollama's error shape: one text; `code`, `param` and `hint` are extra fields."""
    text = f"{error.message} {error.hint}".strip()
    names = _OLLAMA_NAMES
    return {"error": text, "code": error.code, "param": _named(error, names), "hint": error.hint, **_quota(error)}


def page_body(error: IntramuralError) -> dict[str, Any]:
    """The page's error shape."""
    said: dict[str, Any] = {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "param": error.param,
    }
    if isinstance(error, Flawed):
        said["problems"] = [dict(each) for each in error.problems]
    return {"error": {**said, **_quota(error), **_asked(error)}}


#: SCIM's words for what is wrong with a request (RFC 7644 3.12), by our code; what is in neither table is a value.
_SCIM_TYPES: Mapping[str, str] = {
    "bad_filter": "invalidFilter",
    "bad_path": "invalidPath",
    "no_target": "noTarget",
    "bad_json": "invalidSyntax",
    "nested_too_deep": "invalidSyntax",
    "username_taken": "uniqueness",
    "external_id_taken": "uniqueness",
}


def scim_body(error: IntramuralError) -> dict[str, Any]:
    """SCIM's error shape; the code stands in the sentence, as it has no other place."""
    status = status_of(error)
    kind = _SCIM_TYPES.get(error.code, "invalidValue" if status == 400 else "")
    return {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": str(status),
        **({"scimType": kind} if kind else {}),
        "detail": str(error),
    }


def headers_of(error: IntramuralError) -> Mapping[str, str]:
    """`Retry-After` where waiting helps, `WWW-Authenticate` where a credential does."""
    if isinstance(error, Throttled | Unavailable):
        told = balances.of_error(error) if isinstance(error, QuotaSpent) else {}
        return {"Retry-After": str(max(1, math.ceil(error.retry_after_s))), **told}
    if isinstance(error, Unauthenticated):
        return {"WWW-Authenticate": "Bearer"}
    return {}
