"""Reading what is another's in an emergency: asking, agreeing, looking; and what the owner is told."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from intramural.access import PURPOSES, Notice, Opening
from intramural.core.actor import Actor
from intramural.core.errors import Misasked
from intramural.http.attachments import attachment, saved
from intramural.http.doors import Doors
from intramural.http.page import shapes
from intramural.http.page.chats import whole_chat
from intramural.http.page.routing import routes
from intramural.services.looking import Looking

Id = Annotated[str, Path(max_length=64)]
Owner = Annotated[str | None, Query(max_length=64)]
Before = Annotated[str | None, Query(max_length=64, description="The last one of the page before.")]
Shape = TypeVar("Shape", bound=BaseModel)
_Look = Callable[[Request, str, str | None], Awaitable[tuple[Looking, str]]]


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


class ResponseShown(BaseModel):
    """`status`: as its dialect has it."""

    id: str
    model: str
    status: str
    workspace_id: str | None
    created_ms: int


class WholeResponse(BaseModel):
    """Its own items, as its dialect has them; what came before is in `previous_id`."""

    id: str
    previous_id: str | None
    response: dict[str, Any]
    input: list[dict[str, Any]]
    output: list[dict[str, Any]]


class ConversationShown(BaseModel):
    """`notes`: what its owner's program attached."""

    id: str
    notes: dict[str, str]
    workspace_id: str | None
    created_ms: int


class WholeConversation(BaseModel):
    """With all its items, as their dialect has them."""

    conversation: ConversationShown
    items: list[dict[str, Any]]


class BatchShown(BaseModel):
    """Of `total` lines so many `completed` and `failed`."""

    id: str
    dialect: str
    endpoint: str
    state: str
    total: int
    completed: int
    failed: int
    workspace_id: str | None
    created_ms: int
    ended_ms: int | None
    input_file_id: str | None
    output_file_id: str | None
    error_file_id: str | None


def router(doors: Doors) -> APIRouter:
    """`/break-glass…` and `/me/openings…`."""
    api = routes("break glass")
    _lifecycle(api, doors)
    _of_the_page(api, doors)
    _of_programs(api, doors)
    _of_batches(api, doors)
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


def _looking(doors: Doors) -> _Look:
    """What each route below begins with: who asks, through which opening, and whose things are meant."""

    async def look(request: Request, opening_id: str, owner: str | None) -> tuple[Looking, str]:
        caller = await doors.identify(request)
        looking = await doors.services.break_glass.looking(caller.actor, opening_id)
        return looking, _owner(looking, owner)

    return look


def _of_the_page(api: APIRouter, doors: Doors) -> None:
    glass, shown, look = doors.services.break_glass, doors.services.shown, _looking(doors)

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
        found = await shown.chats(*await look(request, opening_id, owner), limit=limit, before_ms=before_ms)
        return {"chats": [_fields(ChatShown, each.chat) for each in found]}

    @api.get("/break-glass/{opening_id}/chats/{chat_id}")
    async def chat(opening_id: Id, chat_id: Id, request: Request, owner: Owner = None) -> shapes.WholeChat:
        """A chat with its messages."""
        whole = await shown.chat(*await look(request, opening_id, owner), chat_id)
        return whole_chat(whole.chat, whole.messages)


def _of_programs(api: APIRouter, doors: Doors) -> None:
    shown, look = doors.services.shown, _looking(doors)

    @api.get("/break-glass/{opening_id}/files")
    async def files(
        opening_id: Id, request: Request, owner: Owner = None, before: Before = None
    ) -> dict[str, list[FileShown]]:
        """An owner's files, the newest 200, or those older than `before`."""
        found = await shown.files(*await look(request, opening_id, owner), before)
        return {"files": [_fields(FileShown, each) for each in found]}

    @api.get("/break-glass/{opening_id}/files/{file_id}/content", response_class=Response)
    async def content(opening_id: Id, file_id: Id, request: Request, owner: Owner = None) -> Response:
        """A file's bytes, as an attachment."""
        looking, owner_id = await look(request, opening_id, owner)
        file, opened = await shown.file(looking, owner_id, file_id)
        return attachment(file, opened, labelled=doors.services.inference.labels(looking.actor))

    @api.get("/break-glass/{opening_id}/responses")
    async def responses(
        opening_id: Id, request: Request, owner: Owner = None, before: Before = None
    ) -> dict[str, list[ResponseShown]]:
        """The kept responses of an owner's programs, without what was said; paged as files are."""
        found = await shown.responses(*await look(request, opening_id, owner), before)
        return {
            "responses": [
                ResponseShown(
                    id=each.id,
                    model=str(each.body.get("model", "")),
                    status=str(each.body.get("status", "")),
                    workspace_id=each.workspace_id,
                    created_ms=each.created_ms,
                )
                for each in found
            ]
        }

    @api.get("/break-glass/{opening_id}/responses/{response_id}")
    async def response(opening_id: Id, response_id: Id, request: Request, owner: Owner = None) -> WholeResponse:
        """A kept response with what it was made from and what was answered."""
        found = await shown.response(*await look(request, opening_id, owner), response_id)
        return WholeResponse(
            id=found.id,
            previous_id=found.previous_id,
            response=found.body,
            input=list(found.input),
            output=list(found.output),
        )

    @api.get("/break-glass/{opening_id}/conversations")
    async def conversations(
        opening_id: Id, request: Request, owner: Owner = None, before: Before = None
    ) -> dict[str, list[ConversationShown]]:
        """The conversations of an owner's programs, without what was said; paged as files are."""
        found = await shown.conversations(*await look(request, opening_id, owner), before)
        return {"conversations": [_fields(ConversationShown, each) for each in found]}

    @api.get("/break-glass/{opening_id}/conversations/{conversation_id}")
    async def conversation(
        opening_id: Id, conversation_id: Id, request: Request, owner: Owner = None
    ) -> WholeConversation:
        """A conversation of an owner's program with all its items."""
        about, items = await shown.conversation(*await look(request, opening_id, owner), conversation_id)
        return WholeConversation(conversation=_fields(ConversationShown, about), items=list(items))


def _of_batches(api: APIRouter, doors: Doors) -> None:
    shown, look = doors.services.shown, _looking(doors)

    @api.get("/break-glass/{opening_id}/batches")
    async def batches(
        opening_id: Id, request: Request, owner: Owner = None, before: Before = None
    ) -> dict[str, list[BatchShown]]:
        """An owner's batches of every dialect, without what was asked and answered; paged as files are."""
        found = await shown.batches(*await look(request, opening_id, owner), before)
        return {"batches": [_fields(BatchShown, each) for each in found]}

    @api.get("/break-glass/{opening_id}/batches/{batch_id}/input", response_class=Response)
    async def asked(opening_id: Id, batch_id: Id, request: Request, owner: Owner = None) -> Response:
        """What a batch was asked, a line a request, as an attachment."""
        pieces = await shown.batch_input(*await look(request, opening_id, owner), batch_id)
        return saved(f"{batch_id}-input.jsonl", pieces, labelled=False)

    @api.get("/break-glass/{opening_id}/batches/{batch_id}/results", response_class=Response)
    async def answered(opening_id: Id, batch_id: Id, request: Request, owner: Owner = None) -> Response:
        """What a batch was answered so far, a line a request, as an attachment."""
        looking, owner_id = await look(request, opening_id, owner)
        pieces = await shown.batch_results(looking, owner_id, batch_id)
        labelled = doors.services.inference.labels(looking.actor)
        return saved(f"{batch_id}-results.jsonl", pieces, labelled=labelled)


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


def _fields(shape: type[Shape], thing: Any) -> Shape:
    """What `shape` has of a thing."""
    return shape(**{name: getattr(thing, name) for name in shape.model_fields})


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
