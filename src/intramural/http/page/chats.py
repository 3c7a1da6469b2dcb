"""A person's chats, and the stream that answers a turn."""

from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from intramural.chats import Chat, StoredMessage
from intramural.core.chat import Sampling
from intramural.http import labels, sse
from intramural.http.doors import Doors
from intramural.http.openai.chat import chat_frames
from intramural.http.openai.write import Form
from intramural.http.page import shapes
from intramural.http.page.routing import routes
from intramural.http.wire import CHAT_PAGE, frame
from intramural.services.conversations import Answering

Id = Annotated[str, Path(max_length=64)]


def router(doors: Doors) -> APIRouter:
    """`/chats…`."""
    api = routes("chats")
    conversations = doors.services.conversations

    @api.get("/chats")
    async def list_chats(
        request: Request,
        query: Annotated[str, Query(max_length=200)] = "",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        before_ms: Annotated[int | None, Query(ge=0, le=2**53)] = None,
    ) -> dict[str, list[shapes.ChatFound]]:
        """One's own chats, newest first; with `query`, those that hold it."""
        caller = await doors.identify(request)
        found = await conversations.list(caller.actor, query=query, limit=limit, before_ms=before_ms)
        return {
            "chats": [
                shapes.ChatFound(
                    id=each.chat.id,
                    title=each.chat.title,
                    model=each.chat.model,
                    workspace_id=each.chat.workspace_id,
                    created_ms=each.chat.created_ms,
                    updated_ms=each.chat.updated_ms,
                    snippet=each.snippet,
                )
                for each in found
            ]
        }

    @api.post("/chats", status_code=201)
    async def create_chat(given: shapes.ChatIn, request: Request) -> shapes.WholeChat:
        """A new, empty chat."""
        caller = await doors.identify(request)
        return whole_chat(await conversations.create(caller.actor, model=given.model, title=given.title), ())

    @api.get("/chats/{chat_id}")
    async def get_chat(chat_id: Id, request: Request) -> shapes.WholeChat:
        """A chat with its messages."""
        caller = await doors.identify(request)
        whole = await conversations.get(caller.actor, chat_id)
        return whole_chat(whole.chat, whole.messages)

    @api.patch("/chats/{chat_id}")
    async def change_chat(chat_id: Id, given: shapes.ChatChange, request: Request) -> shapes.ChatOut:
        """Rename a chat, or let another model answer from now on."""
        caller = await doors.identify(request)
        changed = await conversations.change(caller.actor, chat_id, title=given.title, model=given.model)
        return whole_chat(changed, ())

    @api.delete("/chats/{chat_id}", status_code=204)
    async def delete_chat(chat_id: Id, request: Request) -> None:
        """Delete a chat with its messages."""
        caller = await doors.identify(request)
        await conversations.delete(caller.actor, chat_id)

    @api.post("/chats/{chat_id}/turns")
    async def turn(chat_id: Id, given: shapes.TurnIn, request: Request) -> Response:
        """Say something, edit (`replace_from` one's own message) or regenerate (`replace_from` an answer).

        Answers with server-sent events: `turn` (identifiers), `chat.completion.chunk` objects, `[DONE]`.
        """
        caller = await doors.identify(request)
        waits = sse.Waits()
        answering = await conversations.ask(
            caller.actor,
            chat_id,
            content=given.content,
            replace_from=given.replace_from,
            model=given.model,
            sampling=Sampling(temperature=given.temperature, max_tokens=given.max_tokens),
            on_wait=waits,
        )
        return sse.EventStream(
            _frames(answering, int(doors.clock.now_s())),
            waits,
            CHAT_PAGE,
            headers={
                sse.REQUEST_ID: answering.request.id,
                # it begins before a model is asked: the digest is in the receipt
                **({labels.GENERATED: labels.header(answering.request.model)} if answering.labelled else {}),
            },
        )

    return api


async def _frames(answering: Answering, created_s: int) -> AsyncGenerator[bytes, None]:
    turn = answering.turn
    head = {
        "user_message_id": turn.user_message_id,
        "assistant_message_id": turn.assistant_message_id,
        "request_id": answering.request.id,
    }
    yield frame(head, "turn")
    frames = chat_frames(answering.events, Form(answering.request, created_s, with_usage=True))
    try:
        async for each in frames:
            yield each
    finally:
        await frames.aclose()


def whole_chat(chat: Chat, messages: tuple[StoredMessage, ...]) -> shapes.WholeChat:
    """A chat as it is answered."""
    return shapes.WholeChat(
        id=chat.id,
        title=chat.title,
        model=chat.model,
        workspace_id=chat.workspace_id,
        created_ms=chat.created_ms,
        updated_ms=chat.updated_ms,
        messages=[
            shapes.MessageOut(
                id=m.id,
                role=m.role,
                content=m.content,
                model=m.model,
                outcome=m.outcome,
                request_id=m.request_id,
                created_ms=m.created_ms,
            )
            for m in messages
        ],
    )
