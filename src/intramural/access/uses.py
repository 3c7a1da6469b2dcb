"""What a workspace is declared to be used for, where the EU AI Act says what follows from it (Regulation 2024/1689).

What article 5 prohibits cannot be declared: there is no setting under which it may be done. What annex III counts as of
high risk may be, and brings with it what articles 12, 14, 26 and 50 ask: somebody named to oversee it, the log, a
notice that everybody there has to have read, a purpose with every request. None of these can be turned off while it is
declared. That a use is on neither list, or is not declared, says nothing about whether the law applies: people decide.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, exists, func, insert, literal_column, select

from intramural.core.clock import Clock
from intramural.core.errors import Conflicting, Misasked, Missing, Refused
from intramural.storage import Connection, Database
from intramural.storage import schema as t

#: What nobody may declare: the word, what it is, and where it is prohibited.
PROHIBITED: Mapping[str, tuple[str, str]] = {
    "emotion-inference": ("inferring emotions of people at work or in education", "article 5(1)(f)"),
    "social-scoring": ("scoring people by their behaviour or character", "article 5(1)(c)"),
    "manipulation": ("influencing people beyond their awareness or to their harm", "article 5(1)(a)"),
    "exploiting-vulnerability": ("exploiting age, disability or need", "article 5(1)(b)"),
    "crime-prediction": ("predicting crimes from profiles of people", "article 5(1)(d)"),
    "face-scraping": ("building face databases from pictures taken at large", "article 5(1)(e)"),
    "biometric-categorisation": ("telling race, religion, opinions or sexuality from bodies", "article 5(1)(g)"),
    "remote-biometric-identification": ("recognising people in public places as they pass", "article 5(1)(h)"),
}
#: What brings oversight, the log, a notice and a purpose with it.
HIGH_RISK: Mapping[str, tuple[str, str]] = {
    "admission": ("deciding who is admitted to a school or course, or where", "annex III, 3(a)"),
    "grading": ("evaluating what somebody has learned, or steering their learning by it", "annex III, 3(b)"),
    "level-assessment": ("assessing which level of education somebody will get", "annex III, 3(c)"),
    "proctoring": ("watching for what is forbidden in tests", "annex III, 3(d)"),
    "recruitment": ("choosing among applicants for work", "annex III, 4(a)"),
    "work-management": ("deciding on promotion, dismissal or tasks, or watching performance", "annex III, 4(b)"),
    "benefits": ("deciding on public assistance, care or its withdrawal", "annex III, 5(a)"),
    "triage": ("deciding who is helped first, in emergencies and in health care", "annex III, 5(d)"),
    "credit-scoring": ("judging whether somebody can pay", "annex III, 5(b)"),
    "insurance-pricing": ("pricing life and health insurance", "annex III, 5(c)"),
}


@dataclass(frozen=True, slots=True)
class Declaration:
    """A use of high risk of a workspace, and the notice that its members have to read."""

    workspace_id: str
    use: str
    declared_ms: int
    notice_id: str


def check(use: str) -> str:
    """Raises Refused(`use_prohibited`), Misasked(`bad_use`)."""
    if use in PROHIBITED:
        what, where = PROHIBITED[use]
        message = f"{what.capitalize()} is prohibited by {where} of the EU AI Act, and cannot be declared."
        raise Refused("use_prohibited", message, "There is no setting that allows it. Do not use this service for it.")
    if use not in HIGH_RISK:
        hint = f"Of high risk are: {', '.join(HIGH_RISK)}. Other uses need not be declared."
        raise Misasked("bad_use", f"There is no use {use!r:.60} to declare.", hint, param="use")
    return use


#: Columns beside `workspaces`, for `place`: its declared uses, and whether somebody who is let in oversees them.
USES_OF: tuple[Any, ...] = (
    select(
        # the annotation knows no separator but text, which would become a parameter
        func.aggregate_strings(t.declared_uses.c.use, literal_column("' '", t.declared_uses.c.use.type))  # type: ignore[arg-type]
    )
    .where(t.declared_uses.c.workspace_id == t.workspaces.c.id)
    .correlate(t.workspaces)
    .scalar_subquery()
    .label("uses"),
    exists()
    .where(
        t.workspace_overseers.c.workspace_id == t.workspaces.c.id,
        t.workspace_overseers.c.person_id == t.people.c.id,
        t.people.c.disabled_ms.is_(None),
    )
    .correlate(t.workspaces)
    .label("overseen"),
)


class Uses:
    """What workspaces are declared for. Changing methods work on the caller's open transaction."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def declare(self, connection: Connection, workspace_id: str, use: str, notice_id: str) -> Declaration:
        """Declare a use of high risk. Raises as `check`, Conflicting(`use_declared`, `no_overseer`)."""
        check(use)
        if await connection.scalar(_count(t.declared_uses, workspace_id, use=use)):
            raise Conflicting("use_declared", f"{use} is declared already.", "Nothing needs to be done.")
        if not await connection.scalar(_count(t.workspace_overseers, workspace_id)):
            hint = "Name one first: `intramural use oversee WORKSPACE PERSON`."
            raise Conflicting("no_overseer", "Nobody oversees this workspace (AI Act, article 26(2)).", hint)
        made = Declaration(workspace_id, use, int(self._clock.now_s() * 1000), notice_id)
        values = {"workspace_id": workspace_id, "use": use, "declared_ms": made.declared_ms, "notice_id": notice_id}
        await connection.execute(insert(t.declared_uses).values(values))
        return made

    async def withdraw(self, connection: Connection, workspace_id: str, use: str) -> Declaration:
        """It is not used so any more. Raises Missing(`use_not_declared`)."""
        where = (t.declared_uses.c.workspace_id == workspace_id) & (t.declared_uses.c.use == use)
        row = (await connection.execute(select(t.declared_uses).where(where))).one_or_none()
        if row is None:
            raise Missing("use_not_declared", f"{use} is not declared there.", "List what is declared.")
        await connection.execute(delete(t.declared_uses).where(where))
        return Declaration(row.workspace_id, row.use, row.declared_ms, row.notice_id)

    async def oversee(self, connection: Connection, workspace_id: str, person_id: str) -> None:
        """Name somebody to oversee what a workspace is used for. Raises Missing(`person_not_found`)."""
        there = select(func.count()).where(t.people.c.id == person_id, t.people.c.disabled_ms.is_(None))
        if not await connection.scalar(there.where(t.people.c.kind == "person")):
            raise Missing("person_not_found", "There is no such person who is let in.", "List the people.")
        if not await connection.scalar(_count(t.workspace_overseers, workspace_id, person_id=person_id)):
            values = {"workspace_id": workspace_id, "person_id": person_id}
            await connection.execute(insert(t.workspace_overseers).values(values))

    async def relieve(self, connection: Connection, workspace_id: str, person_id: str) -> None:
        """They oversee it no more. Raises Missing(`not_an_overseer`), Conflicting(`last_overseer`)."""
        table = t.workspace_overseers
        where = (table.c.workspace_id == workspace_id) & (table.c.person_id == person_id)
        if not (await connection.execute(delete(table).where(where))).rowcount:
            raise Missing("not_an_overseer", "They do not oversee this workspace.", "List what is declared.")
        declared = await connection.scalar(_count(t.declared_uses, workspace_id))
        if declared and not await connection.scalar(_count(table, workspace_id)):
            message = "They are the last who oversee a workspace with a use of high risk."
            raise Conflicting("last_overseer", message, "Name somebody else first, or withdraw the declaration.")

    async def require_notice_free(self, connection: Connection, notice_id: str) -> None:
        """Raises Refused(`use_declared_needs`) where a declared use needs this notice."""
        table = t.declared_uses
        use = await connection.scalar(select(table.c.use).where(table.c.notice_id == notice_id).limit(1))
        if use is not None:
            raise needed(str(use), "the notice that everybody there has to have read")

    async def declared(self) -> Sequence[Declaration]:
        """All declarations."""
        table = t.declared_uses
        wanted = select(table).order_by(table.c.workspace_id, table.c.use)
        async with self._db.reading() as connection:
            rows = await connection.execute(wanted)
            return [Declaration(r.workspace_id, r.use, r.declared_ms, r.notice_id) for r in rows]

    async def overseers(self, workspace_id: str) -> frozenset[str]:
        """Who oversees a workspace: identifiers of people."""
        table = t.workspace_overseers
        async with self._db.reading() as connection:
            found = await connection.execute(select(table.c.person_id).where(table.c.workspace_id == workspace_id))
            return frozenset(found.scalars())


async def declared_use(connection: Connection, workspace_id: str) -> str | None:
    """A use of high risk that a workspace is declared for; None: it is for none."""
    table = t.declared_uses
    found = await connection.scalar(select(table.c.use).where(table.c.workspace_id == workspace_id).limit(1))
    return None if found is None else str(found)


def needed(use: str, what: str) -> Refused:
    """The refusal to turn off what a declared use needs."""
    return Refused(
        "use_declared_needs",
        f"The workspace is declared for {use}, which needs {what}.",
        "Withdraw the declaration first, if it is not used so any more.",
    )


def _count(table: Any, workspace_id: str, **more: str) -> Any:
    where = [table.c.workspace_id == workspace_id, *(table.c[name] == value for name, value in more.items())]
    return select(func.count()).select_from(table).where(*where)
