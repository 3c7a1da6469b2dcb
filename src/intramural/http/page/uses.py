"""What workspaces are declared to be used for, who oversees it, and reviews of answers."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from intramural.access import Declaration
from intramural.access.uses import HIGH_RISK, PROHIBITED
from intramural.http.doors import Doors
from intramural.http.page.routing import routes
from intramural.http.page.shapes import In
from intramural.services.uses import MAX_NOTE_CHARS, Declared

Id = Annotated[str, Path(max_length=64)]


class ReviewIn(In):
    request_id: str = Field(min_length=1, max_length=64, description="As the answer's receipt names it.")
    verdict: Literal["confirmed", "overridden", "discarded", "escalated"]
    note: str = Field(default="", max_length=MAX_NOTE_CHARS)


class ReviewOut(BaseModel):
    request_id: str
    verdict: str
    position: int


class UseOut(BaseModel):
    use: str
    where: str
    declared_ms: int
    notice_id: str


class DeclaredOut(BaseModel):
    workspace_id: str
    uses: list[UseOut]
    overseers: list[str]


class UsesOut(BaseModel):
    workspaces: list[DeclaredOut]
    high_risk: dict[str, str]
    prohibited: dict[str, str]


def router(doors: Doors) -> APIRouter:
    """`/uses`, `/workspaces/{workspace_id}/uses…`, `…/overseers…` and `/reviews`."""
    api = routes("declared uses")
    desk = doors.services.uses

    @api.get("/uses")
    async def listed(request: Request) -> UsesOut:
        """What is declared where and who oversees it; what may be declared, and what is prohibited."""
        caller = await doors.identify(request)
        return UsesOut(
            workspaces=[_declared(each) for each in await desk.list(caller.actor)],
            high_risk={use: f"{what} ({where})" for use, (what, where) in HIGH_RISK.items()},
            prohibited={use: f"{what} ({where})" for use, (what, where) in PROHIBITED.items()},
        )

    @api.put("/workspaces/{workspace_id}/uses/{use}")
    async def declare(workspace_id: Id, use: Id, request: Request) -> UseOut:
        """Declare a use of high risk: its notice, purpose and oversight are on from now on, and stay so."""
        caller = await doors.identify(request)
        made = await desk.declare(caller.actor, workspace_id, use)
        return _use(made)

    @api.delete("/workspaces/{workspace_id}/uses/{use}", status_code=204)
    async def withdraw(workspace_id: Id, use: Id, request: Request) -> None:
        """Say that a workspace is not used so any more."""
        caller = await doors.identify(request)
        await desk.withdraw(caller.actor, workspace_id, use)

    @api.put("/workspaces/{workspace_id}/overseers/{person_id}", status_code=204)
    async def oversee(workspace_id: Id, person_id: Id, request: Request) -> None:
        """Name somebody to oversee what a workspace is declared for."""
        caller = await doors.identify(request)
        await desk.oversee(caller.actor, workspace_id, person_id)

    @api.delete("/workspaces/{workspace_id}/overseers/{person_id}", status_code=204)
    async def relieve(workspace_id: Id, person_id: Id, request: Request) -> None:
        """Let somebody oversee a workspace no more; the last one only once nothing is declared for it."""
        caller = await doors.identify(request)
        await desk.relieve(caller.actor, workspace_id, person_id)

    @api.post("/reviews", status_code=201)
    async def review(given: ReviewIn, request: Request) -> ReviewOut:
        """Record what a person who oversees decided about an answer; it stands in the AI Act's record of the model."""
        caller = await doors.identify(request)
        return ReviewOut(**await desk.review(caller.actor, given.request_id, given.verdict, given.note))

    return api


def _declared(declared: Declared) -> DeclaredOut:
    return DeclaredOut(
        workspace_id=declared.workspace_id,
        uses=[_use(each) for each in declared.declarations],
        overseers=sorted(declared.overseers),
    )


def _use(each: Declaration) -> UseOut:
    return UseOut(use=each.use, where=HIGH_RISK[each.use][1], declared_ms=each.declared_ms, notice_id=each.notice_id)
