"""Lists of people from elsewhere."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from intramural.access.rosters import Step
from intramural.core.errors import Misasked
from intramural.http import bodies, sse
from intramural.http.doors import Doors
from intramural.http.page.routing import routes
from intramural.http.wire import PAGE, frame
from intramural.services.roster_runs import Outcome
from intramural.services.rosters import Applied, Planned, Wish

#: A district of 100,000 with all its enrolments, zipped; it is read whole.
MAX_LIST_BYTES = 64 << 20
#: Steps that are told one by one, of each kind.
_TOLD = 1_000
Text = Annotated[str, Query(max_length=200)]
Flag = Annotated[bool, Query()]


class RunOut(BaseModel):
    """A list as the log tells of it. `counts`: steps by kind; `done`: how many were made, null where nobody knows."""

    position: int
    source: str
    by: str
    time_ms: int
    ended_ms: int | None
    digest: str
    counts: dict[str, int]
    missing: int
    done: int | None
    outcome: Outcome


def router(doors: Doors) -> APIRouter:
    """`/people/import` and `/people/imports`."""
    api = routes("people and keys")
    rosters = doors.services.rosters

    @api.post(
        "/people/import",
        openapi_extra={"requestBody": {"required": True, "content": {"text/csv": {}, "application/zip": {}}}},
    )
    async def take_in(
        request: Request,
        source: Text = "roster",
        file: Text = "the list",
        dry_run: Flag = False,
        disable_missing: Flag = False,
        adopt: Flag = False,
        yes: Flag = False,
        role: Annotated[list[str] | None, Query(max_length=50)] = None,
    ) -> Response:
        """Take in a list of people: CSV, or a zip file of OneRoster's. Events: what it changes, then how far it is."""
        caller = await doors.identify(request)
        await rosters.admit(caller.actor)
        data = await bodies.read_body(request, MAX_LIST_BYTES)
        wish = Wish(source, file, dry_run, disable_missing, adopt, yes, _roles(role or []))
        return sse.EventStream(_frames(rosters.take_in(caller.actor, data, wish)), sse.Waits(), PAGE)

    @api.get("/people/imports")
    async def before(request: Request) -> dict[str, list[RunOut]]:
        """What was done with lists of people before, by the log, the newest first, and what is being done now."""
        caller = await doors.identify(request)
        return {"imports": [RunOut(**asdict(each)) for each in await rosters.before(caller.actor)]}

    return api


def _roles(given: list[str]) -> dict[str, str]:
    found = {}
    for each in given:
        theirs, equals, ours = each.partition("=")
        if not (theirs and equals and ours):
            raise Misasked("bad_parameter", f"{each[:60]!r} is no `THEIRS=OURS`.", "As `aide=member`.", param="role")
        found[theirs] = ours
    return found


async def _frames(states: AsyncGenerator[Planned | Applied, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(states):
        async for state in states:
            yield frame(_planned(state) if isinstance(state, Planned) else _applied(state))


def _planned(state: Planned) -> dict[str, Any]:
    return {
        "state": "planned",
        "people": len(state.roster.people),
        "groups": len(state.roster.groups),
        "members": len(state.roster.members),
        "changes": dict(state.plan.counts),
        "missing": [each.username for each in state.plan.missing[:1_000]],
        "missing_count": len(state.plan.missing),
        "known": state.plan.known,
        "unlisted_groups": state.plan.unlisted_groups,
        "left_out": dict(state.roster.left_out),
        "warnings": list(state.warnings),
        "too_many": state.too_many,
        "steps": [_step(each) for each in state.plan.told(_TOLD)],
    }


def _step(step: Step) -> dict[str, Any]:
    return {"what": step.what, "name": step.name, "target": step.target, "line": step.line or None}


def _applied(state: Applied) -> dict[str, Any]:
    return {"state": "done" if state.done == state.total else "applying", "done": state.done, "total": state.total}
