"""How many bytes files may have together: of a person, of a group's people, stored with a key, of a workspace, of all.

Bytes on their way count from when they are written. Each upload begins with what is stored by then, and is told of
every other that is kept while it lasts; so what is stored and what is on its way never come to more than a share,
however many come at once, and the last word has the transaction that keeps a file.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import ColumnElement, func, literal, select, true

from intramural.core.actor import Whose
from intramural.core.errors import Refused
from intramural.storage import Connection
from intramural.storage import schema as t
from intramural.storage.schema import files as table

#: Who has a share: a subject, and which one (empty: everyone).
Holder = tuple[Literal["everyone", "person", "group", "key", "workspace"], str]
_WHOSE: Mapping[str, str] = {
    "everyone": "Everybody's files",
    "group": "The files of your group",
    "key": "What is stored with this key",
    "workspace": "The files of this workspace",
}


@dataclass(frozen=True, slots=True)
class Most:
    """Shares that are less than the settings allow, by holder; and with which key, and in whose groups, one stores."""

    amounts: Mapping[Holder, int] = field(default_factory=dict)
    key_id: str | None = None
    groups: tuple[str, ...] = ()

    def holders(self, whose: Whose) -> tuple[Holder, ...]:
        """All in whose shares something of this owner, stored there, counts."""
        found: list[Holder] = [("everyone", ""), ("person", whose.person_id)]
        found += [("group", each) for each in self.groups]
        if self.key_id is not None:
            found.append(("key", self.key_id))
        if whose.workspace_id is not None:
            found.append(("workspace", whose.workspace_id))
        return tuple(found)


ANY = Most()


@dataclass(frozen=True, slots=True)
class Used:
    """Bytes that are stored, of each holder that has a share; and how many files of the person."""

    stored: Mapping[Holder, int]
    count: int


def held_by(holder: Holder) -> ColumnElement[bool]:
    """The rows of files that count in a holder's share. Of a group: of whoever is in it now, or in a group within."""
    subject, name = holder
    if subject == "everyone":
        return true()
    if subject == "group":
        within = (literal("/") + t.groups.c.lineage + literal("/")).contains(f"/{name}/", autoescape=True)
        people = select(t.group_members.c.person_id).join(t.groups, t.groups.c.id == t.group_members.c.group_id)
        return table.c.person_id.in_(people.where(within))
    columns: Mapping[str, Any] = {
        "person": table.c.person_id,
        "key": table.c.key_id,
        "workspace": table.c.workspace_id,
    }
    of: ColumnElement[bool] = columns[subject] == name
    return of


async def stored(connection: Connection, holder: Holder) -> tuple[int, int]:
    """How many bytes of a holder are stored, in how many files."""
    wanted = select(func.coalesce(func.sum(table.c.size_bytes), 0), func.count()).where(held_by(holder))
    row = (await connection.execute(wanted)).one()
    return int(row[0]), int(row[1])


@dataclass(eq=False, slots=True)
class Upload:
    """One that is under way. `seen`: what is stored, as far as it knows; `meanwhile`: what was kept before it did."""

    holders: tuple[Holder, ...]
    size_bytes: int = 0
    seen: Counter[Holder] | None = None
    known: frozenset[str] = frozenset()
    meanwhile: dict[str, "Upload"] = field(default_factory=dict)


class Room:
    """What is on its way, for all shares."""

    def __init__(self, max_person_bytes: int, max_person_files: int) -> None:
        self._max_bytes = max_person_bytes
        self._max_files = max_person_files
        self._uploads: dict[str, Upload] = {}
        self._arriving: Counter[Holder] = Counter()

    def shares(self, whose: Whose, most: Most) -> dict[Holder, int]:
        """Every share that a file counts in, with its bytes: the person's, and those that are set."""
        mine: Holder = ("person", whose.person_id)
        own = min(self._max_bytes, most.amounts.get(mine, self._max_bytes))
        of = frozenset(most.holders(whose))
        return {mine: own} | {each: most.amounts[each] for each in most.amounts if each in of and each != mine}

    async def used(self, connection: Connection, whose: Whose, most: Most) -> Used:
        """What is stored of each share by now."""
        found = {each: await stored(connection, each) for each in self.shares(whose, most)}
        return Used({each: size for each, (size, _) in found.items()}, found["person", whose.person_id][1])

    def begin(self, upload_id: str, whose: Whose, most: Most) -> Upload:
        """An upload is under way from now on; then `look`."""
        upload = self._uploads[upload_id] = Upload(most.holders(whose))
        return upload

    async def look(self, connection: Connection, upload: Upload, whose: Whose, most: Most) -> Used:
        """What is stored when an upload begins. `connection` sees one moment."""
        found = await self.used(connection, whose, most)
        others = [name for name, each in self._uploads.items() if each is not upload] + list(upload.meanwhile)
        kept = await connection.execute(select(table.c.id).where(table.c.id.in_(others)))
        upload.known = frozenset(kept.scalars())
        upload.seen = Counter(found.stored)
        for name, each in upload.meanwhile.items():
            if name not in upload.known:
                self._tell(upload, each)
        return found

    def admit(self, upload: Upload, whose: Whose, most: Most, more_bytes: int) -> None:
        """So many bytes more may come of it, and are on their way. Raises Refused(`files_quota`)."""
        self.require(upload, whose, most, more_bytes)
        upload.size_bytes += more_bytes
        for each in upload.holders:
            self._arriving[each] += more_bytes

    def require(self, upload: Upload, whose: Whose, most: Most, more_bytes: int) -> None:
        """Return if so many bytes more have room. Raises Refused(`files_quota`)."""
        seen = upload.seen or Counter()
        stored_bytes = {each: seen[each] + self._arriving[each] for each in self.shares(whose, most)}
        self.check(Used(stored_bytes, 0), whose, most, more_bytes)

    def check(self, used: Used, whose: Whose, most: Most, more_bytes: int) -> None:
        """Return if so many bytes more have room beside what is used. Raises Refused(`files_quota`)."""
        for holder, share_bytes in self.shares(whose, most).items():
            if used.stored[holder] + more_bytes > share_bytes:
                raise self._refusal(holder, share_bytes)
        if used.count >= self._max_files:
            mine: Holder = ("person", whose.person_id)
            raise self._refusal(mine, self.shares(whose, most)[mine])

    def end(self, upload_id: str, *, kept: bool) -> None:
        """It is over. If it is `kept`, all others that are under way have so much less room."""
        upload = self._uploads.pop(upload_id, None)
        if upload is None:
            return
        for each in upload.holders:
            self._arriving[each] -= upload.size_bytes
        for other in self._uploads.values() if kept else ():
            if other.seen is None:
                other.meanwhile[upload_id] = upload
            elif upload_id not in other.known:
                self._tell(other, upload)

    @staticmethod
    def _tell(upload: Upload, other: Upload) -> None:
        assert upload.seen is not None
        for each in other.holders:
            upload.seen[each] += other.size_bytes

    def _refusal(self, holder: Holder, share_bytes: int) -> Refused:
        if holder[0] == "person":
            message = f"Your files would be over your share: {share_bytes} bytes in {self._max_files} files."
            return Refused("files_quota", message, "Delete files that you no longer need.")
        message = f"{_WHOSE[holder[0]]} would be over their share: {share_bytes} bytes together."
        return Refused("files_quota", message, "Delete files there, or ask an administrator for a larger quota.")
