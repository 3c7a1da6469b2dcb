"""Ages of people, and what their guardians consent to."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field

from intramural.access import Consent
from intramural.access.consents import MAX_REFERENCE_CHARS, checked
from intramural.http.doors import Doors
from intramural.http.page.routing import routes
from intramural.http.page.shapes import In
from intramural.services.consent import MAX_PEOPLE, Of, Sifted

Id = Annotated[str, Path(max_length=64)]
Age = Literal["unknown", "under-13", "13-15", "16-17", "adult"]
Feature = Literal["use", "keep", "files", "audio"]
Time = Annotated[int, Field(ge=0, le=2**53)]
Reference = Annotated[str, Field(max_length=MAX_REFERENCE_CHARS)]


class AgeOf(In):
    username: str = Field(min_length=1, max_length=200)
    age: Age | None = None
    birth_year: int | None = Field(default=None, ge=1800, le=3000, description="Of it only the band is kept.")


class AgesIn(In):
    people: list[AgeOf] = Field(default=[], max_length=MAX_PEOPLE)
    group_id: str | None = Field(default=None, max_length=64, description="All who are in it or within, but managers.")
    age: Age | None = Field(default=None, description="Of all who have none of their own here.")


class ConsentOf(In):
    username: str = Field(min_length=1, max_length=200)
    until_ms: Time | None = None
    reference: Reference | None = None


class ConsentsIn(In):
    people: list[ConsentOf] = Field(default=[], max_length=MAX_PEOPLE)
    group_id: str | None = Field(default=None, max_length=64, description="All who are in it or within, but managers.")
    features: list[Feature] = Field(min_length=1, max_length=4)
    given_by: Literal["guardian", "school"] = "guardian"
    how: Literal["paper", "portal", "email", "in person"]
    given_ms: Time | None = Field(default=None, description="When it was given; now, where nothing is said.")
    until_ms: Time | None = Field(default=None, description="When it runs out; never, where nothing is said.")
    reference: Reference = Field(default="", description="Where the evidence is; kept under the person's own key.")


class ConsentOut(BaseModel):
    id: str
    person_id: str
    features: list[str]
    given_by: str
    how: str
    given_ms: int
    until_ms: int | None
    reference: str
    recorded_by: str
    recorded_ms: int
    withdrawn_ms: int | None


class ConsentsOut(BaseModel):
    age: Age
    consents: list[ConsentOut]


class StandingOut(BaseModel):
    person_id: str
    username: str
    age: Age
    needed: list[str]
    consents: list[str]
    shut_out: bool = Field(description="They are not let in, whatever is consented to.")


class StandingsOut(BaseModel):
    """`total`: how many are meant; `next`: the `after` with which to see more of them, null at the end."""

    people: list[StandingOut]
    total: int
    next: str | None


class OwnOut(BaseModel):
    """What one's age lets one do, where one asks now."""

    age: Age
    off: list[str]
    needed: list[str]
    consents: list[str]
    keep_days: int | None
    guard: str
    hours: str | None
    recorded: list[ConsentOut]


def router(doors: Doors) -> APIRouter:
    """`/ages`, `/consents…`, `/people/{person_id}/consents` and `/me/consent`."""
    api = routes("ages and consents")
    desk = doors.services.consent

    @api.get("/ages")
    async def list_ages(
        request: Request,
        query: Annotated[str, Query(max_length=100)] = "",
        age: Age | None = None,
        group_id: Annotated[str | None, Query(max_length=64)] = None,
        lacking: Annotated[bool, Query()] = False,
        after: Annotated[str, Query(max_length=200)] = "",
        limit: Annotated[int | None, Query(ge=1, le=500)] = None,
    ) -> StandingsOut:
        """The age bands of people, what needs a guardian's consent at that age, and what is consented to now.

        With `lacking` those alone who are let in and lack one; `query` is in the name, `group_id` a group that they are
        in, or in one within. With `limit`, so many; `next` in the answer is the `after` with which to go on.
        """
        caller = await doors.identify(request)
        found = await desk.standing(
            caller.actor, Sifted(query.strip(), age=age, group_id=group_id, lacking=lacking, after=after, limit=limit)
        )
        people = [
            StandingOut(
                person_id=each.person_id,
                username=each.username,
                age=each.age,
                needed=sorted(each.needed),
                consents=sorted(each.consents),
                shut_out=each.shut_out,
            )
            for each in found.people
        ]
        return StandingsOut(people=people, total=found.total, next=found.after)

    @api.post("/ages")
    async def set_ages(given: AgesIn, request: Request) -> dict[str, int]:
        """Write down the ages of some people, or of everybody in a group: all of them, or nothing."""
        caller = await doors.identify(request)
        people = [Of(each.username, each.age, each.birth_year) for each in given.people]
        return {"changed": await desk.set_ages(caller.actor, people, given.group_id, given.age)}

    @api.post("/consents", status_code=201)
    async def record_consents(given: ConsentsIn, request: Request) -> dict[str, list[str]]:
        """Record a guardian's consent for some people, or for everybody in a group: all of them, or nothing."""
        caller = await doors.identify(request)
        now_ms = int(doors.clock.now_s() * 1000)
        given_ms = now_ms if given.given_ms is None else given.given_ms
        whole = checked(given.features, given.given_by, given.how, given_ms, given.until_ms, given.reference, now_ms)
        for each in given.people:
            checked(given.features, given.given_by, given.how, given_ms, each.until_ms, each.reference or "", now_ms)
        people = [Of(each.username, until_ms=each.until_ms, reference=each.reference) for each in given.people]
        made = await desk.give(caller.actor, people, given.group_id, whole)
        return {"recorded": [each.id for each in made]}

    @api.delete("/consents/{consent_id}")
    async def withdraw(consent_id: Id, request: Request) -> ConsentOut:
        """Withdraw a consent: what it allowed is refused from now on, and what runs ends within seconds."""
        caller = await doors.identify(request)
        return _consent(await desk.withdraw(caller.actor, consent_id))

    @api.get("/people/{person_id}/consents")
    async def list_consents(person_id: Id, request: Request) -> ConsentsOut:
        """Somebody's age band and consents, also those that were withdrawn."""
        caller = await doors.identify(request)
        age, found = await desk.of(caller.actor, person_id)
        return ConsentsOut(age=age, consents=[_consent(each) for each in found])

    @api.get("/me/consent")
    async def own(request: Request) -> OwnOut:
        """What one's own age lets one do, where one asks now, and what is recorded of consent."""
        caller = await doors.identify(request)
        limits: dict[str, Any] = {**await desk.limits(caller.actor)}
        found = [] if caller.session is None else (await desk.of(caller.actor, caller.actor.person_id))[1]
        return OwnOut(**limits, recorded=[_consent(each) for each in found])

    return api


def _consent(consent: Consent) -> ConsentOut:
    given = consent.given
    return ConsentOut(
        id=consent.id,
        person_id=consent.person_id,
        features=sorted(given.features),
        given_by=given.given_by,
        how=given.how,
        given_ms=given.given_ms,
        until_ms=given.until_ms,
        reference=given.reference,
        recorded_by=consent.recorded_by,
        recorded_ms=consent.recorded_ms,
        withdrawn_ms=consent.withdrawn_ms,
    )
