"""What an outsider checks: the log as it is, one entry of it, that it goes on from what they held; and with what."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from intramural.audit import VERIFIER, verifier_file
from intramural.http.doors import Doors
from intramural.http.page import shapes
from intramural.http.page.routing import routes

_YEAR_9999_MS = 253_402_300_799_000
_MOST = 2**63 - 1
_NO_STORE = {"Cache-Control": "no-store"}

_Ms = Annotated[int, Query(ge=0, le=_YEAR_9999_MS)]
_Place = Annotated[int, Query(ge=0, le=_MOST)]


def router(doors: Doors) -> APIRouter:
    """`/audit/log`, `/audit/proof`, `/audit/consistency`, `/verifier…`."""
    api = routes("proofs")
    proofs = doors.services.proofs

    @api.get("/audit/log", response_class=StreamingResponse)
    async def log(request: Request, from_ms: _Ms = 0, to_ms: _Ms = _YEAR_9999_MS) -> StreamingResponse:
        """The log, or what has every entry of a period, in the form that a stranger can check. An event too."""
        caller = await doors.identify(request)
        lines = await proofs.log(caller.actor, from_ms, to_ms)
        return StreamingResponse(lines, media_type="application/x-ndjson", headers=_NO_STORE)

    @api.get("/audit/proof", response_class=PlainTextResponse)
    async def proof(request: Request, position: _Place) -> PlainTextResponse:
        """One entry with the proof that the log has it (c2sp.org/tlog-proof). An event too."""
        caller = await doors.identify(request)
        return PlainTextResponse(await proofs.entry(caller.actor, position), headers=_NO_STORE)

    @api.get("/audit/consistency", response_class=PlainTextResponse)
    async def consistency(request: Request, old: _Place) -> PlainTextResponse:
        """The newest checkpoint with the proof that the first `old` entries are as they were. An event too."""
        caller = await doors.identify(request)
        return PlainTextResponse(await proofs.consistency(caller.actor, old), headers=_NO_STORE)

    @api.get("/verifier")
    async def verifier() -> shapes.VerifierOut:
        """The SHA-256 of the verifier that is handed out here, to compare with a copy got elsewhere."""
        found = verifier_file()
        return shapes.VerifierOut(name=VERIFIER, sha256=found.sha256, size_bytes=len(found.data))

    @api.get(f"/verifier/{VERIFIER}", response_class=Response)
    async def download() -> Response:
        """The stand-alone verifier, one file of Python. Got from whoever is checked it proves little."""
        found = verifier_file()
        headers = {"Content-Disposition": f'attachment; filename="{VERIFIER}"', "ETag": f'"{found.sha256}"'}
        return Response(found.data, media_type="text/x-python", headers={**headers, **_NO_STORE})

    return api
