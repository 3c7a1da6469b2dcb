"""Signed accounts of this installation, for whoever has to be convinced of it."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from intramural.core.errors import Missing
from intramural.http.doors import Doors
from intramural.http.page import shapes
from intramural.http.page.routing import routes
from intramural.services.attestation.paper import POLICY

Id = Annotated[str, Path(max_length=64)]
_PRIVATE = {"Cache-Control": "no-store"}
#: The page loads nothing, runs nothing, and stands in nobody's frame.
_PAGE_HEADERS = {**_PRIVATE, "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'", "X-Frame-Options": "DENY"}


def router(doors: Doors) -> APIRouter:
    """`/attestations…`."""
    api = routes("attestation")
    attestations = doors.services.attestations

    @api.get("/attestations")
    async def listed(request: Request) -> shapes.AttestationsOut:
        """Those that are kept, the newest first."""
        found = await attestations.list((await doors.identify(request)).actor)
        return shapes.AttestationsOut(
            attestations=[
                shapes.AttestationHead(
                    id=each.id,
                    time_ms=each.time_ms,
                    nonce=each.nonce,
                    scheduled=each.scheduled,
                    colour=each.colour,
                    reds=each.reds,
                    ambers=each.ambers,
                )
                for each in found
            ]
        )

    @api.post("/attestations", status_code=201, response_class=Response)
    async def make(given: shapes.AttestationIn, request: Request) -> Response:
        """Read everything anew, sign it and keep it; it takes some seconds. `nonce`: chosen by whoever wants to be sure
        that it was made after they asked. The file to keep, as docs/formats.md has it. An event."""
        data = await attestations.make((await doors.identify(request)).actor, given.nonce)
        return Response(data, 201, _PRIVATE, "application/json")

    @api.get("/attestations/{attestation_id}", response_class=Response)
    async def get(attestation_id: Id, request: Request) -> Response:
        """One of them, byte for byte."""
        data = await attestations.get((await doors.identify(request)).actor, attestation_id)
        disposition = {"Content-Disposition": f'attachment; filename="{attestation_id}.json"'}
        return Response(data, 200, {**_PRIVATE, **disposition}, "application/json")

    @api.get("/attestations/{attestation_id}/page", response_class=Response)
    async def page(attestation_id: Id, request: Request) -> Response:
        """One of them to read and to print: one HTML file that needs nothing from anywhere."""
        text = await attestations.page((await doors.identify(request)).actor, attestation_id)
        return Response(text, 200, _PAGE_HEADERS, "text/html; charset=utf-8")

    @api.get("/attestations/control/{token}", status_code=204)
    async def control(token: Id) -> None:
        """Where the positive control's own process knocks, with a number that it was given. Open to everybody; it does
        nothing but say whether such a number is waited for. Raises Missing(`control_not_waited_for`)."""
        if not attestations.arrive(token):
            raise Missing(
                "control_not_waited_for", "Nothing of that name is waited for.", "It is for the service itself."
            )

    return api
