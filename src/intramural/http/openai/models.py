"""`/v1/models`."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from intramural.http.doors import Doors
from intramural.http.operations import Operation


def operations(doors: Doors) -> list[Operation]:
    """Listing models and showing one."""
    models = doors.services.models

    async def listed(request: Request) -> Response:
        caller = await doors.identify(request)
        usable = await models.usable(caller.actor)
        return JSONResponse({"object": "list", "data": [_model(m.name, m.added_ms) for m in usable]})

    async def one(request: Request) -> Response:
        caller = await doors.identify(request)
        manifest = await models.usable_by_name(caller.actor, request.path_params["name"])
        return JSONResponse(_model(manifest.name, manifest.added_ms))

    return [
        Operation("GET", "/v1/models", "The models one may use.", listed),
        Operation("GET", "/v1/models/{name:path}", "One model.", one),
    ]


def _model(name: str, added_ms: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": added_ms // 1000, "owned_by": "intramural"}
