"""Who is at the door: a key in `Authorization` or `x-api-key`, or a session cookie.

A session's request that changes something needs its CSRF token too.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from intramural.access import Identify, Session
from intramural.core.actor import CONSOLE, Actor
from intramural.core.errors import Refused, Unauthenticated

SESSION_COOKIE = "intramural_session"
CSRF_HEADER = "x-csrf-token"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody identified, and the session if that is how."""

    actor: Actor
    session: Session | None = None


def cookie_name(*, https: bool) -> str:
    """Under TLS the `__Host-` prefix makes browsers insist on Secure, no Domain and Path=/."""
    return f"__Host-{SESSION_COOKIE}" if https else SESSION_COOKIE


def start_cookie_name(*, https: bool) -> str:
    """The cookie of a sign-in that is under way elsewhere."""
    return "__Host-intramural_start" if https else "intramural_start"


def origin(request: Request, *, https: bool) -> str:
    """How the browser names this service: `https://ai.example.org`."""
    return f"{'https' if https else 'http'}://{request.headers.get('host', 'localhost')}"


#: Set in the ASGI scope by `Console` alone; nothing a client sends can put it there.
_CONSOLE = "intramural.console"
#: As above, by `as_caller`.
_CALLER = "intramural.caller"


def as_caller(actor: Actor) -> dict[str, Any]:
    """What to put into the scope of a request that the service makes of itself, as somebody it has identified."""
    return {_CALLER: Caller(actor)}


class Console:
    """The same application behind the private Unix socket: who can open that file administers the machine."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, _CONSOLE: True}, receive, send)


async def identify(request: Request, identity: Identify, *, https: bool, awaiting: bool = False) -> Caller:
    """The caller; with `awaiting` also one whose session still awaits something.

    Raises Unauthenticated, or Refused(`csrf`) for a change that another site may have sent.
    """
    if request.scope.get(_CONSOLE):
        return Caller(CONSOLE)
    if isinstance(inside := request.scope.get(_CALLER), Caller):
        return inside
    authorization = request.headers.get("authorization", "")
    if authorization:
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("bad_credentials", "Only bearer keys are understood.", "Send `Bearer im-…`.")
        return Caller(await identity.by_key(secret.strip()))
    if api_key := request.headers.get("x-api-key", ""):  # how Anthropic's clients send it
        return Caller(await identity.by_key(api_key.strip()))
    token = request.cookies.get(cookie_name(https=https))
    if not token:
        raise Unauthenticated(
            "no_credentials", "Nobody is signed in.", "Send `Authorization: Bearer im-…`, or sign in on the page."
        )
    actor, session = await identity.by_session(token, awaiting=awaiting)
    if request.method not in _SAFE_METHODS:
        refuse_foreign(request)
        if not session.csrf_matches(request.headers.get(CSRF_HEADER, "")):
            raise Refused("csrf", "The request does not carry this session's CSRF token.", "Reload the page.")
    return Caller(actor, session)


def refuse_foreign(request: Request) -> None:
    """Raises Refused(`csrf`) when a browser says that another site sent the request."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        raise Refused("csrf", "The request comes from another site.", "Use the page itself.")
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise Refused("csrf", "The request comes from another origin.", "Use the page itself.")
