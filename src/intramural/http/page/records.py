"""The log and the meter."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request

from intramural.audit import Entry, Wanted
from intramural.http.doors import Doors
from intramural.http.page import shapes
from intramural.http.page.routing import routes

_YEAR_9999_MS = 253_402_300_799_000


def router(doors: Doors) -> APIRouter:
    """`/audit…` and `/usage`."""
    api = routes("records")
    records = doors.services.records

    @api.get("/audit")
    async def entries(
        request: Request,
        before: Annotated[int | None, Query(ge=0, le=2**53)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        event: Annotated[str | None, Query(max_length=64)] = None,
        actor: Annotated[str | None, Query(max_length=64)] = None,
        request_id: Annotated[str | None, Query(max_length=64)] = None,
        target: Annotated[str | None, Query(max_length=256)] = None,
        outcome: Annotated[str | None, Query(max_length=16)] = None,
        text: Annotated[str | None, Query(max_length=256)] = None,
        workspace: Annotated[str | None, Query(max_length=64)] = None,
        from_ms: Annotated[int | None, Query(ge=0, le=_YEAR_9999_MS)] = None,
        to_ms: Annotated[int | None, Query(ge=0, le=_YEAR_9999_MS)] = None,
    ) -> shapes.AuditPage:
        """Entries of the audit log, newest first. Reading it is an event too.

        `event` may end in `*`; `target` is its beginning; `text` is looked for in facts, targets and names; `workspace`
        is the identifier of the one in which something was asked, or that was changed.
        """
        caller = await doors.identify(request)
        wanted = Wanted(before, event, actor, request_id, from_ms, to_ms, target, outcome, text, workspace)
        found = await records.search(caller.actor, wanted, limit)
        size, note = records.checkpoint()
        return shapes.AuditPage(
            entries=[entry_out(each) for each in found.entries],
            older=found.older,
            size=size,
            checkpoint=shapes.CheckpointOut(size=size, note=note),
        )

    @api.post("/audit/verify")
    async def verify(request: Request) -> shapes.VerdictOut:
        """Walk the whole log and name the first wrong entry, if there is one."""
        caller = await doors.identify(request)
        began_s = doors.clock.monotonic_s()
        verdict = await records.verify(caller.actor)
        return shapes.VerdictOut(
            ok=verdict.ok,
            size=verdict.size,
            first_wrong=verdict.first_wrong,
            before=verdict.before,
            reason=verdict.reason,
            took_ms=(doors.clock.monotonic_s() - began_s) * 1000,
        )

    @api.get("/usage")
    async def usage(
        request: Request,
        by: Literal["day", "person", "model"] = "day",
        from_ms: Annotated[int, Query(ge=0, le=_YEAR_9999_MS)] = 0,
        to_ms: Annotated[int, Query(ge=0, le=_YEAR_9999_MS)] = _YEAR_9999_MS,
        mine: bool = False,
    ) -> shapes.UsageOut:
        """Sums of usage; with `mine`, of one's own. For a manager, of the people of their groups."""
        caller = await doors.identify(request)
        rows = await records.usage(caller.actor, by=by, from_ms=from_ms, to_ms=to_ms, everyone=not mine)
        return shapes.UsageOut(
            rows=[
                shapes.UsageRowOut(
                    key=row.key,
                    requests=row.requests,
                    prompt_tokens=row.prompt_tokens,
                    completion_tokens=row.completion_tokens,
                    cached_tokens=row.cached_tokens,
                    failed=row.failed,
                )
                for row in rows
            ]
        )

    return api


def entry_out(entry: Entry) -> shapes.EntryOut:
    """An entry as it is shown."""
    return shapes.EntryOut(
        position=entry.position,
        time_ms=entry.time_ms,
        event=entry.event,
        actor=shapes.ActorOut(kind=entry.actor_kind, id=entry.actor_id, username=entry.username or entry.actor_id),
        target=entry.target,
        outcome=entry.outcome,
        request_id=entry.request_id,
        facts=dict(entry.facts),
    )
