"""Putting the doors together: routes, error handlers, the guards every request passes."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from intramural import __version__
from intramural.core.clock import Clock
from intramural.core.config import ServerConfig
from intramural.core.errors import IntramuralError, Misasked, Missing, Refused
from intramural.http import (
    balances,
    browsers,
    files,
    health,
    labels,
    models,
    ollama,
    operations,
    receipts,
    replay,
    rerank,
    sse,
    streams,
    tokens,
)
from intramural.http.anthropic import batches as message_batches
from intramural.http.anthropic import door, messages
from intramural.http.doors import Doors
from intramural.http.mcp import door as mcp
from intramural.http.openai import batches, chat, completions, conversations, embeddings, moderations, stored
from intramural.http.openai.responses import create as responses
from intramural.http.openai.responses import kept as kept_responses
from intramural.http.operations import Operation
from intramural.http.paced import Paced
from intramural.http.page import (
    account,
    anchors,
    attestation,
    break_glass,
    catalogue,
    chats,
    consent,
    egress,
    evidence,
    exports,
    factors,
    federation,
    fit,
    guard,
    lifecycle,
    notices,
    organisation,
    passkeys,
    people,
    proofs,
    provenance,
    pulls,
    quotas,
    records,
    reports,
    rosters,
    shapes,
    uses,
    vault,
)
from intramural.http.page import models as page_models
from intramural.http.page.routing import ERRORS, PREFIX
from intramural.http.scim import door as scim
from intramural.http.wire import ANTHROPIC, PAGE, Wire, wire_of, wire_of_scope
from intramural.services import Services

_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
#: Makes an answer of an error.
Worded = Callable[[Doors, Request, Exception], Response]
#: Modules with routes of their own, each with `operations(doors)`. The page's are FastAPI routers.
_MODULES = (
    health,
    models,
    chat,
    stored,
    completions,
    embeddings,
    moderations,
    rerank,
    tokens,
    responses,
    kept_responses,
    conversations,
    messages,
    message_batches,
    files,
    batches,
    receipts,
    mcp,
    scim,
    streams,
    *ollama.MODULES,
)


def build(services: Services, config: ServerConfig, clock: Clock, page: ASGIApp, streams: replay.Streams) -> ASGIApp:
    """The whole ASGI application. `page` serves everything that no route claims; `streams` is closed by the caller."""
    doors = Doors(services, config, clock, streams)
    app = FastAPI(title="intramural", version=__version__, openapi_url=None, docs_url=None, redoc_url=None)
    listed = _operations(doors)
    finish = partial(_named, doors)
    app.router.routes.extend(operations.routes(listed, finish))
    app.router.routes.extend(_page_routes(doors))
    for kind, worded in _ERRORS.items():
        app.add_exception_handler(kind, _handler(doors, worded))
    app.openapi = lambda: _document(app, listed)  # type: ignore[method-assign]  # FastAPI's own way to extend the document
    services.batches.speak(batches.OpenAIForm(app))
    services.batches.speak(message_batches.AnthropicForm(app))
    app.router.default = _Else(page, app)  # not a mount: that would also take requests with a wrong method
    found = operations.Found(app, listed, finish, partial(_on_intramural_error, doors))
    return Paced(HostGuard(found, _allowed_hosts(config), finish))


def routes_document() -> dict[str, Any]:
    """The OpenAPI document of every route, without a running house: for the reference pages."""
    app = FastAPI(title="intramural", version=__version__)
    nowhere: Any = _Nowhere()
    app.router.routes.extend(_page_routes(nowhere))
    return _document(app, _operations(nowhere))


class _Nowhere:
    """Stands for the doors where routes are only listed: everything asked of it leads to itself."""

    def __getattr__(self, _name: str) -> Any:
        return self


def _page_routes(doors: Any) -> list[BaseRoute]:
    api = APIRouter(prefix=PREFIX)
    for each in (
        account, factors, passkeys, federation, people, rosters, organisation, page_models, pulls, provenance,
        catalogue, fit, guard, chats, quotas, lifecycle, reports, records, proofs, anchors, break_glass, vault, consent,
        notices, uses, exports, egress, evidence, attestation,
    ):  # fmt: skip
        api.routes.extend(each.router(doors).routes)

    @api.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> Response:
        await doors.identify(request)
        return JSONResponse(request.app.openapi())

    assert all(getattr(route, "path", "").startswith(PREFIX) for route in api.routes), "not made by `page.routing`"
    return api.routes


def _operations(doors: Doors) -> list[Operation]:
    return [each for module in _MODULES for each in module.operations(doors)]


def _document(app: FastAPI, listed: list[Operation]) -> dict[str, Any]:
    document = FastAPI.openapi(app)
    _describe_errors(document)
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "session": {"type": "apiKey", "in": "cookie", "name": "intramural_session"},
    }
    operations.describe(document, listed)
    return document


def _describe_errors(document: dict[str, Any]) -> None:
    """How the errors look that every route of the page may answer. (FastAPI, told of it, makes two readers a route.)"""
    shape = shapes.ErrorOut.model_json_schema(ref_template="#/components/schemas/{model}")
    shape = jsonable_encoder(shape, exclude_none=True)
    document["components"]["schemas"].update({**shape.pop("$defs"), "ErrorOut": shape})
    for path, methods in document["paths"].items():
        if path.startswith(PREFIX):
            for operation in methods.values():
                for status in ERRORS:
                    content = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorOut"}}}
                    operation["responses"][status]["content"] = content


def _handler(doors: Doors, worded: Worded) -> Callable[[Request, Exception], Awaitable[Response]]:
    """An error handler that answers what `worded` makes of an error, under the request's name."""

    async def handle(request: Request, error: Exception) -> Response:
        return _named(doors, request, worded(doors, request, error))

    return handle


def _named(doors: Doors, request: Request, response: Response) -> Response:
    """`response` with what names its request: every answer of an API has that. Streams bring it with them."""
    wire = wire_of_scope(request.scope)
    _with_balances(doors, request, response)
    _labelled(doors, response)
    if wire is not PAGE and not isinstance(response, sse.EventStream):
        response.headers.setdefault(sse.REQUEST_ID, doors.request_id(request))
        if wire is ANTHROPIC:
            response.headers.setdefault(door.REQUEST_ID, response.headers[sse.REQUEST_ID])
    return response


def _with_balances(doors: Doors, request: Request, response: Response) -> None:
    """Say how the quotas of `request` stand: a stream when it begins, everything else now."""
    if not doors.has_request_id(request):
        return

    def standings() -> dict[str, str]:
        return balances.headers(doors.services.quotas.told(doors.request_id(request)), doors.clock.now_s())

    if isinstance(response, sse.EventStream):
        response.late_headers = standings
    else:
        for name, value in standings().items():
            response.headers.setdefault(name, value)


def _labelled(doors: Doors, response: Response) -> None:
    """Say which model wrote it, if one did: a stream when it begins, everything else now."""
    written_by = doors.services.inference.written_by
    if isinstance(response, sse.EventStream):
        response.written_by = written_by
    elif response.status_code < 300 and (writer := written_by(response.headers.get(sse.REQUEST_ID, ""))):
        response.headers[labels.GENERATED] = labels.header(*writer)


def _wire(doors: Doors, request: Request) -> Wire:
    """The form that `request` expects; in Anthropic's, errors say which request it was."""
    wire = wire_of_scope(request.scope)
    return door.wire(doors.request_id(request)) if wire is ANTHROPIC else wire


def _on_intramural_error(doors: Doors, request: Request, error: Exception) -> Response:
    assert isinstance(error, IntramuralError)
    return _wire(doors, request).response(error)


def _on_bad_shape(doors: Doors, request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    return _wire(doors, request).response(
        Misasked("bad_parameter", f"{where}: {first['msg']}.", "Mend it.", param=where)
    )


def _on_http_error(doors: Doors, request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path, wire = request.url.path, _wire(doors, request)
    if error.status_code == 404 and (meant := _meant(request.app, request.scope)):
        headers = {name.lower(): "" for name in request.headers}
        hint = f"Is {meant} meant? Then mend the client's base URL."
        return wire_of(meant, headers).response(Missing("no_such_route", f"There is no {path}.", hint))
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        response = wire.response(
            Misasked("method_not_allowed", f"{path} does not take {request.method}.", f"It takes {allowed}.")
        )
        response.status_code = 405
        response.headers["Allow"] = allowed
        return response
    if error.status_code == 404:
        return wire.response(Missing("no_such_route", f"There is no {path}.", "See the API reference."))
    return wire.response(Misasked("bad_request", str(error.detail), "Mend the request."))


_ERRORS: Mapping[type[Exception], Worded] = {
    IntramuralError: _on_intramural_error,
    RequestValidationError: _on_bad_shape,
    HTTPException: _on_http_error,
}


def _allowed_hosts(config: ServerConfig) -> frozenset[str]:
    return _LOCAL_HOSTS | {config.host} | {host.lower() for host in config.allowed_hosts}


def _meant(app: Starlette, scope: Scope) -> str | None:
    """The path that a client with `/v1` missing from its base URL, or there once too often, wanted; None if neither."""
    path: str = scope["path"]
    doubled = path.startswith(("/v1/v1/", "/v1/api/"))
    other = path.removeprefix("/v1") if doubled else f"/v1{path}"
    there = {**scope, "path": other}
    return other if any(route.matches(there)[0] is Match.FULL for route in app.router.routes) else None


class _Else:
    """Whatever no route claims: under an API's prefix a proper error, elsewhere the page.

    At `/` a program that does not ask for HTML gets the greeting by which Ollama's clients know that somebody is there.
    What is said to the page's place in another way than a browser asks is a program with a wrong base URL.
    """

    def __init__(self, page: ASGIApp, app: Starlette) -> None:
        self._page = page
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            elsewhere = scope["path"].startswith(("/v1/", "/v2/", "/api/", "/intramural/", "/scim/"))
            if elsewhere or (not _wants_html(scope) and _meant(self._app, scope)):
                raise HTTPException(404)
        greets = scope["type"] == "http" and scope["path"] == "/" and scope["method"] in ("GET", "HEAD")
        greeting = PlainTextResponse(ollama.GREETING)
        await (greeting if greets and not _wants_html(scope) else self._page)(scope, receive, send)


def _wants_html(scope: Scope) -> bool:
    return any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])


class HostGuard:
    """Refuses requests for a host name that is not ours: the defence against DNS rebinding. Whatever is answered tells
    browsers how to take it.
    """

    def __init__(self, app: ASGIApp, allowed: frozenset[str], finish: operations.Finish) -> None:
        self._app = app
        self._allowed = allowed
        self._finish = finish

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            send = browsers.told(send)
            host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
            if _without_port(host) not in self._allowed:
                error = Refused(
                    "unknown_host",
                    "This service does not answer under that host name.",
                    "Use its own name, or add the name to `server.allowed_hosts`.",
                )
                await self._finish(Request(scope), wire_of_scope(scope).response(error))(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _without_port(host: str) -> str:
    """`Host` without its port, lower case; an IPv6 literal keeps its brackets."""
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdecimal() else host.lower()
