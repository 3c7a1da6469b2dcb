"""`/v1/files` as Anthropic's clients ask for it: newest first, in pages. The files are those of every dialect."""

import mimetypes
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from intramural.core.errors import Misasked
from intramural.files import StoredFile
from intramural.http import uploads
from intramural.http.anthropic import door
from intramural.http.anthropic.door import timestamp
from intramural.http.attachments import attachment
from intramural.http.doors import Doors
from intramural.http.operations import Operation

#: There are no purposes in this dialect; a file of this one can be searched and shown to models that see.
_PURPOSE = "user_data"
_EXPIRES = "expires_in_seconds"
_FORM = {
    "file": {"type": "string", "format": "binary"},
    _EXPIRES: {"type": "integer", "minimum": 3600, "maximum": 7776000},
}
_QUERY = ("limit", "page", "ids[]", "before_id", "after_id")
_CURSOR = "page_"
_LIMIT, _MAX_LIMIT, _MAX_IDS = 20, 1000, 100
#: By the name alone, and the same on every machine: nothing here looks into the bytes.
_TYPES = mimetypes.MimeTypes()


def operations(doors: Doors) -> list[Operation]:
    """Storing files, listing, reading and deleting them."""
    files = doors.services.files

    async def upload(request: Request, request_id: str) -> Response:
        caller = await doors.identify(request)
        async with files.arriving(caller.actor, uploads.announced_bytes(request)) as arriving:
            form = await uploads.receive(request, arriving.write)
            expires_s = _expires_s(form.fields)
            name = form.file_name or ""
            file = await files.keep(caller.actor, arriving, name=name, purpose=_PURPOSE, expires_s=expires_s)
        return JSONResponse(file_object(file), headers=door.headers(request_id))

    async def every(request: Request, request_id: str) -> Response:
        caller = await doors.identify(request)
        wanted = _wanted(request)
        found = await files.list(
            caller.actor,
            purpose=None,
            limit=wanted.limit + 1,
            after=wanted.beside,
            newest_first=not wanted.newer,
            ids=wanted.ids,
        )
        return JSONResponse(_page(found, wanted), headers=door.headers(request_id))

    async def one(request: Request, request_id: str) -> Response:
        caller = await doors.identify(request)
        file = await files.get(caller.actor, request.path_params["file_id"])
        return JSONResponse(file_object(file), headers=door.headers(request_id))

    async def content(request: Request, request_id: str) -> Response:
        caller = await doors.identify(request)
        file, opened = await files.content(caller.actor, request.path_params["file_id"])
        labelled = doors.services.inference.labels(caller.actor)
        return attachment(file, opened, door.headers(request_id), labelled=labelled)

    async def delete(request: Request, request_id: str) -> Response:
        caller = await doors.identify(request)
        file_id = request.path_params["file_id"]
        await files.delete(caller.actor, file_id)
        return JSONResponse({"id": file_id, "type": "file_deleted"}, headers=door.headers(request_id))

    named, path = door.named, "/v1/files"
    return [
        Operation("POST", path, "Store a file.", named(doors, upload), multipart=_FORM),
        Operation("GET", path, "One's files.", named(doors, every), query=_QUERY),
        Operation("GET", path + "/{file_id}", "One file.", named(doors, one)),
        Operation("DELETE", path + "/{file_id}", "Delete a file.", named(doors, delete)),
        Operation("GET", path + "/{file_id}/content", "A file's bytes.", named(doors, content)),
    ]


def file_object(file: StoredFile) -> dict[str, Any]:
    """Anthropic's file object. `mime_type` is what the name's ending says."""
    return {
        "id": file.id,
        "type": "file",
        "filename": file.name,
        "mime_type": _TYPES.guess_type(file.name)[0] or "application/octet-stream",
        "size_bytes": file.size_bytes,
        "created_at": timestamp(file.created_ms),
        "expires_at": None if file.expires_ms is None else timestamp(file.expires_ms),
        "downloadable": True,
    }


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which page: the `limit` files next to `beside`, on its `newer` side or the older; or those of `ids`."""

    limit: int
    beside: str | None = None
    newer: bool = False
    ids: Collection[str] | None = None


def _wanted(request: Request) -> _Wanted:
    """What the query asks for: `page` as today's clients do, `before_id` and `after_id` as older ones.

    Raises Misasked naming the parameter.
    """
    query = request.query_params
    for name in query:
        if name not in (*_QUERY, "ids", "beta"):
            raise Misasked("unknown_parameter", f"There is no parameter {name[:64]!r}.", "Leave it out.", param=name)
    ids = frozenset(query.getlist("ids[]") + query.getlist("ids"))
    places = [name for name in ("page", "before_id", "after_id") if query.get(name)]
    if len(places) > 1 or (ids and (places or "limit" in query)):
        param = places[-1] if places else "limit"
        raise Misasked("bad_parameter", f"`{param}` does not go with the other parameters.", "Send one.", param=param)
    if len(ids) > _MAX_IDS:
        raise Misasked("bad_parameter", f"`ids` holds over {_MAX_IDS}.", "Ask for fewer.", param="ids")
    if ids:
        return _Wanted(_MAX_IDS, ids=ids)
    limit = _number(query.get("limit", str(_LIMIT)), "limit", 1, _MAX_LIMIT)
    if not places:
        return _Wanted(limit)
    beside = query[places[0]]
    if places[0] == "page":
        if not beside.startswith(_CURSOR):
            raise Misasked("bad_parameter", "That `page` was never named here.", "Send a `next_page`.", param="page")
        beside = beside.removeprefix(_CURSOR)
    return _Wanted(limit, beside, newer=places[0] == "before_id")


def _page(found: list[StoredFile], wanted: _Wanted) -> dict[str, Any]:
    """`found` (one more than the limit where there is another page) as a list, newest first."""
    more = len(found) > wanted.limit
    data = [file_object(file) for file in found[: wanted.limit]]
    if wanted.newer:
        data.reverse()
    return {
        "data": data,
        "next_page": f"{_CURSOR}{data[-1]['id']}" if data and more and not wanted.newer else None,
        "has_more": more,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


def _expires_s(fields: dict[str, str]) -> int | None:
    """The expiry of an upload. Raises Misasked naming the field."""
    for name in fields:
        if name != _EXPIRES:
            raise Misasked("unknown_parameter", f"There is no field {name[:64]!r}.", "Leave it out.", param=name[:64])
    return _number(fields[_EXPIRES], _EXPIRES, 3_600, 7_776_000) if _EXPIRES in fields else None


def _number(text: str, param: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and least <= int(text) <= most):
        raise Misasked("bad_parameter", f"`{param}` must be from {least} to {most}.", "Mend it.", param=param)
    return int(text)
