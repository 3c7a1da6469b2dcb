"""Reports made of the log, exports of it, and the signature under a review."""

from collections.abc import AsyncGenerator
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import StreamingResponse

from intramural.audit import Wanted
from intramural.http.doors import Doors
from intramural.http.page import shapes
from intramural.http.page.routing import routes

Ms = Annotated[int, Query(ge=0, le=253_402_300_799_000)]
_MAX_MS = 253_402_300_799_000
_LINES_AT_ONCE = 200


def router(doors: Doors) -> APIRouter:
    """`/audit/export` and `/reports…`."""
    api = routes("reports")
    reports = doors.services.reports

    @api.get("/audit/export")
    async def export(
        request: Request,
        form: Literal["ocsf", "fhir", "jsonl"] = "jsonl",
        from_ms: Ms = 0,
        to_ms: Ms = _MAX_MS,
        event: Annotated[str | None, Query(max_length=64)] = None,
    ) -> StreamingResponse:
        """The log as lines of JSON: as OCSF events, FHIR R4 AuditEvents, or plainly. An event too."""
        caller = await doors.identify(request)
        found = await reports.export(caller.actor, form, Wanted(event=event, from_ms=from_ms, to_ms=to_ms))
        return StreamingResponse(
            _lines(found), media_type="application/x-ndjson", headers={"Cache-Control": "no-store"}
        )

    @api.get("/reports/hipaa-activity-review")
    async def activity_review(request: Request, from_ms: Ms, to_ms: Ms) -> dict[str, Any]:
        """Failed sign-ins, refusals, emergency access, bulk reads, odd hours, exports and changes of a period."""
        caller = await doors.identify(request)
        return await reports.activity_review(caller.actor, from_ms, to_ms)

    @api.post("/reports/hipaa-activity-review/sign-off", status_code=201)
    async def sign_off(given: shapes.SignOffIn, request: Request) -> dict[str, int]:
        """Sign that the activity of a period was reviewed."""
        caller = await doors.identify(request)
        return {"position": await reports.sign_off(caller.actor, given.from_ms, given.to_ms, given.note)}

    @api.get("/reports/ferpa-99.32/{student_id}")
    async def disclosures(student_id: Annotated[str, Path(max_length=64)], request: Request) -> dict[str, Any]:
        """Every access to one student's records; the student may have it too."""
        caller = await doors.identify(request)
        return await reports.disclosures(caller.actor, student_id)

    @api.get("/reports/ai-act")
    async def system_record(
        request: Request, system: Annotated[str, Query(max_length=256)], from_ms: Ms = 0, to_ms: Ms = _MAX_MS
    ) -> dict[str, Any]:
        """What made each output of one model, of what input, under whose oversight, and how long that is kept."""
        caller = await doors.identify(request)
        return await reports.system_record(caller.actor, system, from_ms, to_ms)

    return api


async def _lines(found: AsyncGenerator[dict[str, Any], None]) -> AsyncGenerator[bytes, None]:
    """Lines of JSON, many in one piece."""
    encode, lines = msgspec.json.Encoder().encode, list[bytes]()
    async for each in found:
        lines.append(encode(each) + b"\n")
        if len(lines) == _LINES_AT_ONCE:
            yield b"".join(lines)
            lines.clear()
    yield b"".join(lines)
