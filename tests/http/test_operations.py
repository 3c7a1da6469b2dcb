"""Operations with a fixed path are found, the others searched; errors are the dialect's own either way."""

import json

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message

from intramural.core.actor import SYSTEM
from intramural.core.errors import IntramuralError, Missing
from intramural.http import inside
from intramural.http.openai import shapes
from intramural.http.operations import Found, Operation, routes
from intramural.http.wire import wire_of_scope


async def _found(request: Request) -> Response:
    return JSONResponse({"said": (await request.json())["say"]})


async def _missing(_: Request) -> Response:
    raise Missing("model_not_found", "There is no such model.", "Pull it.")


async def _broken(_: Request) -> Response:
    raise RuntimeError("a mistake")


async def _by_name(request: Request) -> Response:
    return JSONResponse({"name": request.path_params["name"]})


LISTED = [
    Operation("POST", "/v1/echo", "Say it again.", _found, shapes.ChatIn),
    Operation("POST", "/v1/messages", "Missing.", _missing, shapes.ChatIn),
    Operation("POST", "/api/chat", "Missing.", _missing, shapes.ChatIn),
    Operation("POST", "/v1/broken", "Broken.", _broken, shapes.ChatIn),
    Operation("POST", "/v1/things/{name}", "A thing.", _by_name, shapes.ChatIn),
]


def _as_it_is(_: Request, response: Response) -> Response:
    return response


def _worded(request: Request, error: IntramuralError) -> Response:
    return wire_of_scope(request.scope).response(error)


APP = Found(Starlette(routes=routes(LISTED, _as_it_is)), LISTED, _as_it_is, _worded)


async def test_the_endpoint_answers() -> None:
    reply = await inside.ask(APP, SYSTEM, "/v1/echo", b'{"say": "hello"}')
    assert (reply.status, json.loads(reply.body)) == (200, {"said": "hello"})


@pytest.mark.parametrize(("path", "told"), [
    ("/v1/messages", lambda body: body["error"]["message"]),
    ("/api/chat", lambda body: body["error"]),
])  # fmt: skip
async def test_errors_are_worded_by_the_dialect(path: str, told: object) -> None:
    reply = await inside.ask(APP, SYSTEM, path, b"{}")
    assert reply.status == 404 and callable(told)
    assert "There is no such model." in told(json.loads(reply.body))


async def test_a_mistake_of_ours_is_left_to_the_server() -> None:
    with pytest.raises(RuntimeError):
        await inside.ask(APP, SYSTEM, "/v1/broken", b"{}")


async def test_what_has_a_name_in_its_path_is_searched() -> None:
    reply = await inside.ask(APP, SYSTEM, "/v1/things/one", b"{}")
    assert json.loads(reply.body) == {"name": "one"}


async def test_other_methods_are_not_found_but_searched() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": "/v1/echo", "headers": [], "query_string": b"", "root_path": ""}
    await APP(scope, receive, send)
    assert sent[0]["status"] == 405
