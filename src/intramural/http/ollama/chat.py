"""`/api/chat` and `/api/generate`."""

from starlette.requests import Request
from starlette.responses import Response

from intramural.http import bodies
from intramural.http.doors import Doors
from intramural.http.ollama import parse, shapes
from intramural.http.ollama.answering import Answering
from intramural.http.operations import Operation

_LINES = "application/x-ndjson"


def operations(doors: Doors) -> list[Operation]:
    """Answering a conversation, and a prompt."""
    answer_chat = Answering(doors, "chat", "chat")
    answer_prompt = Answering(doors, "generate", "completion")

    async def chat(request: Request) -> Response:
        caller = await doors.identify(request)
        wire = bodies.decode(await doors.body(request), shapes.ChatIn)
        asked = parse.chat(wire, doors.request_id(request))
        return await answer_chat(request, caller.actor, wire.model, asked, idle=not wire.messages)

    async def generate(request: Request) -> Response:
        caller = await doors.identify(request)
        wire = bodies.decode(await doors.body(request), shapes.GenerateIn)
        asked = parse.generate(wire, doors.request_id(request))
        return await answer_prompt(request, caller.actor, wire.model, asked, idle=not (wire.prompt or wire.suffix))

    return [
        Operation("POST", "/api/chat", "Answer a conversation.", chat, shapes.ChatIn, media_type=_LINES),
        Operation("POST", "/api/generate", "Answer a prompt.", generate, shapes.GenerateIn, media_type=_LINES),
    ]
