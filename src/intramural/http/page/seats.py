"""A fresh session in the browser: its cookie, and who it is for."""

from typing import cast

from fastapi import Request, Response

from intramural.access import Session, permissions
from intramural.access.factors import Awaits
from intramural.core.actor import Actor
from intramural.core.errors import Misasked
from intramural.http import identity
from intramural.http.doors import Doors
from intramural.http.page import shapes
from intramural.services.seating import Seat


async def seated(doors: Doors, response: Response, seat: Seat) -> shapes.Me:
    """Put the session's cookie into `response`; who is signed in now."""
    https = doors.config.https
    response.set_cookie(
        identity.cookie_name(https=https), seat.token, httponly=True, samesite="strict", secure=https, path="/"
    )
    actor, session = await doors.services.identity.by_session(seat.token, awaiting=True)
    return me(actor, session)


def me(actor: Actor, session: Session | None) -> shapes.Me:
    """Who is asking, and what they may do: nothing, while their session awaits something."""
    awaits = session.awaits if session else None
    return shapes.Me(
        id=actor.person_id,
        username=actor.username,
        role=actor.role,
        groups=list(actor.groups),
        manages=list(actor.manages),
        workspace=actor.workspace,
        csrf_token=session.csrf_token if session else None,
        permissions=permissions(actor) if awaits is None else [],
        awaits=cast(Awaits | None, awaits),
    )


def session_of(caller: identity.Caller) -> Session:
    """The caller's session. Raises Misasked(`no_session`)."""
    if caller.session is None:
        raise Misasked("no_session", "This needs a signed-in session, not a key.", "Sign in on the page.")
    return caller.session


def agent(request: Request) -> str:
    """What the browser calls itself."""
    return request.headers.get("user-agent", "")[:200]
