"""`/api/embed`, and `/api/embeddings` as it was before."""

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from intramural.core.actor import Actor
from intramural.core.chat import Embeddings
from intramural.http import bodies, sse
from intramural.http.doors import Doors
from intramural.http.ollama import parse, shapes
from intramural.http.ollama.answering import DIALECT, require_context
from intramural.http.ollama.keeping import Keeping
from intramural.http.ollama.vectors import shortened
from intramural.http.operations import Operation
from intramural.http.wire import Json

#: Places of the inputs of which only the beginning counts, because they are longer than the model's context.
TRUNCATED: Final = "X-Intramural-Truncated"
_NS = 1_000_000_000


def operations(doors: Doors) -> list[Operation]:
    """Turning texts into vectors."""
    inference, models = doors.services.inference, doors.services.models

    async def vectors(
        actor: Actor, asked: parse.AskedVectors, request_id: str
    ) -> tuple[Embeddings, dict[str, str], dict[str, int]]:
        """(vectors, headers, metrics)."""
        began_s = doors.clock.monotonic_s()
        manifest = await models.usable_by_name(actor, asked.model)
        require_context(models, manifest, asked.context_tokens)
        keeping = Keeping(models, actor, asked.model, asked.keep_alive_s)
        headers = keeping.headers(request_id, asked.without_effect)
        try:
            await models.warm(actor, asked.model)
            loaded_s = doors.clock.monotonic_s()
            found = Embeddings((), 0)
            if asked.inputs:
                found = await inference.embed(actor, asked.model, asked.inputs, DIALECT, request_id, cut=asked.cut)
        finally:
            await keeping.after()
        if found.cut:
            headers[TRUNCATED] = ", ".join(map(str, found.cut))
        metrics = {
            "total_duration": round((doors.clock.monotonic_s() - began_s) * _NS),
            "load_duration": round((loaded_s - began_s) * _NS),
            "prompt_eval_count": found.prompt_tokens,
        }
        return found, headers, metrics

    async def embed(request: Request) -> Response:
        caller = await doors.identify(request)
        wire = bodies.decode(await doors.body(request), shapes.EmbedIn)
        asked = parse.embed(wire)

        async def whole() -> Response:
            found, headers, metrics = await vectors(caller.actor, asked, doors.request_id(request))
            short = [shortened(each, asked.dimensions) for each in found.vectors]
            body: dict[str, Any] = {"model": wire.model, "embeddings": short, **metrics}
            return Json(body, headers=headers)

        return await sse.answered(request, whole())

    async def embeddings(request: Request) -> Response:
        caller = await doors.identify(request)
        asked = parse.embeddings(bodies.decode(await doors.body(request), shapes.EmbeddingsIn))

        async def whole() -> Response:
            found, headers, _ = await vectors(caller.actor, asked, doors.request_id(request))
            return Json({"embedding": found.vectors[0] if found.vectors else []}, headers=headers)

        return await sse.answered(request, whole())

    return [
        Operation("POST", "/api/embed", "Turn texts into vectors.", embed, shapes.EmbedIn),
        Operation("POST", "/api/embeddings", "Turn a text into a vector.", embeddings, shapes.EmbeddingsIn),
    ]
