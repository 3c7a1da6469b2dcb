"""What a dialect's module says of its routes: the route itself, and how it stands in the OpenAPI document."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from intramural.core.errors import IntramuralError

_REF = "#/components/schemas/{name}"
_ERROR = {"description": "An error in the dialect's own shape, with a hint."}
_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"session": []}]
#: What is done to every response.
Finish = Callable[[Request, Response], Response]
_PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `body`: the msgspec shape that decodes the request; `public`: needs no credential.

    `query` names its query parameters, `multipart` its parts (name → JSON schema) where the body is a form.
    """

    method: str
    path: str
    summary: str
    endpoint: Callable[[Request], Awaitable[Response]]
    body: Any = None
    media_type: str = "application/json"
    public: bool = False
    query: Sequence[str] = ()
    multipart: dict[str, Any] | None = None

    def route(self, finish: Finish) -> Route:
        async def endpoint(request: Request) -> Response:
            return finish(request, await self.endpoint(request))

        return Route(self.path, endpoint, methods=[self.method])


def routes(operations: Sequence[Operation], finish: Finish) -> list[Route]:
    """Their routes, each response `finish`ed. Operations of one path with different methods each get their own."""
    return [each.route(finish) for each in operations]


class Found:
    """An application whose hot operations are found by their path, and answered without what stands around the others.

    Those are the ones with a fixed path that take JSON: every request to a model. The others, and other methods, go to
    `app`, which searches its routes. Errors with a name are worded by the dialect; whatever else goes wrong is the
    server's to answer and to log, as it is there.
    """

    def __init__(
        self,
        app: ASGIApp,
        listed: Sequence[Operation],
        finish: Finish,
        worded: Callable[[Request, IntramuralError], Response],
    ) -> None:
        """Every response is `finish`ed; `worded` makes one of an error."""
        self._app = app
        self._finish = finish
        self._worded = worded
        self._posted = {
            each.path: each.endpoint
            for each in listed
            if each.method == "POST" and each.body is not None and not _PARAMETER.search(each.path)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = None
        if scope["type"] == "http" and scope["method"] == "POST":
            endpoint = self._posted.get(scope["path"])
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            response = await endpoint(request)
        except IntramuralError as error:
            response = self._worded(request, error)
        await self._finish(request, response)(scope, receive, send)


def describe(document: dict[str, Any], operations: Sequence[Operation]) -> None:
    """Write `operations` into an OpenAPI document."""
    bodies = [each.body for each in operations if each.body is not None]
    schemas, components = msgspec.json.schema_components(bodies, ref_template=_REF)
    document["components"].setdefault("schemas", {}).update(components)
    schema_of = iter(schemas)
    for each in operations:
        schema = next(schema_of) if each.body is not None else None
        path = document["paths"].setdefault(_PARAMETER.sub(r"{\1}", each.path), {})
        path[each.method.lower()] = _described(each, schema)


def _described(operation: Operation, schema: dict[str, Any] | None) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "responses": {
            "200": {"description": "The answer.", "content": {operation.media_type: {}}},
            "4XX": _ERROR,
            "5XX": _ERROR,
        },
        "security": [] if operation.public else _SECURITY,
    }
    if schema is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if operation.multipart is not None:
        form = {"type": "object", "properties": operation.multipart}
        described["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": form}}}
    parameters = [_parameter(name, "path") for name in _PARAMETER.findall(operation.path)]
    parameters += [_parameter(name, "query") for name in operation.query]
    if parameters:
        described["parameters"] = parameters
    return described


def _parameter(name: str, where: str) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1} if where == "path" else {"type": "string"}
    return {"name": name, "in": where, "required": where == "path", "schema": schema}
