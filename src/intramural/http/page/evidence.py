"""Evidence packs, and the controls that they are made of."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path, Request

from intramural.http.doors import Doors
from intramural.http.page import shapes
from intramural.http.page.routing import routes
from intramural.services.evidence import PACKS
from intramural.services.evidence.written import Result, shown


def router(doors: Doors) -> APIRouter:
    """`/evidence…`."""
    api = routes("evidence")
    evidence = doors.services.evidence

    @api.get("/evidence")
    async def controls(request: Request) -> shapes.EvidenceOut:
        """Every control, and what it came to when somebody looked last."""
        caller = await doors.identify(request)
        return _listed(await evidence.results(caller.actor))

    @api.post("/evidence/look")
    async def look(request: Request) -> shapes.EvidenceOut:
        """Look at every control now. The whole log is verified. An event if something came to something else."""
        caller = await doors.identify(request)
        return _listed(await evidence.look(caller.actor))

    @api.get("/evidence/packs/{law}")
    async def pack(law: Annotated[str, Path(max_length=64)], request: Request) -> shapes.PackOut:
        """Make the pack of a law now: the signed statement, and a page to read and print. An event too."""
        caller = await doors.identify(request)
        made = await evidence.make(caller.actor, law)
        return shapes.PackOut(pack=made.pack, page=made.page)

    @api.post("/evidence/rehearsals", status_code=201)
    async def rehearsed(given: shapes.RehearsalIn, request: Request) -> dict[str, int]:
        """Say that a backup was restored elsewhere, to see that it works."""
        caller = await doors.identify(request)
        return {"position": await evidence.rehearsed(caller.actor, given.backup, given.note)}

    return api


def _listed(results: Mapping[str, Result]) -> shapes.EvidenceOut:
    laws = {law: {name for each in pack.provisions for name in each.controls} for law, pack in PACKS.items()}
    return shapes.EvidenceOut(
        packs=[shapes.LawOut(law=each.law, title=each.title, scope=each.scope) for each in PACKS.values()],
        controls=[
            shapes.ControlOut(**shown(each), packs=[law for law, names in laws.items() if each.control in names])
            for each in results.values()
        ],
    )
