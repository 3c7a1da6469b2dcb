"""Anthropic's errors: their types and statuses, and that each names its request."""

import json

import pytest
from anthropic.types.shared import ErrorResponse

from intramural.core.errors import (
    Broken,
    Conflicting,
    IntramuralError,
    Misasked,
    Missing,
    Refused,
    Throttled,
    Unauthenticated,
    Unavailable,
    Untrusted,
)
from intramural.http.anthropic import door


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (Misasked("c", "No."), 400, "invalid_request_error"),
        (Unauthenticated("c", "No."), 401, "authentication_error"),
        (Refused("c", "No."), 403, "permission_error"),
        (Missing("c", "No."), 404, "not_found_error"),
        (Conflicting("c", "No."), 409, "invalid_request_error"),
        (Throttled("c", "No.", retry_after_s=3), 429, "rate_limit_error"),
        (Unavailable("c", "No.", retry_after_s=3), 529, "overloaded_error"),
        (Untrusted("c", "No."), 503, "api_error"),
        (Broken("c", "No."), 502, "api_error"),
    ],
)
def test_errors(error: IntramuralError, status: int, kind: str) -> None:
    response = door.wire("req_1").response(error)
    body = json.loads(bytes(response.body))
    assert response.status_code == status
    assert (body["error"]["type"], body["request_id"]) == (kind, "req_1")
    assert body["error"]["details"] == {"error_code": "c"}
    assert ("retry-after" in response.headers) == (status in (429, 529))
    ErrorResponse.model_validate(body, strict=True)
    frame = door.wire("req_1").frame_error(error).decode()
    assert frame.startswith("event: error\ndata: ")
    assert json.loads(frame.partition("data: ")[2]) == body
