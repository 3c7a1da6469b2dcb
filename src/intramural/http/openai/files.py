"""`/v1/files` as OpenAI's clients ask for it: what a person stores for their programs."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from intramural.core.errors import Misasked
from intramural.files import ENDINGS, MAX_LIST, StoredFile
from intramural.http import uploads
from intramural.http.attachments import attachment
from intramural.http.doors import Doors
from intramural.http.openai.paging import listed, page
from intramural.http.operations import Operation

_ANCHOR, _SECONDS = "expires_after[anchor]", "expires_after[seconds]"
#: Seconds a file may be asked to stay, as OpenAI's API says.
MAX_EXPIRY_S = 2_592_000
_FORM = {
    "file": {"type": "string", "format": "binary"},
    "purpose": {"type": "string", "enum": ["assistants", "batch", "evals", "fine-tune", "user_data", "vision"]},
    _ANCHOR: {"type": "string", "enum": ["created_at"]},
    _SECONDS: {"type": "integer", "minimum": 3600, "maximum": 2592000},
}


def operations(doors: Doors) -> list[Operation]:
    """Storing files, listing, reading and deleting them."""
    files = doors.services.files

    async def upload(request: Request) -> Response:
        caller = await doors.identify(request)
        async with files.arriving(caller.actor, uploads.announced_bytes(request)) as arriving:
            form = await uploads.receive(request, arriving.write)
            purpose, expires_s = _wanted(form.fields)
            name = form.file_name or ""
            file = await files.keep(caller.actor, arriving, name=name, purpose=purpose, expires_s=expires_s)
        return JSONResponse(file_object(file))

    async def every(request: Request) -> Response:
        caller = await doors.identify(request)
        wanted = page(request, default=MAX_LIST, most=MAX_LIST, also=("purpose",))
        found = await files.list(
            caller.actor,
            purpose=request.query_params.get("purpose"),
            limit=wanted.limit + 1,
            after=wanted.after,
            newest_first=wanted.newest_first,
        )
        return JSONResponse(listed([file_object(file) for file in found], wanted.limit))

    async def one(request: Request) -> Response:
        caller = await doors.identify(request)
        return JSONResponse(file_object(await files.get(caller.actor, request.path_params["file_id"])))

    async def content(request: Request) -> Response:
        caller = await doors.identify(request)
        file, opened = await files.content(caller.actor, request.path_params["file_id"])
        return attachment(file, opened, labelled=doors.services.inference.labels(caller.actor))

    async def delete(request: Request) -> Response:
        caller = await doors.identify(request)
        file_id = request.path_params["file_id"]
        await files.delete(caller.actor, file_id)
        return JSONResponse({"id": file_id, "object": "file", "deleted": True})

    return [
        Operation("POST", "/v1/files", "Store a file.", upload, multipart=_FORM),
        Operation("GET", "/v1/files", "One's files.", every, query=("limit", "after", "order", "purpose")),
        Operation("GET", "/v1/files/{file_id}", "One file.", one),
        Operation("DELETE", "/v1/files/{file_id}", "Delete a file.", delete),
        Operation(
            "GET",
            "/v1/files/{file_id}/content",
            "A file's bytes, as an attachment.",
            content,
            media_type="application/octet-stream",
        ),
    ]


def file_object(file: StoredFile) -> dict[str, Any]:
    """OpenAI's file object."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size_bytes,
        "created_at": file.created_ms // 1000,
        "expires_at": None if file.expires_ms is None else file.expires_ms // 1000,
        "filename": file.name,
        "purpose": file.purpose,
        "status": "uploaded" if file.search == "pending" else "processed",
        "status_details": _searched(file),
    }


def _searched(file: StoredFile) -> str | None:
    """What there is to know about whether a document's text can be searched."""
    if file.purpose not in ("assistants", "user_data") or file.search == "ready":
        return None
    if file.search == "pending":
        return "Its text will be searchable soon."
    return f"Not searchable: only text in UTF-8 is, in files named {', '.join(sorted(ENDINGS))}, up to a size."


def _wanted(fields: dict[str, str]) -> tuple[str, int | None]:
    """Purpose and expiry of an upload. Raises Misasked naming the field."""
    for name in fields:
        if name not in ("purpose", _ANCHOR, _SECONDS):
            raise Misasked("unknown_parameter", f"There is no field {name[:64]!r}.", "Leave it out.", param=name[:64])
    if "purpose" not in fields:
        raise Misasked("bad_parameter", "The form holds no `purpose`.", "Send it.", param="purpose")
    if _ANCHOR not in fields and _SECONDS not in fields:
        return fields["purpose"], None
    seconds = fields.get(_SECONDS, "")
    if fields.get(_ANCHOR) != "created_at":
        raise Misasked("bad_parameter", "`expires_after[anchor]` must be `created_at`.", "Send both.", param=_ANCHOR)
    if not (seconds.isascii() and seconds.isdecimal() and len(seconds) < 10):
        raise Misasked("bad_parameter", "`expires_after[seconds]` must be a number.", "Send it.", param=_SECONDS)
    if int(seconds) > MAX_EXPIRY_S:
        raise Misasked("bad_expiry", "A file cannot expire then.", f"Ask for {MAX_EXPIRY_S} at most.", param=_SECONDS)
    return fields["purpose"], int(seconds)
