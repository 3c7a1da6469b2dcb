"""Quotas: how one's own stand, and for administrators all of them."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from intramural.http.doors import Doors
from intramural.http.page import shapes
from intramural.http.page.routing import routes
from intramural.metering import UNITS, Limit, Measure, Standing, shown_amount
from intramural.services.quota_words import describe, told
from intramural.services.quotas import Listed

Id = Annotated[str, Path(max_length=64)]


def router(doors: Doors) -> APIRouter:
    """`/quotas…`."""
    api = routes("quotas")
    quotas = doors.services.quotas

    @api.get("/quotas")
    async def own(
        request: Request, model: Annotated[str | None, Query(max_length=256)] = None
    ) -> dict[str, list[shapes.QuotaOut]]:
        """How everything that limits the caller stands; with `model`, only what limits the use of that."""
        caller = await doors.identify(request)
        found = await quotas.own(caller.actor, model)
        return {"quotas": [_out(each, quotas.currency) for each in found]}

    @api.get("/quotas/all")
    async def everyone(request: Request) -> dict[str, list[shapes.QuotaListed]]:
        """Every limit, with the balances of those who used most of it in its present window."""
        caller = await doors.identify(request)
        return {"quotas": [_listed(each, quotas.currency) for each in await quotas.all(caller.actor)]}

    @api.post("/quotas", status_code=201)
    async def put(given: shapes.QuotaIn, request: Request) -> shapes.QuotaListed:
        """Make a limit, or change the amount of the one that is for the same; what was used of it stays used."""
        caller = await doors.identify(request)
        limit = Limit(
            id="",
            subject=given.subject,
            subject_id=given.subject_id,
            model=given.model,
            measure=given.measure,
            period=given.period,
            amount=_whole(given.limit, given.measure),
            each=given.each,
        )
        return _listed(Listed(await quotas.set(caller.actor, limit)), quotas.currency)

    @api.delete("/quotas/{quota_id}", status_code=204)
    async def remove(quota_id: Id, request: Request) -> None:
        """Take a limit away, with its balances."""
        caller = await doors.identify(request)
        await quotas.remove(caller.actor, quota_id)

    return api


def _whole(amount: float, measure: Measure) -> int:
    return round(amount * UNITS.get(measure, 1))


def _out(standing: Standing, currency: str) -> shapes.QuotaOut:
    return shapes.QuotaOut(words=describe(standing.limit, currency), **told(standing, currency))


def _listed(listed: Listed, currency: str) -> shapes.QuotaListed:
    limit = listed.limit
    return shapes.QuotaListed(
        id=limit.id,
        words=describe(limit, currency),
        subject=limit.subject,
        subject_id=limit.subject_id,
        each=limit.each,
        model=limit.model,
        measure=limit.measure,
        unit=currency if limit.measure == "money" else limit.measure,
        period=limit.period,
        limit=shown_amount(limit.amount, limit.measure),
        balances=[
            shapes.QuotaBalance(
                who=who,
                used=shown_amount(each.used, limit.measure),
                held=shown_amount(each.held, limit.measure),
                remaining=shown_amount(each.remaining, limit.measure),
                renews_ms=each.renews_ms,
            )
            for who, each in listed.standings
        ],
    )
