"""A request that comes from inside: answered by the same application, in the same way, as somebody already identified.

Batches use it: what a line of theirs may do, costs and writes down is what the same request would over HTTP.
"""

import asyncio
from collections.abc import Mapping

from starlette.types import ASGIApp, Message

from intramural.core.actor import Actor
from intramural.http.identity import as_caller
from intramural.services.batch_work import Reply


async def ask(app: ASGIApp, actor: Actor, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Reply:
    """The whole answer to `POST path`. `headers`: lower-case names. Cancelling it is what a client's leaving is."""
    sent = {
        "host": "localhost",
        "content-type": "application/json",
        "content-length": str(len(body)),
        **(headers or {}),
    }
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
        "client": None,
        "server": None,
        **as_caller(actor),
    }
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    status = 500
    got: dict[str, str] = {}
    chunks: list[bytes] = []

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()  # the client stays
        raise AssertionError

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            got.update((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in message["headers"])
        elif message["type"] == "http.response.body":
            chunks.append(message.get("body", b""))

    await app(scope, receive, send)
    return Reply(status, b"".join(chunks), got.get("x-request-id") or got.get("request-id"))
