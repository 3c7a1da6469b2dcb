"""`GET /v1/chat/completions` and its kin: chat completions are never stored here, and this says so.

`store: true` is refused by name. What is to be kept is asked for as a response (`/v1/responses`), which is stored.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from intramural.core.errors import Missing
from intramural.http.doors import Doors
from intramural.http.operations import Operation

_PATH = "/v1/chat/completions"


def operations(doors: Doors) -> list[Operation]:
    """An empty list, and nothing in it."""

    async def none(request: Request) -> Response:
        await doors.identify(request)
        return JSONResponse({"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False})

    async def missing(request: Request) -> Response:
        await doors.identify(request)
        raise Missing(
            "completion_not_stored", "Chat completions are not stored here.", "Use /v1/responses, which can be kept."
        )

    one = f"{_PATH}/{{id}}"
    return [
        Operation("GET", _PATH, "The stored chat completions: none, ever.", none),
        Operation("GET", one, "A stored chat completion: there is none.", missing),
        Operation("POST", one, "Change a stored chat completion: there is none.", missing),
        Operation("DELETE", one, "Delete a stored chat completion: there is none.", missing),
        Operation("GET", f"{one}/messages", "Messages of a stored chat completion: there is none.", missing),
    ]
