"""The index in SQLite: FTS5."""

import re
from collections.abc import Sequence

from sqlalchemy import text

from intramural.files.index import Passage
from intramural.storage import Connection

_ADD = text(
    "INSERT INTO file_texts (text, owner, file_id, position, line) VALUES (:text, :owner, :file_id, :position, :line)"
)
_REMOVE = text("DELETE FROM file_texts WHERE file_texts MATCH :match")
# the owner's column weighs nothing; a smaller value is a better match
_MATCHES = text(
    "SELECT rowid, bm25(file_texts, 1.0, 0.0) AS score FROM file_texts WHERE file_texts MATCH :match "
    "ORDER BY score LIMIT :limit"
)
_COUNT = text("SELECT count(*) FROM file_texts WHERE file_texts MATCH :match")
_ROW = text("SELECT file_id, text, position, line FROM file_texts WHERE rowid = :row")


class _Fts5:
    """See `Index`."""

    async def add(self, connection: Connection, person_id: str, file_id: str, found: Sequence[Passage]) -> None:
        values = {"owner": f"{_token(person_id)} {_token(file_id)}", "file_id": file_id}
        rows = [{**values, "text": each.text, "position": each.position, "line": each.line} for each in found]
        await connection.execute(_ADD, rows)

    async def remove(self, connection: Connection, owner_id: str) -> None:
        await connection.execute(_REMOVE, {"match": _match(owner_id, None)})

    async def count(self, connection: Connection, person_id: str, term: str | None = None) -> int:
        return int(await connection.scalar(_COUNT, {"match": _match(person_id, term)}) or 0)

    async def matches(self, connection: Connection, person_id: str, term: str, limit: int) -> list[tuple[int, float]]:
        rows = await connection.execute(_MATCHES, {"match": _match(person_id, term), "limit": limit})
        return [(row.rowid, -row.score) for row in rows]

    async def passage(self, connection: Connection, row: int) -> tuple[str, Passage]:
        found = (await connection.execute(_ROW, {"row": row})).one()
        return found.file_id, Passage(found.text, found.position, found.line)


INDEX = _Fts5()


def _match(owner_id: str, term: str | None) -> str:
    whose = f'owner : "{_token(owner_id)}"'
    return whose if term is None else f'{whose} AND text : "{term}"'


def _token(an_id: str) -> str:
    """An identifier as one word of the index."""
    return re.sub(r"[^a-z0-9]", "", an_id.lower())
