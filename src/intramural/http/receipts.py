"""`/v1/receipts`: what the log holds of an answer, signed and proved. Every answer names its own."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from intramural.http.doors import Doors
from intramural.http.operations import Operation


def operations(doors: Doors) -> list[Operation]:
    """Handing a receipt out."""
    receipts = doors.services.receipts

    async def one(request: Request) -> Response:
        caller = await doors.identify(request)
        return JSONResponse(await receipts.get(caller.actor, request.path_params["id"]))

    return [Operation("GET", "/v1/receipts/{id}", "The signed record of one answer.", one)]
