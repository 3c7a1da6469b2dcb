"""Whether what people keep is as it was left."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel

from intramural.http.doors import Doors
from intramural.http.page.routing import routes

Id = Annotated[str, Path(max_length=64)]


class WrongOut(BaseModel):
    """`kind`: a chat, response, conversation, file or batch; `id` null: all of that person's. `code` as in errors."""

    person_id: str
    kind: str
    id: str | None
    code: str


class CheckedOut(BaseModel):
    people: int
    wrong: list[WrongOut]


class AcceptedOut(BaseModel):
    """`lost`: values that open for nobody."""

    things: int
    lost: int


def router(doors: Doors) -> APIRouter:
    """`/vault/check` and `/people/…/kept/accept`."""
    api = routes("vault")
    vault = doors.services.vault

    @api.post("/vault/check")
    async def check(request: Request) -> CheckedOut:
        """Hold all that people keep against what it comes to, and what the log was told. Shows no content."""
        caller = await doors.identify(request)
        checked = await vault.check(caller.actor)
        wrong = [WrongOut(person_id=e.person_id, kind=e.word, id=e.thing_id, code=e.code) for e in checked.wrong]
        return CheckedOut(people=checked.people, wrong=wrong)

    @api.post("/people/{person_id}/kept/accept")
    async def accept(person_id: Id, request: Request) -> AcceptedOut:
        """Take what a person keeps as it lies here, after something was wrong with it. The log has it."""
        caller = await doors.identify(request)
        things, lost = await vault.accept(caller.actor, person_id)
        return AcceptedOut(things=things, lost=lost)

    return api
