"""`/v1/conversations`: items that are kept together and grow with every response that names their conversation."""

from functools import partial
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from intramural.chats import Transcript
from intramural.core.ids import new_id
from intramural.http import bodies
from intramural.http.checks import bad
from intramural.http.doors import Doors
from intramural.http.openai.responses import checks, items, pages, shapes
from intramural.http.operations import Operation

_PATH = "/v1/conversations"
_ONE = f"{_PATH}/{{conversation_id}}"
#: How many items one request may add.
_MAX_ADDED = 20


class ConversationIn(msgspec.Struct, forbid_unknown_fields=True):
    items: list[dict[str, Any]] | None = None
    metadata: shapes.Metadata | None = None


class ChangeIn(msgspec.Struct, forbid_unknown_fields=True):
    metadata: shapes.Metadata | None


class ItemsIn(msgspec.Struct, forbid_unknown_fields=True):
    items: list[dict[str, Any]]


def operations(doors: Doors) -> list[Operation]:
    """Keeping conversations."""
    return [*_conversations(doors), *_items(doors)]


def _conversations(doors: Doors) -> list[Operation]:
    desk = doors.services.transcripts

    async def create(request: Request) -> Response:
        caller = await doors.identify(request)
        wire = bodies.decode(await doors.body(request) or b"{}", ConversationIn)
        notes = checks.metadata(wire.metadata)
        given = await doors.services.responses.resolved(caller.actor, _taken_in(doors, wire.items or []))
        return JSONResponse(_conversation(await desk.create(caller.actor, notes, given)))

    async def read(request: Request) -> Response:
        caller = await doors.identify(request)
        return JSONResponse(_conversation(await desk.get(caller.actor, request.path_params["conversation_id"])))

    async def change(request: Request) -> Response:
        caller = await doors.identify(request)
        wire = bodies.decode(await doors.body(request), ChangeIn)
        notes = checks.metadata(wire.metadata)
        changed = await desk.note(caller.actor, request.path_params["conversation_id"], notes)
        return JSONResponse(_conversation(changed))

    async def delete(request: Request) -> Response:
        caller = await doors.identify(request)
        conversation_id = request.path_params["conversation_id"]
        await desk.delete(caller.actor, conversation_id)
        return JSONResponse({"id": conversation_id, "object": "conversation.deleted", "deleted": True})

    return [
        Operation("POST", _PATH, "Begin a conversation.", create, ConversationIn),
        Operation("GET", _ONE, "A conversation.", read),
        Operation("POST", _ONE, "Change a conversation's metadata.", change, ChangeIn),
        Operation("DELETE", _ONE, "Delete a conversation with its items.", delete),
    ]


def _items(doors: Doors) -> list[Operation]:
    desk = doors.services.transcripts

    async def add(request: Request) -> Response:
        caller = await doors.identify(request)
        pages.includes(request)
        wire = bodies.decode(await doors.body(request), ItemsIn)
        added = await doors.services.responses.resolved(caller.actor, _taken_in(doors, wire.items))
        await desk.add(caller.actor, request.path_params["conversation_id"], added)
        return JSONResponse(pages.listed(added, len(added)))

    async def listed(request: Request) -> Response:
        caller = await doors.identify(request)
        found = await desk.items(caller.actor, request.path_params["conversation_id"])
        return JSONResponse(pages.page(request, found))

    async def one(request: Request) -> Response:
        caller = await doors.identify(request)
        path = request.path_params
        item = await desk.item(caller.actor, path["conversation_id"], path["item_id"])
        return JSONResponse(item if pages.IMAGE_URLS in pages.includes(request) else pages.without_images(item))

    async def remove(request: Request) -> Response:
        caller = await doors.identify(request)
        path = request.path_params
        left = await desk.remove_item(caller.actor, path["conversation_id"], path["item_id"])
        return JSONResponse(_conversation(left))

    item = f"{_ONE}/items/{{item_id}}"
    return [
        Operation("POST", f"{_ONE}/items", "Add items to a conversation.", add, ItemsIn, query=("include",)),
        Operation("GET", f"{_ONE}/items", "A conversation's items.", listed, query=pages.QUERY),
        Operation("GET", item, "One item of a conversation.", one, query=("include",)),
        Operation("DELETE", item, "Take an item out of a conversation.", remove),
    ]


def _taken_in(doors: Doors, given: list[dict[str, Any]]) -> list[items.Item]:
    if len(given) > _MAX_ADDED:
        raise bad("items", f"`items` has {len(given)} entries.", f"Send at most {_MAX_ADDED} at a time.")
    return items.taken_in(given, partial(new_id, clock=doors.clock), "items")


def _conversation(transcript: Transcript) -> dict[str, Any]:
    return {
        "id": transcript.id,
        "object": "conversation",
        "created_at": transcript.created_ms // 1000,
        "metadata": dict(transcript.notes),
    }
