"""A chat as a file, with the label that an AI wrote it: for people a line below, for programs fields."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from intramural.chats import StoredMessage
from intramural.http import labels
from intramural.http.doors import Doors
from intramural.http.page.routing import routes
from intramural.services.conversations import WholeChat

Id = Annotated[str, Path(max_length=64)]
_WHO = {"user": "You", "system": "Instructions"}


def router(doors: Doors) -> APIRouter:
    """`/chats/{chat_id}/export`."""
    api = routes("chats")
    conversations = doors.services.conversations

    @api.get("/chats/{chat_id}/export", response_class=Response)
    async def export(
        chat_id: Id, request: Request, form: Annotated[Literal["markdown", "json"], Query()] = "markdown"
    ) -> Response:
        """A chat as a file; what a model wrote in it is marked."""
        caller = await doors.identify(request)
        whole, labelled = await conversations.exported(caller.actor, chat_id)
        institution = doors.services.notices.institution
        headers = {"Cache-Control": "no-store"}
        if labelled and _models(whole.messages):
            headers[labels.GENERATED] = labels.header()
        ending = "md" if form == "markdown" else "json"
        headers["Content-Disposition"] = f'attachment; filename="{chat_id}.{ending}"'
        if form == "json":
            return JSONResponse(as_json(whole, institution, labelled=labelled), headers=headers)
        text = as_markdown(whole, institution, labelled=labelled)
        return PlainTextResponse(text, media_type="text/markdown; charset=utf-8", headers=headers)

    return api


def as_json(whole: WholeChat, institution: str, *, labelled: bool) -> dict[str, Any]:
    """The chat as an object; with `labelled` what models wrote has a field `generated`, and so has the whole."""
    messages: list[dict[str, Any]] = []
    for each in whole.messages:
        shown: dict[str, Any] = {"role": each.role, "content": each.content, "created_ms": each.created_ms}
        if each.role == "assistant" and labelled:
            shown["generated"] = labels.block(each.model or whole.chat.model, each.request_id)
        messages.append(shown)
    found: dict[str, Any] = {
        "object": "chat.export",
        "id": whole.chat.id,
        "title": whole.chat.title,
        "created_ms": whole.chat.created_ms,
        "messages": messages,
    }
    models = _models(whole.messages)
    if labelled and models:
        found["generated"] = {
            "source_type": labels.SOURCE_TYPE,
            "models": models,
            "statement": labels.footer(models, institution),
        }
    return found


def as_markdown(whole: WholeChat, institution: str, *, labelled: bool) -> str:
    """The chat as a text; with `labelled` it begins with fields for programs and ends with a line for people."""
    models = _models(whole.messages)
    marked = labelled and bool(models)
    lines = []
    if marked:
        lines += ["---", f"digital_source_type: {labels.SOURCE_TYPE}", "generated_by:"]
        lines += [f"  - {_yaml(model)}" for model in models] + ["---", ""]
    lines += [f"# {whole.chat.title or whole.chat.id}", ""]
    for each in whole.messages:
        at = datetime.fromtimestamp(each.created_ms / 1000, UTC).isoformat(timespec="minutes")
        who = _WHO.get(each.role, f"AI ({each.model or whole.chat.model})")
        lines += [f"**{who}**, {at}", "", each.content, ""]
    if marked:
        lines += ["---", "", f"*{labels.footer(models, institution)}*", ""]
    return "\n".join(lines)


def _models(messages: Sequence[StoredMessage]) -> list[str]:
    """Whoever wrote in it, in order."""
    return list(dict.fromkeys(each.model or "?" for each in messages if each.role == "assistant"))


def _yaml(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
