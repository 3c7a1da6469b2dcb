"""`/v1/messages/batches`: many messages at once, their results read as lines."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp

from intramural.batches import MAX_LIST, Batch, Line
from intramural.core.actor import Actor
from intramural.core.chat import Usage
from intramural.core.errors import Misasked
from intramural.http import bodies, errors, inside, labels
from intramural.http.anthropic import door
from intramural.http.anthropic.door import DIALECT
from intramural.http.doors import Doors
from intramural.http.operations import Operation
from intramural.services.batch_work import Item, Reply

_ENDPOINT = "/v1/messages"
_CUSTOM_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LIMIT = 20


class RequestIn(msgspec.Struct, forbid_unknown_fields=True):
    custom_id: str
    params: msgspec.Raw


class BatchesIn(msgspec.Struct, forbid_unknown_fields=True):
    requests: list[RequestIn]


class _Counts(msgspec.Struct):
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int | None = 0


class _Answered(msgspec.Struct):
    usage: _Counts | None = None
    stream: Any = None


class AnthropicForm:
    """Lines as Anthropic's API has them in a batch; each is asked of `app`."""

    dialect: str = DIALECT
    prefix = "msgbatch"
    writes_files = False

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def item(self, line: bytes, endpoint: str) -> Item:
        wire = bodies.decode(line, RequestIn)
        return Item(wire.custom_id, bytes(wire.params))

    async def ask(self, actor: Actor, endpoint: str, body: bytes) -> Reply:
        if _read(body).stream is True:
            error = Misasked("bad_parameter", "A batch cannot stream.", "Leave `stream` out.", param="stream")
            return Reply(400, msgspec.json.encode(errors.anthropic_body(error)), None)
        reply = await inside.ask(self._app, actor, endpoint, body, {"anthropic-version": "2023-06-01"})
        counts = _read(reply.body).usage or _Counts()
        cached = counts.cache_read_input_tokens or 0
        return replace(reply, usage=Usage(counts.input_tokens + cached, counts.output_tokens, cached_tokens=cached))

    def result(self, line: Line) -> tuple[bytes | None, bytes | None]:
        return _result(line), None


def operations(doors: Doors) -> list[Operation]:
    """Asking for batches, watching, cancelling, reading and deleting them."""
    batches = doors.services.batches

    def link(request: Request, batch: Batch) -> str:
        scheme = "https" if doors.config.https else request.url.scheme
        return f"{scheme}://{request.headers.get('host', '')}{_ENDPOINT}/batches/{batch.id}/results"

    def shown(request: Request, batch: Batch, request_id: str) -> Response:
        return JSONResponse(batch_object(batch, link(request, batch)), headers=door.headers(request_id))

    async def create(request: Request, request_id: str) -> Response:
        caller = await doors.identify(request)
        if request.headers.get("anthropic-user-profile-id"):
            raise Misasked(
                "unsupported_parameter",
                "A batch has no user profile of its own.",
                "Name it in each request's `metadata`.",
                param="anthropic-user-profile-id",
            )
        body = await bodies.read_body(request, batches.max_body_bytes)
        batch = await batches.create_from_lines(
            caller.actor, DIALECT, _ENDPOINT, _lines(bodies.decode(body, BatchesIn))
        )
        return shown(request, batch, request_id)

    async def every(request: Request, request_id: str) -> Response:
        caller = await doors.identify(request)
        limit, after, before = _page(request)
        found = await batches.list(caller.actor, DIALECT, limit=limit + 1, after=after, before=before)
        more = len(found) > limit
        # asked for those before one, the nearest of them are wanted: what is too much is at the other end
        found = found[-limit:] if before is not None and after is None else found[:limit]
        data = [batch_object(batch, link(request, batch)) for batch in found]
        ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
        return JSONResponse({"data": data, "has_more": more, **ends}, headers=door.headers(request_id))

    async def one(request: Request, request_id: str) -> Response:
        caller = await doors.identify(request)
        batch = await batches.get(caller.actor, DIALECT, request.path_params["batch_id"])
        return shown(request, batch, request_id)

    async def cancel(request: Request, request_id: str) -> Response:
        caller = await doors.identify(request)
        batch = await batches.cancel(caller.actor, DIALECT, request.path_params["batch_id"])
        return shown(request, batch, request_id)

    async def delete(request: Request, request_id: str) -> Response:
        caller = await doors.identify(request)
        batch_id = request.path_params["batch_id"]
        await batches.delete(caller.actor, DIALECT, batch_id)
        return JSONResponse({"id": batch_id, "type": "message_batch_deleted"}, headers=door.headers(request_id))

    async def results(request: Request, request_id: str) -> Response:
        caller = await doors.identify(request)
        lines = await batches.results(caller.actor, DIALECT, request.path_params["batch_id"])
        headers = {**door.headers(request_id), "Cache-Control": "no-store"}
        if doors.services.inference.labels(caller.actor):
            headers[labels.GENERATED] = labels.header()
        return StreamingResponse(_written(lines), media_type="application/x-jsonl", headers=headers)

    named = door.named
    path = "/v1/messages/batches"
    return [
        Operation("POST", path, "Have many messages written.", named(doors, create), BatchesIn),
        Operation("GET", path, "One's batches.", named(doors, every), query=("limit", "after_id", "before_id")),
        Operation("GET", path + "/{batch_id}", "One batch.", named(doors, one)),
        Operation("DELETE", path + "/{batch_id}", "Delete a batch that has ended.", named(doors, delete)),
        Operation("POST", path + "/{batch_id}/cancel", "End a batch early.", named(doors, cancel)),
        Operation(
            "GET",
            path + "/{batch_id}/results",
            "The result of every request, a line each.",
            named(doors, results),
            media_type="application/x-jsonl",
        ),
    ]


def batch_object(batch: Batch, results_url: str) -> dict[str, Any]:
    """Anthropic's batch object. All requests are `processing` until the whole batch has ended, as its API says."""
    over = not batch.is_open
    expired = batch.skipped if batch.state == "expired" else 0
    counts = {
        "processing": 0 if over else batch.total,
        "succeeded": batch.completed if over else 0,
        "errored": batch.failed if over else 0,
        "canceled": batch.skipped - expired if over else 0,
        "expired": expired,
    }
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": "ended" if over else "in_progress" if batch.cancelling_ms is None else "canceling",
        "request_counts": counts,
        "created_at": _time(batch.created_ms),
        "expires_at": _time(batch.expires_ms),
        "ended_at": _time(batch.ended_ms),
        "cancel_initiated_at": _time(batch.cancelling_ms),
        "archived_at": None,
        "results_url": results_url if over else None,
    }


def _lines(wire: BatchesIn) -> list[bytes]:
    """The requests, each as a line. Raises Misasked naming the one at fault."""
    if not wire.requests:
        raise Misasked("bad_parameter", "`requests` is empty.", "Send at least one.", param="requests")
    seen: set[str] = set()
    for i, each in enumerate(wire.requests):
        where = f"requests[{i}].custom_id"
        if not _CUSTOM_ID.fullmatch(each.custom_id):
            hint = "Use 1 to 64 of A-Z a-z 0-9 _ -."
            raise Misasked("bad_custom_id", "That cannot be a request's name.", hint, param=where)
        if each.custom_id in seen:
            raise Misasked("duplicate_custom_id", f"{each.custom_id!r} is there twice.", "Rename one.", param=where)
        if not bytes(each.params).startswith(b"{"):
            raise Misasked("bad_parameter", "`params` must be an object.", "Mend it.", param=f"requests[{i}].params")
        seen.add(each.custom_id)
    # decoded and written anew: a line break that stood between two fields must not end the line
    return [
        msgspec.json.encode({"custom_id": each.custom_id, "params": msgspec.json.decode(each.params)})
        for each in wire.requests
    ]


def _page(request: Request) -> tuple[int, str | None, str | None]:
    query = request.query_params
    limit = query.get("limit", str(_LIMIT))
    if not (limit.isascii() and limit.isdecimal() and len(limit) < 5 and 1 <= int(limit) <= MAX_LIST):
        raise Misasked("bad_parameter", f"`limit` is {limit[:64]!r}.", f"Use 1 to {MAX_LIST}.", param="limit")
    return int(limit), query.get("after_id") or None, query.get("before_id") or None


def _result(line: Line) -> bytes:
    result: dict[str, Any] = {"type": line.outcome}
    if line.body is not None:
        field = "message" if line.outcome == "succeeded" else "error"
        result[field] = msgspec.Raw(line.body.encode())
    return msgspec.json.encode({"custom_id": line.custom_id, "result": result})


async def _written(lines: AsyncGenerator[Line, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(lines):
        async for line in lines:
            yield _result(line) + b"\n"


def _read(body: bytes) -> _Answered:
    try:
        return msgspec.json.decode(body, type=_Answered)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Answered()


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else door.timestamp(at_ms)
