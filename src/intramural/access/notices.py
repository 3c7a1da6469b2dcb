"""Notices: what an institution has people read, and who has read which version of it."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Row, false, func, insert, select, true, update

from intramural.access.bounds import for_audience
from intramural.core.actor import AGES, Actor
from intramural.core.clock import Clock
from intramural.core.errors import Misasked, Missing
from intramural.core.ids import new_id
from intramural.storage import Connection, Database
from intramural.storage import schema as t

MAX_TITLE_CHARS = 120
MAX_TEXT_CHARS = 20_000
#: How somebody said that they have read it: on the page, or on paper, as somebody else wrote down.
How = Literal["page", "paper"]
_KINDS = ("everyone", "role", "group", "workspace", "age")


@dataclass(frozen=True, slots=True)
class Draft:
    """What a notice is made of. `audience` as `core.actor.Unread` says; `text` is Markdown."""

    audience: str
    title: str
    text: str
    blocking: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice. `digest`: of what is acknowledged; `ended_ms`: since when it is shown to nobody."""

    id: str
    draft: Draft
    digest: str
    changed_ms: int
    ended_ms: int | None = None

    def concerns(self, actor: Actor) -> bool:
        """Whether it is for this person, where they ask now."""
        return for_audience(actor, self.draft.audience)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """That somebody has read a version of a notice."""

    notice_id: str
    digest: str
    title: str
    how: How
    time_ms: int


@dataclass(frozen=True, slots=True)
class Reach:
    """How many have read a notice as it is now, and how many of those who are let in, and whom it is for, have not."""

    readers: int
    unread: int


class Notices:
    """All notices, and who has read them. Changing methods work on the caller's open transaction."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def put(self, connection: Connection, draft: Draft, notice_id: str | None = None) -> Notice:
        """Make a notice, or give one another text or audience: with another text it has to be read again.

        Raises Misasked(`bad_notice`), Missing(`notice_not_found`, `group_not_found`, `workspace_not_found`).
        """
        draft = _checked(draft)
        await _check_audience(connection, draft.audience)
        now_ms = int(self._clock.now_s() * 1000)
        notice = Notice(notice_id or new_id("notice", self._clock), draft, digest_of(draft), now_ms)
        values = {
            "audience": draft.audience,
            "title": draft.title,
            "text": draft.text,
            "digest": notice.digest,
            "blocking": draft.blocking,
            "changed_ms": now_ms,
            "ended_ms": None,
        }
        there = await connection.scalar(select(t.notices.c.id).where(t.notices.c.id == notice.id))
        if there is not None:
            await connection.execute(update(t.notices).where(t.notices.c.id == notice.id).values(values))
        else:
            await connection.execute(insert(t.notices).values(id=notice.id, **values))
        await self._keep_text(connection, notice)
        return notice

    async def end(self, connection: Connection, notice_id: str) -> Notice:
        """Show it to nobody any more; its texts stay. Raises Missing(`notice_not_found`)."""
        notice = await self.one(connection, notice_id)
        values = {"ended_ms": int(self._clock.now_s() * 1000)}
        await connection.execute(update(t.notices).where(t.notices.c.id == notice_id).values(values))
        return notice

    async def one(self, connection: Connection, notice_id: str) -> Notice:
        """Raises Missing(`notice_not_found`), also for one that was ended."""
        where = (t.notices.c.id == notice_id) & t.notices.c.ended_ms.is_(None)
        row = (await connection.execute(select(t.notices).where(where))).one_or_none()
        if row is None:
            raise Missing("notice_not_found", "There is no such notice.", "List the notices to see them.")
        return _notice(row)

    async def get(self, notice_id: str) -> Notice:
        """As `one`, on its own."""
        async with self._db.reading() as connection:
            return await self.one(connection, notice_id)

    async def shown(self) -> list[Notice]:
        """Those that are shown to anybody, the oldest first."""
        wanted = select(t.notices).where(t.notices.c.ended_ms.is_(None)).order_by(t.notices.c.id)
        async with self._db.reading() as connection:
            return [_notice(row) for row in await connection.execute(wanted)]

    async def text(self, notice_id: str, digest: str) -> tuple[str, str]:
        """Title and text of a version. Raises Missing(`notice_not_found`)."""
        where = (t.notice_texts.c.notice_id == notice_id) & (t.notice_texts.c.digest == digest)
        async with self._db.reading() as connection:
            row = (await connection.execute(select(t.notice_texts).where(where))).one_or_none()
        if row is None:
            raise Missing("notice_not_found", "There is no such version of a notice.", "List the notices to see them.")
        return row.title, row.text

    async def acknowledge(self, connection: Connection, person_id: str, notice: Notice, how: How) -> bool:
        """Write down that somebody has read it as it is now; False: that was known."""
        table = t.acknowledgements
        where = (table.c.person_id == person_id) & (table.c.notice_id == notice.id) & (table.c.digest == notice.digest)
        if await connection.scalar(select(func.count()).select_from(table).where(where)):
            return False
        now_ms = int(self._clock.now_s() * 1000)
        values = {"notice_id": notice.id, "digest": notice.digest, "how": how, "time_ms": now_ms}
        await connection.execute(insert(table).values(person_id=person_id, **values))
        return True

    async def acknowledged(self, person_id: str) -> list[Acknowledged]:
        """What somebody has read, the newest first."""
        table, texts = t.acknowledgements, t.notice_texts
        on = (texts.c.notice_id == table.c.notice_id) & (texts.c.digest == table.c.digest)
        wanted = (
            select(table, texts.c.title)
            .select_from(table.outerjoin(texts, on))
            .where(table.c.person_id == person_id)
            .order_by(table.c.time_ms.desc(), table.c.notice_id)
        )
        async with self._db.reading() as connection:
            rows = await connection.execute(wanted)
            return [Acknowledged(r.notice_id, r.digest, r.title or "", r.how, r.time_ms) for r in rows]

    async def readers(self, notice: Notice) -> Sequence[tuple[str, str, int]]:
        """Who has read it as it is now: identifier, how, when."""
        table = t.acknowledgements
        where = (table.c.notice_id == notice.id) & (table.c.digest == notice.digest)
        wanted = select(table).where(where).order_by(table.c.time_ms)
        async with self._db.reading() as connection:
            return [(row.person_id, row.how, row.time_ms) for row in await connection.execute(wanted)]

    async def reach(self, notices: Collection[Notice]) -> Mapping[str, Reach]:
        """How far each has come, by its identifier."""
        table, found = t.acknowledgements, dict[str, Reach]()
        async with self._db.reading() as connection:
            for each in notices:
                where = (table.c.notice_id == each.id) & (table.c.digest == each.digest)
                readers = await connection.scalar(select(func.count()).select_from(table).where(where))
                there = (t.people.c.kind == "person") & t.people.c.disabled_ms.is_(None) & _meant(each.draft.audience)
                unread = t.people.c.id.not_in(select(table.c.person_id).where(where))
                left = await connection.scalar(select(func.count()).select_from(t.people).where(there, unread))
                found[each.id] = Reach(readers or 0, left or 0)
        return found

    async def _keep_text(self, connection: Connection, notice: Notice) -> None:
        table = t.notice_texts
        where = (table.c.notice_id == notice.id) & (table.c.digest == notice.digest)
        if not await connection.scalar(select(func.count()).select_from(table).where(where)):
            values = {"title": notice.draft.title, "text": notice.draft.text, "created_ms": notice.changed_ms}
            await connection.execute(insert(table).values(notice_id=notice.id, digest=notice.digest, **values))


def digest_of(draft: Draft) -> str:
    """What names a version: SHA-256 of the title, a line break, and the text."""
    return "sha256:" + hashlib.sha256(f"{draft.title}\n{draft.text}".encode()).hexdigest()


def unread_of(actor: Actor, notices: Collection[Notice], read: Collection[Acknowledged]) -> list[Notice]:
    """Those for `actor`, where they ask now, that they have not read as they are now. Pure."""
    known = {(each.notice_id, each.digest) for each in read}
    return [each for each in notices if each.concerns(actor) and (each.id, each.digest) not in known]


def _checked(draft: Draft) -> Draft:
    title, text = draft.title.strip(), draft.text.replace("\r\n", "\n").strip()
    if not 0 < len(title) <= MAX_TITLE_CHARS or not title.isprintable():
        message = f"A notice needs a title of 1 to {MAX_TITLE_CHARS} printable characters."
        raise Misasked("bad_notice", message, "Write it on one line.", param="title")
    printable = all(each.isprintable() or each == "\n" for each in text)
    if not 0 < len(text) <= MAX_TEXT_CHARS or not printable:
        message = f"A notice needs a text of 1 to {MAX_TEXT_CHARS} characters, without control characters."
        raise Misasked("bad_notice", message, "Write Markdown.", param="text")
    kind, colon, which = draft.audience.partition(":")
    if kind not in _KINDS or (kind == "everyone") == bool(colon) or bool(colon) != bool(which):
        message = f"{draft.audience!r:.80} is no audience."
        hint = f"Write `everyone`, `role:NAME`, `group:ID`, `workspace:ID` or `age:BAND` ({', '.join(AGES)})."
        raise Misasked("bad_notice", message, hint, param="audience")
    if kind == "age" and which not in AGES:
        raise Misasked("bad_notice", f"There is no age band {which!r:.40}.", f"Bands: {', '.join(AGES)}.")
    if not draft.audience.isprintable() or len(draft.audience) > MAX_TITLE_CHARS:
        raise Misasked("bad_notice", "An audience is short and printable.", "List groups and workspaces.")
    return Draft(draft.audience, title, text, draft.blocking)


async def _check_audience(connection: Connection, audience: str) -> None:
    kind, _, which = audience.partition(":")
    for word, table in (("group", t.groups), ("workspace", t.workspaces)):
        if kind != word:
            continue
        if not await connection.scalar(select(func.count()).select_from(table).where(table.c.id == which)):
            raise Missing(f"{word}_not_found", f"There is no {word} {which!r:.40}.", "Name it by its identifier.")


def _meant(audience: str) -> ColumnElement[bool]:
    """Whether a row of people is of somebody whom an audience is made of; of a workspace's, who may ask there."""
    kind, _, which = audience.partition(":")
    people, groups, members = t.people.c, t.groups.c, t.group_members.c
    match kind:
        case "everyone":
            return true()
        case "role":
            return people.role == which
        case "group":  # a group's lineage names it, and all around it
            within = select(members.person_id).join(t.groups, groups.id == members.group_id)
            return people.id.in_(within.where(groups.lineage.contains(which, autoescape=True)))
        case "workspace":
            alone = select(t.workspace_people.c.person_id).where(t.workspace_people.c.workspace_id == which)
            admitted = t.workspace_groups.c
            within = select(members.person_id).join(t.groups, groups.id == members.group_id)
            within = within.join(t.workspace_groups, groups.lineage.contains(admitted.group_id))
            return people.id.in_(alone) | people.id.in_(within.where(admitted.workspace_id == which))
        case "age" if which == "unknown":
            return people.id.not_in(select(t.person_ages.c.person_id))
        case "age":
            return people.id.in_(select(t.person_ages.c.person_id).where(t.person_ages.c.age == which))
    return false()


def _notice(row: Row[Any]) -> Notice:
    draft = Draft(row.audience, row.title, row.text, bool(row.blocking))
    return Notice(row.id, draft, row.digest, row.changed_ms, row.ended_ms)
