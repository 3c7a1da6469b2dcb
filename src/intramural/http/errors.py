"""Errors as HTTP: the only place that knows status numbers."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

from intramural.core.errors import (
    Broken,
    Conflicting,
    IntramuralError,
    Misasked,
    Missing,
    Refused,
    Throttled,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Untrusted,
)

#: First match wins: subclasses stand before their parents.
_STATUS: tuple[tuple[type[IntramuralError], int, str], ...] = (
    (Unauthenticated, 401, "authentication_error"),
    (Missing, 404, "invalid_request_error"),
    (Conflicting, 409, "invalid_request_error"),
    (TooLarge, 413, "invalid_request_error"),
    (Misasked, 400, "invalid_request_error"),
    (Throttled, 429, "rate_limit_error"),
    (Refused, 403, "permission_error"),
    (Unavailable, 503, "service_unavailable_error"),
    (Untrusted, 503, "untrusted_error"),
    (Broken, 502, "server_error"),
)


def status_of(error: IntramuralError) -> int:
    """The HTTP status of an error."""
    return next((status for kind, status, _ in _STATUS if isinstance(error, kind)), 500)


def openai_body(error: IntramuralError) -> dict[str, Any]:
    """OpenAI's error shape; `hint` is an extra field, and part of the message for clients that show only that."""
    kind = next((name for cls, _, name in _STATUS if isinstance(error, cls)), "server_error")
    message = f"{error.message} {error.hint}".strip()
    return {"error": {"message": message, "type": kind, "param": error.param, "code": error.code, "hint": error.hint}}


def page_body(error: IntramuralError) -> dict[str, Any]:
    """The page's error shape."""
    return {"error": {"code": error.code, "message": error.message, "hint": error.hint, "param": error.param}}


def headers_of(error: IntramuralError) -> Mapping[str, str]:
    """`Retry-After` where waiting helps, `WWW-Authenticate` where a credential does."""
    if isinstance(error, Throttled | Unavailable):
        return {"Retry-After": str(max(1, round(error.retry_after_s)))}
    if isinstance(error, Unauthenticated):
        return {"WWW-Authenticate": "Bearer"}
    return {}


def openai_response(error: IntramuralError) -> Response:
    return JSONResponse(openai_body(error), status_of(error), headers_of(error))


def page_response(error: IntramuralError) -> Response:
    return JSONResponse(page_body(error), status_of(error), headers_of(error))


def response_for(path: str, error: IntramuralError) -> Response:
    """The error in the dialect that `path` belongs to."""
    return openai_response(error) if path.startswith("/v1/") else page_response(error)
