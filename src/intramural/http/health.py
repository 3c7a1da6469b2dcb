"""`/healthz`, `/readyz` and `/metrics`. The first two touch nothing that a busy engine could hold."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from intramural.http.doors import Doors
from intramural.http.operations import Operation
from intramural.metering import Metrics


def operations(doors: Doors) -> list[Operation]:
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
        Operation("GET", "/healthz", "Whether the process runs.", healthz, public=True),
        Operation("GET", "/readyz", "Whether it can answer.", readyz, public=True),
        Operation("GET", "/metrics", "Prometheus metrics.", metrics, media_type="text/plain"),
    ]
