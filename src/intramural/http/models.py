"""`/v1/models`, which two dialects share: whoever sends `anthropic-version` is answered in Anthropic's form."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from intramural.http.anthropic import door
from intramural.http.anthropic import models as anthropic
from intramural.http.doors import Doors
from intramural.http.openai import models as openai
from intramural.http.operations import Operation


def operations(doors: Doors) -> list[Operation]:
    """Listing models and showing one."""
    models = doors.services.models

    async def page(request: Request, request_id: str) -> Response:
        caller = await doors.identify(request)
        usable = await models.usable(caller.actor)
        return JSONResponse(anthropic.page(usable, request, models.context_tokens), headers=door.headers(request_id))

    async def shown(request: Request, request_id: str) -> Response:
        caller = await doors.identify(request)
        manifest = await models.usable_by_name(caller.actor, request.path_params["name"])
        return JSONResponse(
            anthropic.model(manifest, models.context_tokens(manifest)), headers=door.headers(request_id)
        )

    page_as_anthropic, shown_as_anthropic = door.named(doors, page), door.named(doors, shown)

    async def listed(request: Request) -> Response:
        if door.is_meant(request):
            return await page_as_anthropic(request)
        caller = await doors.identify(request)
        usable = await models.usable(caller.actor)
        return JSONResponse(openai.listing(usable))

    async def one(request: Request) -> Response:
        if door.is_meant(request):
            return await shown_as_anthropic(request)
        caller = await doors.identify(request)
        return JSONResponse(openai.model(await models.usable_by_name(caller.actor, request.path_params["name"])))

    return [
        Operation("GET", "/v1/models", "The models one may use.", listed),
        Operation("GET", "/v1/models/{name:path}", "One model.", one),
    ]
