"""`/v1/batches`: many requests in a stored file, answered into another."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from intramural.batches import Batch, Line
from intramural.core.actor import Actor
from intramural.core.chat import Usage
from intramural.core.errors import Misasked
from intramural.http import bodies, errors, inside
from intramural.http.doors import Doors
from intramural.http.openai.files import MAX_EXPIRY_S
from intramural.http.openai.paging import listed, page
from intramural.http.openai.shapes import BatchIn
from intramural.http.operations import Operation
from intramural.services.batch_work import Item, Reply
from intramural.services.files import EXPIRY_S

DIALECT = "openai"
ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
MAX_LIST = 100
MAX_NOTES, MAX_NOTE_NAME, MAX_NOTE = 16, 64, 512
MAX_CUSTOM_ID = 512
#: When each state of ours was reached, in OpenAI's words.
_ENDED_AT = {"completed": "completed_at", "failed": "failed_at", "expired": "expired_at", "cancelled": "cancelled_at"}


class _LineIn(msgspec.Struct, forbid_unknown_fields=True):
    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


class _Details(msgspec.Struct):
    cached_tokens: int = 0
    reasoning_tokens: int = 0


class _Counts(msgspec.Struct):
    """Usage in the words of any of the endpoints."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Answered(msgspec.Struct):
    usage: _Counts | None = None


class OpenAIForm:
    """Lines as OpenAI's API writes them; each is asked of `app`."""

    dialect = DIALECT
    prefix = "batch"
    writes_files = True

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def item(self, line: bytes, endpoint: str) -> Item:
        wire = bodies.decode(line, _LineIn)
        if not 0 < len(wire.custom_id) <= MAX_CUSTOM_ID:
            hint = f"Use 1 to {MAX_CUSTOM_ID} characters."
            raise Misasked("bad_custom_id", "That cannot be a request's name.", hint, param="custom_id")
        if wire.method != "POST":
            raise Misasked("bad_parameter", "`method` must be POST.", "Mend the line.", param="method")
        if wire.url != endpoint:
            message = f"`url` must be {endpoint}, which the batch is for."
            raise Misasked("mismatched_url", message, "Send one batch for each endpoint.", param="url")
        body = bytes(wire.body)
        if not body.startswith(b"{"):
            raise Misasked("bad_parameter", "`body` must be an object.", "Mend the line.", param="body")
        return Item(wire.custom_id, body)

    async def ask(self, actor: Actor, endpoint: str, body: bytes) -> Reply:
        if _streams(body):
            error = Misasked("bad_parameter", "A batch cannot stream.", "Leave `stream` out.", param="stream")
            return Reply(400, msgspec.json.encode(errors.openai_body(error)), None)
        reply = await inside.ask(self._app, actor, endpoint, body)
        return replace(reply, usage=_usage(reply.body))

    def result(self, line: Line) -> tuple[bytes | None, bytes | None]:
        if line.outcome == "canceled":
            return None, None
        head = {"id": f"batch_req_{line.position}", "custom_id": line.custom_id}
        if line.outcome == "expired" or line.body is None:
            message = "This request was not answered before the batch expired."
            error = {"code": "batch_expired", "message": message}
            return None, msgspec.json.encode({**head, "response": None, "error": error})
        body = msgspec.Raw(line.body.encode())
        response = {"status_code": line.status, "request_id": line.request_id, "body": body}
        written = msgspec.json.encode({**head, "response": response, "error": None})
        return (written, None) if line.outcome == "succeeded" else (None, written)


def operations(doors: Doors) -> list[Operation]:
    """Asking for batches, watching and cancelling them."""
    batches = doors.services.batches

    async def create(request: Request) -> Response:
        caller = await doors.identify(request)
        wire = bodies.decode(await doors.body(request), BatchIn)
        batch = await batches.create_from_file(
            caller.actor,
            DIALECT,
            _endpoint(wire.endpoint),
            wire.input_file_id,
            notes=_notes(wire.metadata),
            output_expires_s=_output_expires_s(wire),
        )
        return JSONResponse(batch_object(batch))

    async def every(request: Request) -> Response:
        caller = await doors.identify(request)
        wanted = page(request, default=20, most=MAX_LIST)
        found = await batches.list(caller.actor, DIALECT, limit=wanted.limit + 1, after=wanted.after)
        return JSONResponse(listed([batch_object(batch) for batch in found], wanted.limit))

    async def one(request: Request) -> Response:
        caller = await doors.identify(request)
        return JSONResponse(batch_object(await batches.get(caller.actor, DIALECT, request.path_params["batch_id"])))

    async def cancel(request: Request) -> Response:
        caller = await doors.identify(request)
        return JSONResponse(batch_object(await batches.cancel(caller.actor, DIALECT, request.path_params["batch_id"])))

    return [
        Operation("POST", "/v1/batches", "Have the requests in a stored file answered.", create, BatchIn),
        Operation("GET", "/v1/batches", "One's batches.", every, query=("limit", "after")),
        Operation("GET", "/v1/batches/{batch_id}", "One batch.", one),
        Operation("POST", "/v1/batches/{batch_id}/cancel", "End a batch early.", cancel),
    ]


def batch_object(batch: Batch) -> dict[str, Any]:
    """OpenAI's batch object."""
    cancelling = batch.cancelling_ms is not None
    state = "cancelling" if cancelling and batch.state == "finalizing" else batch.state
    expired = batch.skipped if batch.ending == "expired" else 0
    times: dict[str, int | None] = {
        "created_at": batch.created_ms,
        "expires_at": batch.expires_ms,
        "in_progress_at": batch.begun_ms,
        "finalizing_at": batch.finalizing_ms,
        "cancelling_at": batch.cancelling_ms,
        **dict.fromkeys(_ENDED_AT.values()),
    }
    if batch.state in _ENDED_AT:
        times[_ENDED_AT[batch.state]] = batch.ended_ms
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "input_file_id": batch.input_file_id,
        "completion_window": "24h",
        "status": state,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "errors": {"object": "list", "data": list(batch.errors)} if batch.errors else None,
        "request_counts": {
            "total": batch.total,
            "completed": batch.completed,
            "failed": batch.failed + expired,
        },
        "metadata": batch.notes,
        "usage": _usage_object(batch),
        **{name: None if at_ms is None else at_ms // 1000 for name, at_ms in times.items()},
    }


def _usage_object(batch: Batch) -> dict[str, Any]:
    return {
        "input_tokens": batch.prompt_tokens,
        "input_tokens_details": {"cached_tokens": batch.cached_tokens},
        "output_tokens": batch.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": batch.reasoning_tokens},
        "total_tokens": batch.prompt_tokens + batch.completion_tokens,
    }


def _endpoint(text: str) -> str:
    if text in ENDPOINTS:
        return text
    hint = f"Use {', '.join(ENDPOINTS)}."
    raise Misasked("unsupported_parameter", f"There are no batches for {text[:64]!r}.", hint, param="endpoint")


def _notes(wire: Mapping[str, str] | None) -> Mapping[str, str] | None:
    if wire is None:
        return None
    fits = all(0 < len(name) <= MAX_NOTE_NAME and len(note) <= MAX_NOTE for name, note in wire.items())
    if len(wire) > MAX_NOTES or not fits:
        hint = f"Send at most {MAX_NOTES} names of {MAX_NOTE_NAME} characters with texts of {MAX_NOTE}."
        raise Misasked("bad_parameter", "`metadata` is out of bounds.", hint, param="metadata")
    return wire


def _output_expires_s(wire: BatchIn) -> int | None:
    if wire.output_expires_after is None:
        return None
    seconds, least_s, most_s = wire.output_expires_after.seconds, EXPIRY_S[0], MAX_EXPIRY_S
    if not least_s <= seconds <= most_s:
        hint = f"Ask for {least_s} to {most_s} seconds."
        raise Misasked("bad_expiry", "A file cannot expire then.", hint, param="output_expires_after.seconds")
    return seconds


def _streams(body: bytes) -> bool:
    try:
        found = msgspec.json.decode(body, type=_MayStream)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False  # the endpoint says what is wrong with it
    return found.stream is True


class _MayStream(msgspec.Struct):
    stream: Any = None


def _usage(body: bytes) -> Usage:
    """What an answer says it cost."""
    try:
        counts = msgspec.json.decode(body, type=_Answered).usage or _Counts()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Usage(0, 0)
    asked = counts.prompt_tokens_details or counts.input_tokens_details or _Details()
    said = counts.completion_tokens_details or counts.output_tokens_details or _Details()
    return Usage(
        counts.prompt_tokens or counts.input_tokens,
        counts.completion_tokens or counts.output_tokens,
        cached_tokens=asked.cached_tokens,
        reasoning_tokens=said.reasoning_tokens,
    )
