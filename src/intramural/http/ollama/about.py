"""`/api/version`, `/api/status`, and what is not here on purpose."""

from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from intramural import __version__
from intramural.core.errors import Missing
from intramural.http.doors import Doors
from intramural.http.operations import Operation

#: The version of Ollama whose API is spoken here: clients ask for it to see what they may send.
SPOKEN: Final = "0.32.15"
#: What clients look for at `/` to know that somebody is there.
GREETING: Final = "Ollama is running"

_NO_ACCOUNT: Final = "Accounts at ollama.com are not used here: you are who your key says."
_NO_CLOUD: Final = "This service asks no other machine for an answer."
#: Routes of Ollama that reach out to its makers' service.
_ABSENT: Final = (
    ("POST", "/api/me", _NO_ACCOUNT),
    ("POST", "/api/signout", _NO_ACCOUNT),
    ("DELETE", "/api/user/keys/{key}", _NO_ACCOUNT),
    ("POST", "/api/systemone", _NO_CLOUD),
    ("POST", "/api/web_search", _NO_CLOUD),
    ("POST", "/api/web_fetch", _NO_CLOUD),
    ("POST", "/api/experimental/web_search", _NO_CLOUD),
    ("POST", "/api/experimental/web_fetch", _NO_CLOUD),
    (
        "GET",
        "/api/experimental/model-recommendations",
        "`intramural search` says which models fit this machine.",
    ),
)


def operations(doors: Doors) -> list[Operation]:
    """Version and status."""

    async def version(request: Request) -> Response:
        await doors.identify(request)
        return JSONResponse({"version": SPOKEN, "intramural": __version__})

    async def status(request: Request) -> Response:
        await doors.identify(request)
        return JSONResponse({"cloud": {"disabled": True, "source": "config"}})

    async def absent(request: Request) -> Response:
        await doors.identify(request)
        why = next((why for _, path, why in _ABSENT if path == request.url.path), _NO_ACCOUNT)
        raise Missing("absent_on_purpose", f"There is no {request.url.path} here.", why)

    return [
        Operation("GET", "/api/version", "The version of Ollama whose API this is.", version),
        Operation("GET", "/api/status", "That no cloud is used.", status),
        *(Operation(method, path, f"Not here. {why}", absent) for method, path, why in _ABSENT),
    ]
