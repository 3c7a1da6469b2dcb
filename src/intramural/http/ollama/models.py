"""What there is and what is loaded: `/api/tags`, `/api/ps`, `/api/show`."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from intramural.core.errors import Misasked
from intramural.http import bodies
from intramural.http.doors import Doors
from intramural.http.ollama import describe, shapes
from intramural.http.ollama.keeping import IGNORED
from intramural.http.ollama.names import canonical
from intramural.http.operations import Operation


def operations(doors: Doors) -> list[Operation]:
    """Listing models and showing one."""
    models = doors.services.models

    async def tags(request: Request) -> Response:
        caller = await doors.identify(request)
        usable = await models.usable(caller.actor)
        newest = sorted(usable, key=lambda manifest: -manifest.added_ms)
        return JSONResponse({"models": [describe.entry(manifest) for manifest in newest]})

    async def ps(request: Request) -> Response:
        caller = await doors.identify(request)
        views, _ = await models.views(caller.actor)
        now_s = doors.clock.now_s()
        loaded = [(v.manifest, v.worker) for v in views if v.worker is not None and v.worker.state == "ready"]
        return JSONResponse({"models": [describe.running(manifest, worker, now_s) for manifest, worker in loaded]})

    async def show(request: Request) -> Response:
        caller = await doors.identify(request)
        wire = bodies.decode(await doors.body(request), shapes.ShowIn)
        for field in ("system", "template", "options"):
            if getattr(wire, field):
                message, hint = f"`{field}` is not supported.", "Leave it out: what is shown is the model as it is."
                raise Misasked("unsupported_parameter", message, hint, param=field)
        manifest = await models.usable_by_name(caller.actor, canonical(named(wire.model, wire.name)))
        headers = {IGNORED: "verbose"} if wire.verbose else {}
        return JSONResponse(describe.shown(manifest), headers=headers)

    return [
        Operation("GET", "/api/tags", "The models one may use.", tags),
        Operation("GET", "/api/ps", "The models in memory.", ps),
        Operation("POST", "/api/show", "One model.", show, shapes.ShowIn),
    ]


def named(model: str, name: str) -> str:
    """`model`, or `name` as it was called before. Raises Misasked(`bad_parameter`)."""
    if not (model or name):
        raise Misasked("bad_parameter", "`model` is missing.", "Name a model, as /api/tags lists them.", param="model")
    return model or name
