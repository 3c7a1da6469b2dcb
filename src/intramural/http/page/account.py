"""Set-up, sign-in, sign-out and one's own account."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse

from intramural import __version__
from intramural.core.errors import Refused, Unauthenticated
from intramural.http import identity
from intramural.http.doors import Doors
from intramural.http.page import seats, shapes
from intramural.http.page.routing import routes
from intramural.http.page.seats import agent, seated, session_of


def router(doors: Doors) -> APIRouter:
    """`/welcome`, `/setup`, `/login`, `/logout`, `/me…`."""
    api = routes("account")
    sign_in = doors.services.sign_in
    cookie = identity.cookie_name(https=doors.config.https)

    @api.get("/welcome")
    async def welcome(request: Request) -> shapes.Welcome:
        """Whether set-up is needed and whether this browser is signed in; needs no credential."""
        try:
            await doors.identify(request, awaiting=True)
            signed_in = True
        except (Unauthenticated, Refused):
            signed_in = False
        return shapes.Welcome(
            version=__version__,
            setup_needed=await sign_in.setup_needed(),
            signed_in=signed_in,
            providers=[
                shapes.ProviderOut(name=name, title=title) for name, title in doors.services.federation.listed()
            ],
        )

    @api.post("/setup", status_code=201)
    async def setup(given: shapes.SetupIn, request: Request, response: Response) -> shapes.Me:
        """Make the first administrator with the one-time token that was printed at start."""
        identity.refuse_foreign(request)
        seat = await sign_in.set_up(given.token, given.username, given.password, agent(request))
        return await seated(doors, response, seat)

    @api.post("/login")
    async def login(given: shapes.LoginIn, request: Request, response: Response) -> shapes.Me:
        """Sign in with name and password. Where `awaits` is said, more is asked before the session opens anything."""
        identity.refuse_foreign(request)
        seat = await sign_in.sign_in(given.username, given.password, _address(request), agent(request))
        return await seated(doors, response, seat)

    @api.post("/logout", status_code=204)
    async def logout(request: Request, response: Response) -> None:
        """End this session."""
        caller = await doors.identify(request, awaiting=True)
        await sign_in.sign_out(caller.actor, session_of(caller).id)
        response.delete_cookie(cookie, path="/", secure=doors.config.https, httponly=True, samesite="strict")

    @api.get("/me/export", response_class=StreamingResponse)
    async def export(request: Request) -> StreamingResponse:
        """All that is kept of oneself, as a ZIP file: every table as JSON, and the bytes of one's files."""
        caller = await doors.identify(request)
        found = await doors.services.personal.export(caller.actor)
        named = {"Content-Disposition": 'attachment; filename="intramural-export.zip"', "Cache-Control": "no-store"}
        return StreamingResponse(found, media_type="application/zip", headers=named)

    @api.get("/me")
    async def me(request: Request) -> shapes.Me:
        """Who is asking, and what they may do."""
        caller = await doors.identify(request, awaiting=True)
        return seats.me(caller.actor, caller.session)

    @api.post("/me/password")
    async def change_password(given: shapes.PasswordIn, request: Request, response: Response) -> shapes.Me:
        """Change one's own password. Every session ends; this browser gets a new one."""
        caller = await doors.identify(request)
        session_of(caller)
        seat = await sign_in.change_password(caller.actor, given.old, given.new, _address(request), agent(request))
        return await seated(doors, response, seat)

    @api.get("/me/sessions")
    async def sessions(request: Request) -> dict[str, list[shapes.SessionOut]]:
        """One's own sessions."""
        caller = await doors.identify(request)
        current = caller.session.id if caller.session else None
        return {
            "sessions": [
                shapes.SessionOut(
                    id=each.id,
                    created_ms=each.created_ms,
                    last_seen_ms=each.last_seen_ms,
                    user_agent=each.user_agent,
                    current=each.id == current,
                )
                for each in await sign_in.sessions(caller.actor)
            ]
        }

    @api.delete("/me/sessions/{session_id}", status_code=204)
    async def revoke(session_id: Annotated[str, Path(max_length=64)], request: Request) -> None:
        """End one of one's own sessions."""
        caller = await doors.identify(request)
        await sign_in.revoke_session(caller.actor, session_id)

    return api


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"
