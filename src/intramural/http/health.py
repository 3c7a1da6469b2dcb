"""`/healthz`, `/readyz` and `/metrics`. The first two touch nothing that a busy engine could hold."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from intramural.http.doors import Doors
from intramural.metering import Metrics


def routes(doors: Doors) -> list[Route]:
    """The three routes."""

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_request: Request) -> Response:
        ready = doors.services.ready()
        return JSONResponse({"status": "ready" if ready else "starting"}, 200 if ready else 503)

    async def metrics(request: Request) -> Response:
        caller = await doors.identify(request)
        body = await doors.services.records.metrics(caller.actor)
        return Response(body, media_type=Metrics.content_type)

    return [
        Route("/healthz", healthz, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]
