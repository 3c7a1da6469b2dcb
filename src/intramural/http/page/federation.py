"""Sign-in by OpenID providers, and the accounts there that belong to people here."""

from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from intramural.access.oidc.flow import START_S, Came
from intramural.core.errors import IntramuralError, Misasked
from intramural.http import identity
from intramural.http.doors import Doors
from intramural.http.page import shapes
from intramural.http.page.routing import routes
from intramural.http.page.seats import agent

Name = Annotated[str, Path(max_length=64)]
Text = Annotated[str, Query(max_length=8192)]
_NO_STORE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


def router(doors: Doors) -> APIRouter:
    """`/oidc…`, `/people/{person_id}/invitation`, `/people/{person_id}/identities…`."""
    api = routes("providers")
    federation, https = doors.services.federation, doors.config.https
    cookie, kept_cookie = identity.cookie_name(https=https), identity.start_cookie_name(https=https)

    def redirect_uri(request: Request, name: str) -> str:
        # The host is one of ours (`HostGuard`), and the provider knows to which addresses it may send people.
        return f"{identity.origin(request, https=https)}/intramural/v1/oidc/{name}/callback"

    @api.get("/oidc/{name}/start", status_code=303, response_class=RedirectResponse)
    async def start(name: Name, request: Request, invitation: Text = "") -> Response:
        """Go to a provider to sign in there."""
        going = await federation.begin(name, redirect_uri(request, name), invitation)
        response = RedirectResponse(going.url, 303, headers=_NO_STORE)
        # Lax, because the way back is from the provider's site; it opens nothing by itself.
        response.set_cookie(
            kept_cookie, going.kept, max_age=int(START_S), httponly=True, samesite="lax", secure=https, path="/"
        )
        return response

    @api.get("/oidc/{name}/callback", status_code=303, response_class=RedirectResponse)
    async def callback(
        name: Name, request: Request, state: Text = "", code: Text = "", iss: Text | None = None, error: Text = ""
    ) -> Response:
        """Where a provider sends people back to."""
        came = Came(request.cookies.get(kept_cookie, ""), state, code, iss, error)
        try:
            seat = await federation.end(name, came, agent(request))
        except IntramuralError as refused:
            if "text/html" not in request.headers.get("accept", ""):
                raise
            response = RedirectResponse(f"/?problem={refused.code}", 303, headers=_NO_STORE)
        else:
            response = RedirectResponse("/", 303, headers=_NO_STORE)
            response.set_cookie(cookie, seat.token, httponly=True, samesite="strict", secure=https, path="/")
        response.delete_cookie(kept_cookie, path="/", secure=https, httponly=True, samesite="lax")
        return response

    @api.post("/oidc/{name}/logout", status_code=200)
    async def left(name: Name, request: Request, response: Response) -> None:
        """A provider says that somebody signed out there (OpenID Connect Back-Channel Logout)."""
        form = parse_qs((await doors.body(request)).decode("latin-1"), max_num_fields=8)
        tokens = form.get("logout_token", [])
        if len(tokens) != 1:
            raise Misasked("bad_parameter", "There is no logout_token.", "Send one.", param="logout_token")
        await federation.left(name, tokens[0])
        response.headers["Cache-Control"] = "no-store"

    @api.post("/people/{person_id}/invitation", status_code=201)
    async def invite(person_id: Name, request: Request) -> shapes.InvitationOut:
        """A link for one person, by which they sign in at a provider for the first time. Shown this once."""
        caller = await doors.identify(request)
        made = await federation.invite(caller.actor, person_id)
        return shapes.InvitationOut(token=made.token, expires_ms=made.expires_ms)

    @api.get("/people/{person_id}/identities")
    async def identities(person_id: Name, request: Request) -> dict[str, list[shapes.IdentityOut]]:
        """Where this person has accounts by which they sign in here."""
        caller = await doors.identify(request)
        return {
            "identities": [
                shapes.IdentityOut(
                    provider=each.provider,
                    issuer=each.issuer,
                    subject=each.subject,
                    groups=list(each.groups),
                    created_ms=each.created_ms,
                    last_ms=each.last_ms,
                )
                for each in await federation.identities(caller.actor, person_id)
            ]
        }

    @api.delete("/people/{person_id}/identities/{name}", status_code=204)
    async def untie(person_id: Name, name: Name, request: Request) -> None:
        """Take a person's account at a provider away."""
        caller = await doors.identify(request)
        await federation.untie(caller.actor, person_id, name)

    return api
