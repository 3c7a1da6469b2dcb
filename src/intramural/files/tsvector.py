"""The index in PostgreSQL: a column of stems.

What is a word, and that accents do not count, is decided here, as FTS5 decides it: PostgreSQL's parser would keep
addresses and what hyphens join in one piece.
"""

import re
import unicodedata
from collections.abc import Sequence

from sqlalchemy import text

from intramural.files.index import Passage
from intramural.storage import Connection

_WORD = re.compile(r"[^\W_]+")
#: BM25's constants, as FTS5 has them.
_K1, _B = 1.2, 0.75

_ADD = text(
    "INSERT INTO file_texts (person_id, file_id, text, position, line, word_count, words) VALUES "
    "(:person_id, :file_id, :text, :position, :line, :word_count, to_tsvector('file_words', CAST(:words AS text)))"
)
_REMOVE = text("DELETE FROM file_texts WHERE file_id = :owner OR person_id = :owner")
_TOTAL = text("SELECT count(*) FROM file_texts WHERE person_id = :person")
_COUNT = text(
    "SELECT count(*) FROM file_texts WHERE person_id = :person AND words @@ plainto_tsquery('file_words', :term)"
)
# how often the stem stands in the passage, against the passage's length
_MATCHES = text(
    f"""
    WITH own AS (SELECT avg(word_count) AS usual FROM file_texts WHERE person_id = :person),
    held AS (
        SELECT id, word_count, (
            SELECT sum(coalesce(array_length(positions, 1), 1)) FROM unnest(words)
            WHERE lexeme = ANY (tsvector_to_array(to_tsvector('file_words', :term)))
        ) AS times
        FROM file_texts WHERE person_id = :person AND words @@ plainto_tsquery('file_words', :term)
    )
    SELECT id, CAST(times * ({_K1} + 1) / (times + {_K1} * (1 - {_B} + {_B} * word_count / usual)) AS float) AS weight
    FROM held, own ORDER BY weight DESC, id LIMIT :limit
    """  # noqa: S608 — two numbers of ours
)
_ROW = text("SELECT file_id, text, position, line FROM file_texts WHERE id = :row")


class _Tsvector:
    """See `Index`."""

    async def add(self, connection: Connection, person_id: str, file_id: str, found: Sequence[Passage]) -> None:
        rows = []
        for each in found:
            words = _words(each.text)
            row = {"person_id": person_id, "file_id": file_id, "text": each.text, "position": each.position}
            rows.append(row | {"line": each.line, "word_count": len(words), "words": " ".join(words)})
        await connection.execute(_ADD, rows)

    async def remove(self, connection: Connection, owner_id: str) -> None:
        await connection.execute(_REMOVE, {"owner": owner_id})

    async def count(self, connection: Connection, person_id: str, term: str | None = None) -> int:
        if term is None:
            return int(await connection.scalar(_TOTAL, {"person": person_id}) or 0)
        return int(await connection.scalar(_COUNT, {"person": person_id, "term": " ".join(_words(term))}) or 0)

    async def matches(self, connection: Connection, person_id: str, term: str, limit: int) -> list[tuple[int, float]]:
        values = {"person": person_id, "term": " ".join(_words(term)), "limit": limit}
        return [(row.id, row.weight) for row in await connection.execute(_MATCHES, values)]

    async def passage(self, connection: Connection, row: int) -> tuple[str, Passage]:
        found = (await connection.execute(_ROW, {"row": row})).one()
        return found.file_id, Passage(found.text, found.position, found.line)


INDEX = _Tsvector()


def _words(whole: str) -> list[str]:
    apart = unicodedata.normalize("NFKD", whole.casefold())
    return _WORD.findall("".join(char for char in apart if not unicodedata.combining(char)))
