"""Reading what is another's in an emergency: asking, agreeing, looking; and what the owner is told."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from intramural.access import PURPOSES, Notice, Opening
from intramural.core.actor import Actor
from intramural.core.errors import Misasked
from intramural.http.attachments import attachment
from intramural.http.doors import Doors
from intramural.http.page import shapes
from intramural.http.page.chats import whole_chat
from intramural.http.page.routing import routes
from intramural.services.looking import Looking

Id = Annotated[str, Path(max_length=64)]
Owner = Annotated[str | None, Query(max_length=64)]


class OpeningIn(shapes.In):
    """What is asked for: a person, a workspace, or a person in a workspace."""

    person: str | None = Field(default=None, min_length=1, max_length=64, description="A user name.")
    workspace: str | None = Field(default=None, min_length=1, max_length=100, description="Its name or identifier.")
    purpose: str = Field(max_length=40, description="One of: " + ", ".join(PURPOSES))
    reason: str = Field(max_length=4_000)
    minutes: int | None = Field(default=None, ge=1, le=1_440)


class OpeningOut(BaseModel):
    """`asker`, `person`, `workspace` and `approver` are names of today, empty for who is gone."""

    id: str
    state: str
    asker: str
    person: str | None
    workspace: str | None
    purpose: str
    reason: str
    minutes: int
    second_person: bool
    approver: str | None
    asked_ms: int
    ends_ms: int
    opened_ms: int | None
    closed_ms: int | None
    why: str | None
    mine: bool


class NoticeOut(BaseModel):
    """Who opened what is one's own, why, until when, and how often something was read. `purpose_text`: in words."""

    opening_id: str
    who: str
    purpose: str
    purpose_text: str
    reason: str
    told_ms: int
    ends_ms: int
    closed_ms: int | None
    reads: int
    seen: bool


class OwnerOut(BaseModel):
    id: str
    username: str


class ChatShown(BaseModel):
    id: str
    title: str
    model: str
    workspace_id: str | None
    created_ms: int
    updated_ms: int


class FileShown(BaseModel):
    id: str
    name: str
    purpose: str
    size_bytes: int
    created_ms: int


def router(doors: Doors) -> APIRouter:
    """`/break-glass…` and `/me/openings…`."""
    api = routes("break glass")
    _lifecycle(api, doors)
    _reading(api, doors)
    _told(api, doors)
    return api


def _lifecycle(api: APIRouter, doors: Doors) -> None:
    glass = doors.services.break_glass

    async def shown(actor: Actor, opening: Opening) -> OpeningOut:
        return _opening(opening, await glass.names(), actor.person_id)

    @api.post("/break-glass", status_code=201)
    async def ask(given: OpeningIn, request: Request) -> OpeningOut:
        """Ask to read what is of a person, in a workspace, or of a person in a workspace. It is opened separately."""
        caller = await doors.identify(request)
        opening = await glass.ask(
            caller.actor,
            username=given.person,
            workspace=given.workspace,
            purpose=given.purpose,
            reason=given.reason,
            minutes=given.minutes,
        )
        return await shown(caller.actor, opening)

    @api.get("/break-glass")
    async def listed(request: Request) -> dict[str, list[OpeningOut]]:
        """The newest 500; for who may only ask, their own."""
        caller = await doors.identify(request)
        found = await glass.list(caller.actor)
        names = await glass.names()
        return {"openings": [_opening(each, names, caller.actor.person_id) for each in found]}

    @api.get("/break-glass/{opening_id}")
    async def one(opening_id: Id, request: Request) -> OpeningOut:
        """One of them."""
        caller = await doors.identify(request)
        return await shown(caller.actor, await glass.get(caller.actor, opening_id))

    @api.post("/break-glass/{opening_id}/approve")
    async def approve(opening_id: Id, request: Request) -> OpeningOut:
        """Agree to it, as a second person."""
        caller = await doors.identify(request)
        return await shown(caller.actor, await glass.approve(caller.actor, opening_id))

    @api.post("/break-glass/{opening_id}/refuse")
    async def refuse(opening_id: Id, request: Request) -> OpeningOut:
        """Say no to it, or take back that one agreed."""
        caller = await doors.identify(request)
        return await shown(caller.actor, await glass.refuse(caller.actor, opening_id))

    @api.post("/break-glass/{opening_id}/open")
    async def begin(opening_id: Id, request: Request) -> OpeningOut:
        """Begin: its time runs, and the owners are told."""
        caller = await doors.identify(request)
        return await shown(caller.actor, await glass.open(caller.actor, opening_id))

    @api.post("/break-glass/{opening_id}/close")
    async def close(opening_id: Id, request: Request) -> OpeningOut:
        """End it."""
        caller = await doors.identify(request)
        return await shown(caller.actor, await glass.close(caller.actor, opening_id))


def _reading(api: APIRouter, doors: Doors) -> None:
    glass = doors.services.break_glass
    conversations, files = doors.services.conversations, doors.services.files

    @api.get("/break-glass/{opening_id}/owners")
    async def owners(opening_id: Id, request: Request) -> dict[str, list[OwnerOut]]:
        """Whose things it is about, while it is open."""
        caller = await doors.identify(request)
        looking = await glass.looking(caller.actor, opening_id)
        names = await glass.names()
        return {"owners": [OwnerOut(id=each, username=names.get(each, "")) for each in await glass.owners(looking)]}

    @api.get("/break-glass/{opening_id}/chats")
    async def chats(
        opening_id: Id,
        request: Request,
        owner: Owner = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        before_ms: Annotated[int | None, Query(ge=0, le=2**53)] = None,
    ) -> dict[str, list[ChatShown]]:
        """An owner's chats, newest first. `owner` is needed where the opening is of a workspace."""
        caller = await doors.identify(request)
        looking = await glass.looking(caller.actor, opening_id)
        owner_id = _owner(looking, owner)
        found = await conversations.shown(caller.actor, looking, owner_id, limit=limit, before_ms=before_ms)
        return {
            "chats": [
                ChatShown(
                    id=each.chat.id,
                    title=each.chat.title,
                    model=each.chat.model,
                    workspace_id=each.chat.workspace_id,
                    created_ms=each.chat.created_ms,
                    updated_ms=each.chat.updated_ms,
                )
                for each in found
            ]
        }

    @api.get("/break-glass/{opening_id}/chats/{chat_id}")
    async def chat(opening_id: Id, chat_id: Id, request: Request, owner: Owner = None) -> shapes.WholeChat:
        """A chat with its messages."""
        caller = await doors.identify(request)
        looking = await glass.looking(caller.actor, opening_id)
        whole = await conversations.shown_chat(caller.actor, looking, _owner(looking, owner), chat_id)
        return whole_chat(whole.chat, whole.messages)

    @api.get("/break-glass/{opening_id}/files")
    async def listed_files(opening_id: Id, request: Request, owner: Owner = None) -> dict[str, list[FileShown]]:
        """An owner's files, the newest 1,000."""
        caller = await doors.identify(request)
        looking = await glass.looking(caller.actor, opening_id)
        found = await files.shown(caller.actor, looking, _owner(looking, owner))
        names = ("id", "name", "purpose", "size_bytes", "created_ms")
        return {"files": [FileShown(**{name: getattr(each, name) for name in names}) for each in found]}

    @api.get("/break-glass/{opening_id}/files/{file_id}/content", response_class=Response)
    async def content(opening_id: Id, file_id: Id, request: Request, owner: Owner = None) -> Response:
        """A file's bytes, as an attachment."""
        caller = await doors.identify(request)
        looking = await glass.looking(caller.actor, opening_id)
        file, opened = await files.shown_content(caller.actor, looking, _owner(looking, owner), file_id)
        return attachment(file, opened, labelled=doors.services.inference.labels(caller.actor))


def _told(api: APIRouter, doors: Doors) -> None:
    glass = doors.services.break_glass

    @api.get("/me/openings")
    async def notices(request: Request) -> dict[str, list[NoticeOut]]:
        """Who opened what is one's own, the newest first."""
        caller = await doors.identify(request)
        found = await glass.notices(caller.actor)
        names = await glass.names() if found else {}
        return {"notices": [_notice(each, names) for each in found]}

    @api.post("/me/openings/{opening_id}/seen", status_code=204)
    async def seen(opening_id: Id, request: Request) -> None:
        """One has seen the notice of it."""
        caller = await doors.identify(request)
        await glass.seen(caller.actor, opening_id)


def _owner(looking: Looking, named: str | None) -> str:
    """Whose things are meant. Raises Misasked(`owner_needed`)."""
    owner_id = named or looking.glass.person_id
    if owner_id is None:
        hint = "Send `owner`: an identifier from the opening's list of owners."
        raise Misasked("owner_needed", "In a workspace there are several people's.", hint, param="owner")
    return owner_id


def _opening(opening: Opening, names: Mapping[str, str], reader_id: str) -> OpeningOut:
    return OpeningOut(
        id=opening.id,
        state=opening.state,
        asker=names.get(opening.asker_id, ""),
        person=names.get(opening.person_id, "") if opening.person_id else None,
        workspace=names.get(opening.workspace_id, "") if opening.workspace_id else None,
        purpose=opening.purpose,
        reason=opening.reason,
        minutes=opening.minutes,
        second_person=opening.second,
        approver=names.get(opening.approver_id, "") if opening.approver_id else None,
        asked_ms=opening.asked_ms,
        ends_ms=opening.ends_ms,
        opened_ms=opening.opened_ms,
        closed_ms=opening.closed_ms,
        why=opening.why,
        mine=opening.asker_id == reader_id,
    )


def _notice(notice: Notice, names: Mapping[str, str]) -> NoticeOut:
    return NoticeOut(
        opening_id=notice.opening_id,
        who=names.get(notice.asker_id, ""),
        purpose=notice.purpose,
        purpose_text=PURPOSES.get(notice.purpose, notice.purpose),
        reason=notice.reason,
        told_ms=notice.told_ms,
        ends_ms=notice.ends_ms,
        closed_ms=notice.closed_ms,
        reads=notice.reads,
        seen=notice.seen_ms is not None,
    )
