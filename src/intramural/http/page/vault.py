"""Whether what people keep is as it was left."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel

from intramural.http.doors import Doors
from intramural.http.page.routing import routes

Id = Annotated[str, Path(max_length=64)]


class WrongOut(BaseModel):
    """`chat_id` null: it is about all of that person's chats. `code` as in errors."""

    person_id: str
    chat_id: str | None
    code: str


class CheckedOut(BaseModel):
    people: int
    wrong: list[WrongOut]


class AcceptedOut(BaseModel):
    """`lost`: values that open for nobody."""

    chats: int
    lost: int


def router(doors: Doors) -> APIRouter:
    """`/vault/check` and `/people/…/chats/accept`."""
    api = routes("vault")
    vault = doors.services.vault

    @api.post("/vault/check")
    async def check(request: Request) -> CheckedOut:
        """Hold everybody's chats against what they come to, and against what the log was told. Shows no content."""
        caller = await doors.identify(request)
        checked = await vault.check(caller.actor)
        wrong = [WrongOut(person_id=e.person_id, chat_id=e.chat_id, code=e.code) for e in checked.wrong]
        return CheckedOut(people=checked.people, wrong=wrong)

    @api.post("/people/{person_id}/chats/accept")
    async def accept(person_id: Id, request: Request) -> AcceptedOut:
        """Take a person's chats as they lie here, after something was wrong with them. The log has it."""
        caller = await doors.identify(request)
        chats, lost = await vault.accept(caller.actor, person_id)
        return AcceptedOut(chats=chats, lost=lost)

    return api
