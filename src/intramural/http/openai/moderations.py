"""`/v1/moderations`: there is no classifier to ask, and that is said."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from intramural.core.errors import NotOffered
from intramural.http import bodies
from intramural.http.doors import Doors
from intramural.http.operations import Operation


class ModerationIn(msgspec.Struct, forbid_unknown_fields=True):
    """CreateModerationRequest."""

    input: str | list[Any]
    model: str | None = None


def operations(doors: Doors) -> list[Operation]:
    """Judging texts."""

    async def moderations(request: Request) -> Response:
        await doors.identify(request)
        bodies.decode(await doors.body(request), ModerationIn)
        raise NotOffered(
            "no_classifier",
            "No model that classifies texts is installed, so nothing here can say whether a text is harmful.",
            "Ask a chat model to judge the text, with a `response_format` for its verdict.",
        )

    summary = "Judge whether texts are harmful: not offered, and answered so (501)."
    return [Operation("POST", "/v1/moderations", summary, moderations, ModerationIn)]
