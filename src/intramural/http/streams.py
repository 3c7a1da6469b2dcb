"""`/v1/streams`: going on with a stream after the connection broke, from the last event that was seen."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from intramural.core.errors import Misasked
from intramural.http import sse
from intramural.http.doors import Doors
from intramural.http.operations import Operation

_DIGITS = 15


def operations(doors: Doors) -> list[Operation]:
    """Following one's own stream, and cancelling it."""
    inference, streams = doors.services.inference, doors.streams

    async def follow(request: Request) -> Response:
        caller = await doors.identify(request)
        request_id = request.path_params["id"]
        held = streams.get(request_id, caller.actor)
        await inference.may_follow(caller.actor, request_id)
        events = held.follow(_after(request.headers.get("last-event-id", "0")))
        headers = {sse.REQUEST_ID: request_id, sse.STREAM: sse.stream_path(request_id)}
        return sse.EventStream(events, held.waits, held.wire, headers=headers)

    async def cancel(request: Request) -> Response:
        caller = await doors.identify(request)
        request_id = request.path_params["id"]
        streams.get(request_id, caller.actor)
        await inference.may_follow(caller.actor, request_id, cancel=True)
        await streams.cancel(request_id)
        return JSONResponse({"id": request_id, "object": "stream", "deleted": True})

    return [
        Operation("GET", "/v1/streams/{id}", "Follow one's own stream from an event on (`Last-Event-ID`).", follow,
                  media_type="text/event-stream"),
        Operation("DELETE", "/v1/streams/{id}", "Cancel one's own stream.", cancel),
    ]  # fmt: skip


def _after(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise Misasked("bad_parameter", "`Last-Event-ID` is no number.", "Send the last `id:`.", param="Last-Event-ID")
    return int(text)
