"""What workspaces are declared to be used for, who oversees it, and what people decided about answers there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from intramural.access import Action, Charter, Declaration, Draft, Notices, Thing, Uses, Workspace, Workspaces
from intramural.access.uses import HIGH_RISK, check
from intramural.audit import AuditLog, Entry, Event, Fact, Wanted
from intramural.core.actor import Actor
from intramural.core.errors import Misasked, Missing
from intramural.services.gate import Gate
from intramural.services.notices import facts as notice_facts

MAX_NOTE_CHARS = 4_000
#: What a person decided about an answer: it was taken as it is, something else was decided, it was not used, it was
#: handed on to somebody else.
Verdict = Literal["confirmed", "overridden", "discarded", "escalated"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
_ASKED = ("chat.asked", "embedding.asked", "rerank.asked")


@dataclass(frozen=True, slots=True)
class Declared:
    """A workspace with what it is declared for and who oversees that."""

    workspace_id: str
    declarations: Sequence[Declaration]
    overseers: frozenset[str]


class UseDesk:
    """Declarations of administrators, and reviews of those who oversee."""

    def __init__(self, gate: Gate, uses: Uses, workspaces: Workspaces, notices: Notices, audit: AuditLog) -> None:
        self._gate = gate
        self._uses = uses
        self._workspaces = workspaces
        self._notices = notices
        self._audit = audit

    async def list(self, actor: Actor) -> list[Declared]:
        """Every workspace that is declared for something or overseen by somebody."""
        await self._gate.require(actor, Action.USES_READ)
        declared = await self._uses.declared()
        found = []
        for workspace in await self._workspaces.list():
            own = [each for each in declared if each.workspace_id == workspace.place.id]
            overseers = await self._uses.overseers(workspace.place.id)
            if own or overseers:
                found.append(Declared(workspace.place.id, own, overseers))
        return found

    async def declare(self, actor: Actor, workspace_id: str, use: str) -> Declaration:
        """Declare a use of high risk. With it come, in the same transaction: a notice that everybody there has to read
        before models answer them, and a purpose with every request (the use's own, where there was none).

        Raises Refused(`use_prohibited`), Misasked(`bad_use`), Conflicting(`use_declared`, `no_overseer`), Missing.
        """
        target = f"workspace:{workspace_id}"
        await self._gate.require(actor, Action.USES_DECLARE, target=target)
        check(use)
        workspace, overseers = await self._workspaces.get(workspace_id), await self._uses.overseers(workspace_id)
        async with self._audit.transaction() as (connection, record):
            notice = await self._notices.put(connection, _notice(workspace, use))
            declaration = await self._uses.declare(connection, workspace_id, use, notice.id)
            if not workspace.place.purposes:
                await self._workspaces.change(connection, workspace_id, _with_purpose(workspace, use))
            record(Event.NOTICE_CHANGED, actor, target=f"notice:{notice.id}", facts=notice_facts(notice))
            facts: dict[str, Fact] = {
                "use": use,
                "where": HIGH_RISK[use][1],
                "notice": notice.id,
                "purposes": list(workspace.place.purposes or (use,)),
                "overseers": sorted(overseers),
            }
            record(Event.USE_DECLARED, actor, target=target, facts=facts)
        return declaration

    async def withdraw(self, actor: Actor, workspace_id: str, use: str) -> None:
        """It is not used so any more; its notice ends with it. Purposes stay."""
        target = await self._declarable(actor, workspace_id)
        async with self._audit.transaction() as (connection, record):
            gone = await self._uses.withdraw(connection, workspace_id, use)
            await self._notices.end(connection, gone.notice_id)
            record(Event.USE_WITHDRAWN, actor, target=target, facts={"use": use})
            record(Event.NOTICE_ENDED, actor, target=f"notice:{gone.notice_id}")

    async def oversee(self, actor: Actor, workspace_id: str, person_id: str) -> None:
        """Name somebody to oversee what a workspace is declared for."""
        target = await self._declarable(actor, workspace_id)
        async with self._audit.transaction() as (connection, record):
            await self._uses.oversee(connection, workspace_id, person_id)
            record(Event.OVERSEER_NAMED, actor, target=target, facts={"person": person_id})

    async def relieve(self, actor: Actor, workspace_id: str, person_id: str) -> None:
        """They oversee it no more. Raises Conflicting(`last_overseer`)."""
        target = await self._declarable(actor, workspace_id)
        async with self._audit.transaction() as (connection, record):
            await self._uses.relieve(connection, workspace_id, person_id)
            record(Event.OVERSEER_RELIEVED, actor, target=target, facts={"person": person_id})

    async def _declarable(self, actor: Actor, workspace_id: str) -> str:
        """The log's name of a workspace whose declarations `actor` may change. Raises Refused, Missing."""
        target = f"workspace:{workspace_id}"
        await self._gate.require(actor, Action.USES_DECLARE, target=target)
        await self._workspaces.get(workspace_id)
        return target

    async def review(self, actor: Actor, request_id: str, verdict: str, note: str) -> dict[str, Any]:
        """What a person who oversees decided about an answer: it stands in the AI Act's record of the model.

        Of the note the log keeps a commitment. Raises Missing(`answer_not_found`), Refused(`not_its_overseer`),
        Misasked(`bad_verdict`).
        """
        if verdict not in VERDICTS:
            hint = f"Verdicts: {', '.join(VERDICTS)}."
            raise Misasked("bad_verdict", f"{verdict!r:.40} is no verdict.", hint, param="verdict")
        asked = await self._asked(request_id)
        workspace_id = "" if asked is None else str(asked.facts.get("workspace") or "")
        overseers = await self._uses.overseers(workspace_id) if workspace_id else frozenset()
        thing = Thing(overseer=actor.person_id in overseers)
        await self._gate.require(actor, Action.OUTPUTS_REVIEW, target=f"answer:{request_id}", thing=thing)
        if asked is None:
            raise Missing("answer_not_found", "There is no such answer.", "Its name is in the answer's receipt.")
        facts: Mapping[str, Fact] = {"verdict": verdict, "workspace": workspace_id, "person": asked.actor_id}
        position = await self._audit.record(
            Event.OUTPUT_REVIEWED,
            actor,
            target=asked.target,
            request_id=request_id,
            facts=facts,
            texts={"note": note} if note else {},
        )
        return {"request_id": request_id, "verdict": verdict, "position": position}

    async def _asked(self, request_id: str) -> Entry | None:
        found = await self._audit.search(Wanted(request_id=request_id), 20)
        return next((each for each in found.entries if each.event in _ASKED), None)


def _with_purpose(workspace: Workspace, use: str) -> Charter:
    place = workspace.place
    return Charter(place.name, place.label, place.models, (use,), dict(workspace.retention_days))


def _notice(workspace: Workspace, use: str) -> Draft:
    what, where = HIGH_RISK[use]
    text = (
        f"In the workspace {workspace.place.name!r} an AI is used for {what} ({use}).\n\n"
        f"The EU AI Act counts that as a use of high risk ({where}). Therefore a person oversees it; every question, "
        "which model answered, and what was decided about the answer is recorded and kept for six months at least.\n\n"
        "An answer is advice and never the decision. If one concerns you, ask for the person who decided, and for the "
        "reasons."
    )
    return Draft(f"workspace:{workspace.place.id}", f"AI of high risk: {use}", text, blocking=True)
