"""Second factors: one's own, and an administrator's help for who has lost theirs."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from intramural.access.factors import applies
from intramural.http.doors import Doors
from intramural.http.page import shapes
from intramural.http.page.routing import routes
from intramural.http.page.seats import agent, seated, session_of

Id = Annotated[str, Path(max_length=64)]


def router(doors: Doors) -> APIRouter:
    """`/login/second`, `/me/factors`, `/me/codes…`, `/me/recovery-codes`, `/people/{person_id}/factors`."""
    api = routes("second factors")
    factors = doors.services.factors

    @api.post("/login/second")
    async def second(given: shapes.CodeIn, request: Request, response: Response) -> shapes.Me:
        """Show a code, of an app or from paper, to a session that awaits a second factor."""
        caller = await doors.identify(request, awaiting=True)
        seat = await factors.show(caller.actor, session_of(caller), given.code, agent(request))
        return await seated(doors, response, seat)

    @api.get("/me/factors")
    async def mine(request: Request) -> shapes.Factors:
        """One's own second factors, and what the rules ask for."""
        caller = await doors.identify(request, awaiting=True)
        held, rules = await factors.mine(caller.actor), factors.rules
        return shapes.Factors(
            codes_ms=held.codes_ms,
            recovery_left=held.recovery,
            passkeys=held.passkeys,
            second_factor_required=applies(rules.second_factor_for, caller.actor.role),
            passkey_required=applies(rules.passkey_for, caller.actor.role),
        )

    @api.post("/me/codes", status_code=201)
    async def begin_codes(request: Request) -> shapes.AppSetup:
        """Begin to set up an app that makes codes. The secret is shown this once."""
        caller = await doors.identify(request, awaiting=True)
        made = await factors.begin_codes(caller.actor, session_of(caller))
        return shapes.AppSetup(secret=made.secret, address=made.address, picture=_picture(made.address))

    @api.post("/me/codes/confirm")
    async def confirm_codes(given: shapes.CodeIn, request: Request, response: Response) -> shapes.RecoveryCodes:
        """Give the app's first code: it counts from now on. Codes for paper are shown this once."""
        caller = await doors.identify(request, awaiting=True)
        codes, seat = await factors.confirm_codes(caller.actor, session_of(caller), given.code, agent(request))
        me = None if seat is None else await seated(doors, response, seat)
        return shapes.RecoveryCodes(codes=list(codes), me=me)

    @api.delete("/me/codes", status_code=204)
    async def remove_codes(request: Request) -> None:
        """Take one's app away."""
        caller = await doors.identify(request)
        await factors.remove_codes(caller.actor, session_of(caller))

    @api.post("/me/recovery-codes", status_code=201)
    async def recovery_codes(request: Request) -> shapes.RecoveryCodes:
        """Fresh codes for paper; those before are void."""
        caller = await doors.identify(request)
        return shapes.RecoveryCodes(codes=list(await factors.new_recovery_codes(caller.actor, session_of(caller))))

    @api.delete("/people/{person_id}/factors", status_code=204)
    async def reset(person_id: Id, request: Request) -> None:
        """Take all second factors of somebody away who has lost them; their sessions end."""
        caller = await doors.identify(request)
        await factors.reset(caller.actor, person_id)

    return api


def _picture(address: str) -> str:
    import segno  # only who sets up an app waits for it

    return str(segno.make(address, error="m", micro=False).svg_data_uri(scale=4, border=4, light="#fff"))
