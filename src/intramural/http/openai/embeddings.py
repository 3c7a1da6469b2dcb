"""`/v1/embeddings`."""

from starlette.requests import Request
from starlette.responses import Response

from intramural.http import bodies, sse
from intramural.http.doors import Doors
from intramural.http.openai import parse, shapes, write
from intramural.http.openai.chat import DIALECT
from intramural.http.operations import Operation
from intramural.http.wire import Json


def operations(doors: Doors) -> list[Operation]:
    """Turning texts into vectors."""
    inference = doors.services.inference

    async def embeddings(request: Request) -> Response:
        caller = await doors.identify(request)
        wire = bodies.decode(await doors.body(request), shapes.EmbeddingIn)
        inputs = parse.embeddings(wire)
        request_id = doors.request_id(request)

        async def whole() -> Response:
            result = await inference.embed(
                caller.actor, wire.model, inputs, DIALECT, request_id,
                dimensions=wire.dimensions, labels=parse.labels(wire),
            )  # fmt: skip
            body = write.embedding_list(wire.model, result, as_base64=wire.encoding_format == "base64")
            return Json(body, headers={"X-Request-Id": request_id})

        return await sse.answered(request, whole())

    return [Operation("POST", "/v1/embeddings", "Turn texts into vectors.", embeddings, shapes.EmbeddingIn)]
