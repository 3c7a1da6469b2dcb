"""Workspaces: what belongs together ("Radiology", "Grade 7 Maths"), of one kind of data, for its members."""

import json
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final, cast

from msgspec.structs import replace
from sqlalchemy import Row, bindparam, delete, exists, func, insert, literal_column, select, true, update
from sqlalchemy.exc import IntegrityError

from intramural.access.naming import checked_name
from intramural.access.uses import USES_OF, declared_use, needed
from intramural.core.actor import LABELS, Actor, Label, Place
from intramural.core.clock import Clock
from intramural.core.errors import Conflicting, Misasked, Missing
from intramural.core.ids import new_id
from intramural.core.retention import DATA_CLASSES, MAX_DAYS, below_floor, floor_sentence
from intramural.storage import Connection, Database
from intramural.storage import schema as t

MAX_MODELS = 200
MAX_PURPOSES = 20
#: The code of the error for a log that would be deleted earlier than the law has it.
BELOW_FLOOR = "retention_below_floor"

#: What can be of a workspace, and keeps it from being removed: without it, nothing would say any more what kind of data
#: that is, and for how long the law has it kept.
_KEPT_IN: Mapping[str, tuple[Any, Any]] = {
    "chats": (t.chats, true()),
    "keys": (t.keys, t.keys.c.revoked_ms.is_(None)),
    "files": (t.files, true()),
    "batches": (t.batches, true()),
    "responses": (t.responses, true()),
    "conversations": (t.transcripts, true()),
    "texts beside the log": (t.audit_texts, true()),
}
_TEXT = t.workspaces.c.id.type
#: What is known of a workspace, and whether a person is a member by themselves or by which groups.
_OF_PLACE: tuple[Any, ...] = (
    t.workspaces.c.id,
    t.workspaces.c.name,
    t.workspaces.c.label,
    t.workspaces.c.models,
    t.workspaces.c.purposes,
    t.workspaces.c.closed_ms,
    exists()
    .where(
        t.workspace_people.c.workspace_id == t.workspaces.c.id,
        t.workspace_people.c.person_id == bindparam("person_id"),
    )
    .label("is_member"),
    # as in `groups.GROUPS_OF`: a separator that is no parameter, which the annotation does not know
    select(func.aggregate_strings(t.workspace_groups.c.group_id, literal_column("' '", _TEXT)))  # type: ignore[arg-type]
    .where(t.workspace_groups.c.workspace_id == t.workspaces.c.id)
    .scalar_subquery()
    .label("group_ids"),
    *USES_OF,
)
#: For `Database.look_up`: the values are a person, and what the workspace was called by as identifier and as name.
_PLACE: Final = select(*_OF_PLACE).where(
    (t.workspaces.c.id == bindparam("id")) | (t.workspaces.c.name_folded == bindparam("name"))
)


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace. `retention_days`: for how long what is of each class is kept (a class that is not named: for ever).

    `people` and `groups` are its members, by identifier; whoever is in a group within one of these is a member as well.
    `closed_ms`: when it was closed (None: it is open). In a closed one nobody is a member, whoever is named.
    """

    place: Place
    retention_days: Mapping[str, int]
    created_ms: int
    people: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    closed_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Charter:
    """What a workspace is made with, or is changed to as a whole."""

    name: str
    label: Label
    models: Collection[str] | None = None
    purposes: Sequence[str] = ()
    retention_days: Mapping[str, int] | None = None


class Workspaces:
    """Every workspace. Changing methods work on the caller's open transaction."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def place(self, actor: Actor, called: str) -> tuple[Place, bool] | None:
        """The workspace that is called so, by identifier or name, and whether `actor` is a member; None if there is
        none. One indexed row, for the path of every request."""
        row = await self._db.look_up(_PLACE, actor.person_id, called, fold(called))
        if row is None:
            return None
        if row.closed_ms is not None:
            return _place(row), False
        groups = (row.group_ids or "").split(" ")
        return _place_with_uses(row), bool(row.is_member) or not frozenset(actor.groups).isdisjoint(groups)

    async def create(self, connection: Connection, charter: Charter) -> Workspace:
        """Make a workspace without members. Raises Misasked(`bad_workspace_name`, `bad_label`, `bad_models`,
        `bad_purposes`, `bad_retention`, `retention_below_floor`), Conflicting(`workspace_name_taken`).
        """
        values = _checked(charter)
        workspace_id = new_id("workspace", self._clock)
        now_ms = int(self._clock.now_s() * 1000)
        try:
            await connection.execute(insert(t.workspaces).values(id=workspace_id, created_ms=now_ms, **values))
        except IntegrityError:
            raise _name_taken(charter.name) from None
        return await self._workspace(connection, workspace_id)

    async def change(self, connection: Connection, workspace_id: str, charter: Charter) -> Workspace:
        """Give a workspace another charter, which count at the next request; its members stay. Raises as `create`, and
        Missing(`workspace_not_found`), Refused(`use_declared_needs`).
        """
        values = _checked(charter)
        if not charter.purposes and (use := await declared_use(connection, workspace_id)):
            raise needed(use, "a purpose with every request")
        try:
            await connection.execute(update(t.workspaces).where(t.workspaces.c.id == workspace_id).values(values))
        except IntegrityError:
            raise _name_taken(charter.name) from None
        return await self._workspace(connection, workspace_id)

    async def remove(self, connection: Connection, workspace_id: str) -> Workspace:
        """Remove a workspace. Raises Missing(`workspace_not_found`), Conflicting(`workspace_not_empty`) while
        anything is of it.
        """
        workspace = await self._workspace(connection, workspace_id)
        for what, (table, counts) in _KEPT_IN.items():
            wanted = select(func.count()).where(table.c.workspace_id == workspace_id, counts)
            if number := await connection.scalar(wanted):
                message = f"There are {number} {what} of {workspace.place.name!r}."
                hint = "Close it instead: its own times go on. It can be removed when nothing is left of it."
                raise Conflicting("workspace_not_empty", message, hint)
        await connection.execute(delete(t.workspaces).where(t.workspaces.c.id == workspace_id))
        return workspace

    async def close(self, connection: Connection, workspace_id: str, *, closed: bool) -> Workspace:
        """Close a workspace, or open it again: from the next request on nobody is a member of a closed one, its keys
        open nothing, and what is of it is out of everybody's reach. Raises Missing(`workspace_not_found`).
        """
        now_ms = int(self._clock.now_s() * 1000)
        until = func.coalesce(t.workspaces.c.closed_ms, now_ms) if closed else None  # the first time counts
        await connection.execute(update(t.workspaces).where(t.workspaces.c.id == workspace_id).values(closed_ms=until))
        return await self._workspace(connection, workspace_id)

    async def admit(self, connection: Connection, workspace_id: str, member_id: str) -> None:
        """Make a person or a group a member; whoever is one already stays it.

        Raises Missing(`workspace_not_found`, `person_not_found`, `group_not_found`).
        """
        await self._workspace(connection, workspace_id)
        table, column, theirs = _members(member_id)
        if not await connection.scalar(select(func.count()).where(theirs.c.id == member_id)):
            kind = "group" if theirs is t.groups else "person"
            raise Missing(f"{kind}_not_found", f"There is no such {kind}.", "List them to see who is there.")
        where = (table.c.workspace_id == workspace_id) & (table.c[column] == member_id)
        if not await connection.scalar(select(func.count()).where(where)):
            await connection.execute(insert(table).values({"workspace_id": workspace_id, column: member_id}))

    async def dismiss(self, connection: Connection, workspace_id: str, member_id: str) -> None:
        """End a membership. Raises Missing(`not_a_member`)."""
        table, column, _ = _members(member_id)
        where = (table.c.workspace_id == workspace_id) & (table.c[column] == member_id)
        if not (await connection.execute(delete(table).where(where))).rowcount:
            raise Missing("not_a_member", "They are not a member of this workspace.", "See the list of its members.")

    async def get(self, workspace_id: str) -> Workspace:
        """The workspace with its members. Raises Missing(`workspace_not_found`)."""
        async with self._db.reading() as connection:
            return await self._workspace(connection, workspace_id)

    async def list(self) -> list[Workspace]:
        """Every workspace with its members, by name."""
        async with self._db.reading() as connection:
            rows = (await connection.execute(select(t.workspaces).order_by(t.workspaces.c.name_folded))).all()
            people = (await connection.execute(select(t.workspace_people))).all()
            groups = (await connection.execute(select(t.workspace_groups))).all()
        return [_workspace(row, people, groups) for row in rows]

    async def of(self, actor: Actor) -> tuple[Place, ...]:
        """Those that `actor` is a member of, by name."""
        people, groups = t.workspace_people.c, t.workspace_groups.c
        by_person = select(people.workspace_id).where(people.person_id == actor.person_id)
        by_group = select(groups.workspace_id).where(groups.group_id.in_(actor.groups))
        mine = t.workspaces.c.id.in_(by_person) | t.workspaces.c.id.in_(by_group)
        async with self._db.reading() as connection:
            open_ones = select(t.workspaces).where(mine, t.workspaces.c.closed_ms.is_(None))
            found = await connection.execute(open_ones.order_by(t.workspaces.c.name_folded))
            return tuple(_place(row) for row in found)

    async def _workspace(self, connection: Connection, workspace_id: str) -> Workspace:
        row = (await connection.execute(select(t.workspaces).where(t.workspaces.c.id == workspace_id))).one_or_none()
        if row is None:
            raise missing()
        members = [
            (await connection.execute(select(table).where(table.c.workspace_id == workspace_id))).all()
            for table in (t.workspace_people, t.workspace_groups)
        ]
        return _workspace(row, *members)


def fold(name: str) -> str:
    """What two spellings of one name have in common."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name[:256].strip()).casefold())


def missing() -> Missing:
    """The error for a workspace that is not there, or not the caller's to know of."""
    return Missing("workspace_not_found", "There is no such workspace for you.", "List yours to see their names.")


def _checked(charter: Charter) -> dict[str, Any]:
    """The columns of what is well formed."""
    name = checked_name("bad_workspace_name", "workspace", unicodedata.normalize("NFKC", charter.name.strip()))
    if name.startswith("workspace_"):
        message = f"{name!r} is written as an identifier."
        raise Misasked("bad_workspace_name", message, "Give it a name that people use.", param="name")
    if charter.label not in LABELS:
        raise Misasked(
            "bad_label", f"There is no label {charter.label!r}.", f"Labels: {', '.join(LABELS)}.", param="label"
        )
    models = charter.models
    if models is not None and not (0 < len(models) <= MAX_MODELS and all(_is_text(each, 256) for each in models)):
        message = f"Name 1 to {MAX_MODELS} models, or leave it out for any."
        raise Misasked("bad_models", message, "List the models to see their names.", param="models")
    # they travel in a header, and in a rule's list
    if len(charter.purposes) > MAX_PURPOSES or not all(
        _is_text(each, 64) and each.isascii() for each in charter.purposes
    ):
        message = f"A workspace has at most {MAX_PURPOSES} purposes of 1 to 64 plain characters."
        raise Misasked("bad_purposes", message, "Short words, as `care` or `grading`.", param="purposes")
    return {
        "name": name,
        "name_folded": fold(name),
        "label": charter.label,
        "models": None if models is None else json.dumps(sorted(set(models))),
        "purposes": json.dumps(list(dict.fromkeys(charter.purposes))),
        "retention_days": json.dumps(_checked_retention(charter.retention_days or {}, charter.label)),
    }


def _checked_retention(days: Mapping[str, int], label: Label) -> dict[str, int]:
    for each, number in days.items():
        if each not in DATA_CLASSES or not 1 <= number <= MAX_DAYS:
            message = f"{each}: {number} is no retention."
            hint = f"Give days from 1 to {MAX_DAYS} for: {', '.join(DATA_CLASSES)}."
            raise Misasked("bad_retention", message, hint, param="retention_days")
    if floor := below_floor(label, days):
        hint = "Keep it so long, or for ever: leave `log` out."
        raise Misasked(BELOW_FLOOR, floor_sentence(floor, days["log"]), hint, param="retention_days")
    return dict(days)


def _is_text(text: str, most_chars: int) -> bool:
    return 0 < len(text) <= most_chars and text.isprintable() and text == text.strip()


def _members(member_id: str) -> tuple[Any, str, Any]:
    if member_id.startswith("group_"):
        return t.workspace_groups, "group_id", t.groups
    return t.workspace_people, "person_id", t.people


def _name_taken(name: str) -> Conflicting:
    return Conflicting(
        "workspace_name_taken", f"There is a workspace {name!r} already.", "Choose another name.", param="name"
    )


def _place(row: SimpleNamespace | Row[Any]) -> Place:
    models = None if row.models is None else frozenset(json.loads(row.models))
    return Place(row.id, row.name, cast(Label, row.label), models, tuple(json.loads(row.purposes)))


def _place_with_uses(row: SimpleNamespace) -> Place:
    uses = tuple(sorted((row.uses or "").split()))
    return replace(_place(row), uses=uses, overseen=bool(row.overseen)) if uses else _place(row)


def _workspace(row: Row[Any], people: Sequence[Row[Any]], groups: Sequence[Row[Any]]) -> Workspace:
    return Workspace(
        place=_place(row),
        retention_days=json.loads(row.retention_days),
        created_ms=row.created_ms,
        closed_ms=row.closed_ms,
        people=tuple(sorted(each.person_id for each in people if each.workspace_id == row.id)),
        groups=tuple(sorted(each.group_id for each in groups if each.workspace_id == row.id)),
    )
