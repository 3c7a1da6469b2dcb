"""What the guard would find."""

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from intramural.guard import Policy, claim
from intramural.http.doors import Doors
from intramural.http.page.routing import routes
from intramural.services.guarding import Checked


class GuardCheckIn(BaseModel):
    """`label`: as under which other one; without it, as under that of what you ask now."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: Annotated[str, Field(max_length=2_000_000)]
    label: Annotated[str, Field(max_length=40)] | None = None


class FoundOut(BaseModel):
    """Characters `start` to `end` (from 0, the end excluded) look like a `kind`; `action` is what becomes of them."""

    kind: str
    called: str
    start: int
    end: int
    score: float
    recogniser: str
    action: str


class GuardOut(BaseModel):
    """`actions` by class, where something is done. `not_looked_for`: classes that nobody here can find. `reader`: what
    reads names; empty where nothing does. `claim`: in which words people are told what this does."""

    label: str
    claim: str
    actions: dict[str, str]
    not_looked_for: list[str]
    reader: str


class GuardCheckOut(GuardOut):
    """`redacted`: the text as a model would read it."""

    found: list[FoundOut]
    redacted: str


def router(doors: Doors) -> APIRouter:
    """`/guard`."""
    api = routes("guard")

    @api.get("/guard")
    async def standing(request: Request) -> GuardOut:
        """Under which label you ask, and what is done under it."""
        caller = await doors.identify(request)
        guard = doors.services.guard
        policy = await guard.standing(caller.actor)
        return GuardOut(
            label=policy.label,
            claim=claim(),
            actions=_actions(policy),
            not_looked_for=sorted(guard.blind(policy)),
            reader=guard.reader,
        )

    @api.post("/guard/check")
    async def check(given: GuardCheckIn, request: Request) -> GuardCheckOut:
        """What would be found in a text. Nothing of it is kept."""
        caller = await doors.identify(request)
        checked = await doors.services.guard.check(caller.actor, given.text, given.label)
        return _checked(checked, doors.services.guard.reader)

    return api


def _actions(policy: Policy) -> dict[str, str]:
    return {kind.value: policy.deeds[kind].value for kind in sorted(policy.looking)}


def _checked(checked: Checked, reader: str) -> GuardCheckOut:
    deeds = checked.policy.deeds
    found = [
        FoundOut(
            kind=span.kind.value,
            called=span.kind.label,
            start=span.start,
            end=span.end,
            score=span.score,
            recogniser=span.recogniser,
            action=deeds[span.kind].value,
        )
        for span in checked.spans
    ]
    return GuardCheckOut(
        label=checked.policy.label,
        claim=claim(),
        actions=_actions(checked.policy),
        not_looked_for=sorted(checked.blind),
        reader=reader,
        found=found,
        redacted=checked.redacted,
    )
