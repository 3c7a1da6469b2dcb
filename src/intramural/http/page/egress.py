"""What may leave this machine, what asked to, and what did."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from intramural.egress import Entry, Rule
from intramural.http.doors import Doors
from intramural.http.page import shapes
from intramural.http.page.records import entry_out
from intramural.http.page.routing import routes
from intramural.services.egress import Lines

Id = Annotated[str, Path(max_length=64)]


def router(doors: Doors) -> APIRouter:
    """`/egress…`."""
    api = routes("egress")
    egress = doors.services.egress

    @api.get("/egress")
    async def overview(request: Request) -> shapes.EgressOut:
        """The mode, what settings allow by naming it, and what people decided or are asked."""
        found = await egress.overview((await doors.identify(request)).actor)
        return shapes.EgressOut(
            mode=found.mode,
            running=found.running,
            settings=[_rule(each) for each in found.named],
            entries=[_entry(each) for each in found.entries],
        )

    @api.post("/egress/entries", status_code=201)
    async def decide(given: shapes.EgressIn, request: Request) -> shapes.EgressEntryOut:
        """Allow or deny a host and port for a purpose; a question about it is answered so."""
        actor = (await doors.identify(request)).actor
        entry = await egress.decide(
            actor,
            given.host,
            given.port,
            given.purpose,
            given.verdict,
            inside=given.inside,
            once=given.once,
            for_s=given.for_s,
        )
        return _entry(entry)

    @api.delete("/egress/entries/{entry_id}")
    async def forget(entry_id: Id, request: Request) -> shapes.EgressEntryOut:
        """Take a decision or a question off the list."""
        return _entry(await egress.forget((await doors.identify(request)).actor, entry_id))

    @api.get("/egress/ledger")
    async def ledger(
        request: Request,
        before: Annotated[int | None, Query(ge=0, le=2**53)] = None,
        after: Annotated[int | None, Query(ge=-1, le=2**53)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        host: Annotated[str | None, Query(max_length=256)] = None,
        purpose: Annotated[str | None, Query(max_length=16)] = None,
        outcome: Annotated[str | None, Query(max_length=16)] = None,
    ) -> shapes.EgressLedgerOut:
        """Every connection, refusal, question and decision, the newest first: entries of the audit log.

        `host` is its beginning; `outcome` is `refused`, `failed`, `allowed` or `finished`. Whoever asks again with
        `after`, the `newest` of the answer before, is told what came since.
        """
        lines = Lines(before, after, host, purpose, outcome)
        page = await egress.ledger((await doors.identify(request)).actor, lines, limit)
        entries = [entry_out(each) for each in page.found.entries]
        return shapes.EgressLedgerOut(entries=entries, older=page.found.older, newest=page.newest)

    return api


def _rule(rule: Rule) -> shapes.EgressRuleOut:
    setting = rule.id.removeprefix("setting:")
    return shapes.EgressRuleOut(
        setting=setting, purpose=rule.purpose, host=rule.host, port=rule.port, near=sorted(rule.near)
    )


def _entry(entry: Entry) -> shapes.EgressEntryOut:
    return shapes.EgressEntryOut(
        id=entry.id,
        purpose=entry.purpose,
        host=entry.host,
        port=entry.port,
        verdict=entry.verdict,
        inside=entry.inside,
        once=entry.once,
        expires_ms=entry.expires_ms,
        about=entry.about,
        asked_by=entry.asked_by,
        asked_ms=entry.asked_ms,
        decided_by=entry.decided_by,
        decided_ms=entry.decided_ms,
    )
