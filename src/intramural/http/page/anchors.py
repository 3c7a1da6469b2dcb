"""Where checkpoints are held outside."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from intramural.http.doors import Doors
from intramural.http.page import shapes
from intramural.http.page.routing import routes


def router(doors: Doors) -> APIRouter:
    """`/audit/anchors`, `/audit/paper`."""
    api = routes("anchors")
    anchoring = doors.services.anchoring

    @api.get("/audit/anchors")
    async def anchors(request: Request) -> shapes.AnchorsOut:
        """Which anchors are named, and how long ago a checkpoint was put in one."""
        caller = await doors.identify(request)
        found = await anchoring.shown(caller.actor)
        return shapes.AnchorsOut(anchors=list(anchoring.named), colour=found.colour, why=found.why)

    @api.post("/audit/anchors")
    async def anchor(request: Request) -> shapes.AnchoringOut:
        """Put the newest checkpoint into every anchor now."""
        caller = await doors.identify(request)
        found = [
            shapes.AnchoredOut(
                anchor=each.anchor,
                size=each.size,
                error=None if each.error is None else each.error.code,
                message="" if each.error is None else f"{each.error.message} {each.error.hint}".strip(),
            )
            for each in await anchoring.now(caller.actor)
        ]
        return shapes.AnchoringOut(anchored=found)

    @api.get("/audit/paper", response_class=Response)
    async def paper(request: Request) -> Response:
        """The newest checkpoint as a picture to print (SVG with a QR code). An event too."""
        caller = await doors.identify(request)
        svg = await anchoring.paper(caller.actor)
        headers = {"Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="checkpoint.svg"'}
        return Response(svg, media_type="image/svg+xml", headers=headers)

    return api
