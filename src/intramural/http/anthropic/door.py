"""What every route of the dialect does around its work: a name for the request, and errors that carry it."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from intramural.core.errors import IntramuralError, Misasked
from intramural.http import errors
from intramural.http.doors import Doors
from intramural.http.wire import ANTHROPIC, Wire, frame
from intramural.metering import Dialect

DIALECT: Dialect = "anthropic"
_VERSION = "anthropic-version"
#: Where its clients look for what the request is called.
REQUEST_ID = "request-id"
#: A route's work: the request and its identifier, which is also in the answer's `request-id`.
Work = Callable[[Request, str], Awaitable[Response]]


def is_meant(request: Request) -> bool:
    """Whether a request to a path that two dialects share is in this one."""
    return _VERSION in request.headers


def named(doors: Doors, work: Work) -> Callable[[Request], Awaitable[Response]]:
    """`work` as an endpoint."""

    async def endpoint(request: Request) -> Response:
        request_id = doors.request_id(request)
        try:
            if request.headers.get("anthropic-workspace-id"):
                raise Misasked(
                    "unsupported_parameter", "There are no workspaces here.", "Leave the header out.",
                    param="anthropic-workspace-id",
                )  # fmt: skip
            return await work(request, request_id)
        except IntramuralError as error:
            response = wire(request_id).response(error)
            response.headers.update(headers(request_id))
            return response

    return endpoint


def wire(request_id: str) -> Wire:
    """The dialect's form for one request: its errors say which it was."""

    def frame_error(error: IntramuralError) -> bytes:
        return frame(errors.anthropic_body(error, request_id), "error")

    return replace(ANTHROPIC, body=lambda error: errors.anthropic_body(error, request_id), frame_error=frame_error)


def headers(request_id: str) -> dict[str, str]:
    """What names the request in an answer: as Anthropic's clients read it, and as all of this service's answers do."""
    return {REQUEST_ID: request_id, "X-Request-Id": request_id}


def timestamp(at_ms: int) -> str:
    """A time as Anthropic's API writes it, to the second."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
