"""How long things are kept, what is deleted when, and legal holds."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path, Request

from intramural.core.retention import DATA_CLASSES
from intramural.http.doors import Doors
from intramural.http.page import shapes
from intramural.http.page.routing import routes
from intramural.retention import SOURCES, Hold
from intramural.services.purging import Forecast, Progress

Id = Annotated[str, Path(max_length=64)]
_KEPT = {each.data_class for each in SOURCES}
_NOTHING_KEPT: list[str] = [each for each in DATA_CLASSES if each not in _KEPT]


def router(doors: Doors) -> APIRouter:
    """`/retention…` and `/legal-holds…`."""
    api = routes("lifecycle")
    purging, holds, workspaces = doors.services.purging, doors.services.holds, doors.services.workspaces

    @api.get("/retention")
    async def preview(request: Request) -> shapes.RetentionOut:
        """What is kept of every class in every place, and what is deleted when; how the last round of deleting went."""
        actor = (await doors.identify(request)).actor
        found = await purging.preview(actor)
        names = {each.place.id: each.place.name for each in await workspaces.list(actor)}
        kept = [_forecast(each, names) for each in found]
        progress = _progress(await purging.progress(actor))
        return shapes.RetentionOut(kept=kept, nothing_kept=_NOTHING_KEPT, round=progress)

    @api.post("/retention/run", status_code=202)
    async def run(request: Request) -> shapes.PurgeOut:
        """Delete what is due now, in the background, without waiting for the hour."""
        caller = await doors.identify(request)
        return _progress(await purging.begin(caller.actor))

    @api.delete("/retention/run")
    async def stop(request: Request) -> shapes.PurgeOut:
        """End the round of deleting after its present step."""
        caller = await doors.identify(request)
        return _progress(await purging.stop(caller.actor))

    @api.get("/legal-holds")
    async def list_holds(request: Request) -> dict[str, list[shapes.HoldOut]]:
        """Every legal hold there was, the newest first."""
        caller = await doors.identify(request)
        return {"holds": [_hold(each) for each in await holds.list(caller.actor)]}

    @api.post("/legal-holds", status_code=201)
    async def put_hold(given: shapes.HoldIn, request: Request) -> shapes.HoldOut:
        """Nothing of a person, a group's people or a workspace is deleted from now on."""
        caller = await doors.identify(request)
        return _hold(await holds.put(caller.actor, given.subject, given.subject_id, given.reason))

    @api.post("/legal-holds/{hold_id}/lift")
    async def lift_hold(hold_id: Id, given: shapes.HoldLift, request: Request) -> shapes.HoldOut:
        """End a legal hold."""
        caller = await doors.identify(request)
        return _hold(await holds.lift(caller.actor, hold_id, given.reason))

    return api


def _forecast(each: Forecast, names: dict[str, str]) -> shapes.ForecastOut:
    now, week, month = each.due
    return shapes.ForecastOut(
        data_class=each.data_class,
        what=each.what,
        workspace_id=each.workspace_id,
        workspace=None if each.workspace_id is None else names.get(each.workspace_id, f"{each.workspace_id} (removed)"),
        days=each.days,
        rule=each.rule,
        number=each.number,
        held=each.held,
        due=now,
        due_in_7_days=week,
        due_in_30_days=month,
        next_ms=each.next_ms,
        age=each.age,
    )


def _progress(progress: Progress) -> shapes.PurgeOut:
    return shapes.PurgeOut(**asdict(progress) | {"deleted": dict(progress.deleted)})


def _hold(hold: Hold) -> shapes.HoldOut:
    return shapes.HoldOut(**asdict(hold))
