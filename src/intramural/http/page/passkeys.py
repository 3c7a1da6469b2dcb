"""Passkeys: what the page asks the browser for, and what the browser answers."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from intramural.access.passkeys import Passkey
from intramural.http import identity
from intramural.http.doors import Doors
from intramural.http.page import shapes
from intramural.http.page.routing import routes
from intramural.http.page.seats import agent, seated, session_of

Id = Annotated[str, Path(max_length=64)]


def router(doors: Doors) -> APIRouter:
    """`/login/passkey…`, `/me/passkeys…`."""
    api = routes("passkeys")
    passkeys = doors.services.passkeys

    def origin(request: Request) -> str:
        return identity.origin(request, https=doors.config.https)

    @api.post("/login/passkey/begin")
    async def begin_sign_in(request: Request) -> shapes.PasskeyAsked:
        """What to ask the browser of who wants to sign in with a passkey; needs no credential."""
        identity.refuse_foreign(request)
        asked = await passkeys.begin_sign_in(origin(request))
        return shapes.PasskeyAsked(options=dict(asked.options), ticket=asked.ticket)

    @api.post("/login/passkey")
    async def sign_in(given: shapes.PasskeyIn, request: Request, response: Response) -> shapes.Me:
        """Sign in with what the browser answered."""
        identity.refuse_foreign(request)
        seat = await passkeys.sign_in(given.ticket, given.credential, origin(request), agent(request))
        return await seated(doors, response, seat)

    @api.get("/me/passkeys")
    async def mine(request: Request) -> dict[str, list[shapes.PasskeyOut]]:
        """One's own passkeys."""
        caller = await doors.identify(request, awaiting=True)
        return {"passkeys": [_shown(each) for each in await passkeys.mine(caller.actor)]}

    @api.post("/me/passkeys/begin")
    async def begin_adding(request: Request) -> shapes.PasskeyAsked:
        """What to ask the browser for a new passkey."""
        caller = await doors.identify(request, awaiting=True)
        asked = await passkeys.begin_adding(caller.actor, session_of(caller), origin(request))
        return shapes.PasskeyAsked(options=dict(asked.options), ticket=asked.ticket)

    @api.post("/me/passkeys", status_code=201)
    async def add(given: shapes.NewPasskeyIn, request: Request, response: Response) -> shapes.NewPasskey:
        """Keep the passkey that the browser made. Codes for paper are shown to who had none."""
        caller = await doors.identify(request, awaiting=True)
        added = await passkeys.add(
            caller.actor,
            session_of(caller),
            given.ticket,
            given.credential,
            name=given.name,
            origin=origin(request),
            user_agent=agent(request),
        )
        me = None if added.seat is None else await seated(doors, response, added.seat)
        return shapes.NewPasskey(passkey=_shown(added.passkey), codes=list(added.recovery_codes), me=me)

    @api.delete("/me/passkeys/{passkey_id}", status_code=204)
    async def remove(passkey_id: Id, request: Request) -> None:
        """Take one of one's own passkeys away."""
        caller = await doors.identify(request)
        await passkeys.remove(caller.actor, session_of(caller), passkey_id)

    return api


def _shown(passkey: Passkey) -> shapes.PasskeyOut:
    return shapes.PasskeyOut(
        id=passkey.id, name=passkey.name, created_ms=passkey.created_ms, last_used_ms=passkey.last_used_ms
    )
