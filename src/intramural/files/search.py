"""Full-text search in one person's text files of one workspace, with an index that does not hold their words.

A file is cut into passages. A passage lies sealed, and its words stand in the index as keyed hashes under a key of the
person whose file it is: a word has another hash for everybody, and who has the database alone sees which passages of
one person have words in common, and how often, but no word. Ranking is BM25, counted over **the searched files
alone**: counted over everybody's, the order of one's own results would tell which words stand in other people's files;
counted over all of one's own, which stand in a workspace that one is no member of any more.
"""

import hmac
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, func, insert, select

from intramural.core.errors import Misasked
from intramural.storage import Connection, words
from intramural.storage.schema import file_passages, file_words, files
from intramural.vault import Vault, row_id
from intramural.vault.places import PASSAGE

#: What files are searched for: those that their owner stored as documents.
PURPOSES = frozenset({"assistants", "user_data"})
ENDINGS = frozenset({".txt", ".text", ".md", ".markdown", ".csv", ".tsv", ".json", ".jsonl"})
#: Long enough for a paragraph or two to make sense alone, short enough that ten of them fit into a small context.
PASSAGE_CHARS = 1_200
_SHORTEST_CUT = 400
MAX_TERMS = 16
MAX_QUERY_CHARS = 1_000
MAX_LIMIT = 50
#: Bytes of a word's hash: two of a person's words have the same one once in 2^32 vocabularies of 2^16 words.
_HASH_BYTES = 8
#: BM25's usual constants: how soon a word's repetition counts no more, and how much a long passage counts less.
_K1, _B = 1.2, 0.75
_PASSAGE = PASSAGE.place


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a file: `position` is its first character's (from 0), `line` that character's line (from 1)."""

    text: str
    position: int
    line: int


@dataclass(frozen=True, slots=True)
class Found:
    """A passage that holds words of the query."""

    file_id: str
    passage: Passage


def is_searchable(name: str, purpose: str, size_bytes: int, most_bytes: int) -> bool:
    """Whether a file is of a kind that is searched (whether it is text, only its bytes tell)."""
    return purpose in PURPOSES and PurePath(name).suffix.lower() in ENDINGS and size_bytes <= most_bytes


def passages(whole: str) -> Iterator[Passage]:
    """`whole` in pieces, cut between paragraphs, lines or words, where there are any."""
    at, line = 0, 1
    while at < len(whole):
        end = _cut(whole, at)
        piece = whole[at:end]
        blank = len(piece) - len(piece.lstrip())
        if piece.strip():
            yield Passage(piece.strip(), at + blank, line + piece.count("\n", 0, blank))
        at, line = end, line + piece.count("\n")


def _cut(whole: str, at: int) -> int:
    end = at + PASSAGE_CHARS
    if end >= len(whole):
        return len(whole)
    for mark in ("\n\n", "\n", " "):
        found = whole.rfind(mark, at + _SHORTEST_CUT, end)
        if found >= 0:
            return found + len(mark)
    return end


def terms(query: str) -> list[str]:
    """The words to look for. Raises Misasked(`bad_query`)."""
    found = list(words(query)) if 0 < len(query) <= MAX_QUERY_CHARS else []
    if not found:
        hint = f"Use at least one word and at most {MAX_QUERY_CHARS} characters."
        raise Misasked("bad_query", "There is nothing to search for.", hint, param="query")
    return found[:MAX_TERMS]


class Index:
    """Everybody's passages and words, each reached only with the identifier of the person whose they are."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def add(self, connection: Connection, person_id: str, file_id: str, found: Sequence[Passage]) -> None:
        """Passages of a file into the index."""
        # numbered here, not by the database: rows may have been moved here from another one, with their numbers
        last = await connection.scalar(select(func.coalesce(func.max(file_passages.c.id), 0)))
        for passage_id, passage in enumerate(found, int(last or 0) + 1):
            counts = words(passage.text)
            row = {
                "id": passage_id,
                "file_id": file_id,
                "position": passage.position,
                "line": passage.line,
                "words": counts.total(),
                "body": self._vault.seal(person_id, _PASSAGE, row_id(file_id, passage.position), passage.text.encode()),
            }
            await connection.execute(insert(file_passages).values(**row))
            hashed = self._hashed(person_id, counts)
            rows = [{"word": word, "passage_id": passage_id, "times": n} for word, n in hashed.items()]
            if rows:
                await connection.execute(insert(file_words), rows)

    async def remove(self, connection: Connection, file_id: str) -> None:
        """Everything of a file out of the index."""
        await connection.execute(delete(file_passages).where(file_passages.c.file_id == file_id))

    async def search(
        self, connection: Connection, person_id: str, searched: Sequence[ColumnElement[bool]], query: str, limit: int
    ) -> list[Found]:
        """The best passages of those of this person's files for which `searched` holds, the best first. It is asked at
        every search: nothing of the index says who may see what. Raises Misasked(`bad_query`, `bad_limit`).
        """
        if not 1 <= limit <= MAX_LIMIT:
            raise Misasked("bad_limit", f"The limit must be from 1 to {MAX_LIMIT}.", "Ask for fewer.", param="limit")
        looked_for = terms(query)
        if not self._vault.knows(person_id):
            return []  # who has no key has no files
        mine = file_passages.join(files, files.c.id == file_passages.c.file_id)
        sums = select(func.count(), func.sum(file_passages.c.words)).select_from(mine)
        total, length = (await connection.execute(sums.where(*searched))).one()
        if not total:
            return []
        wanted = list(self._hashed(person_id, Counter(looked_for)))
        hits = select(file_words.c.word, file_words.c.passage_id, file_words.c.times, file_passages.c.words)
        hits = hits.select_from(mine.join(file_words, file_words.c.passage_id == file_passages.c.id))
        rows = (await connection.execute(hits.where(file_words.c.word.in_(wanted), *searched))).all()
        scores = _scores([tuple(row) for row in rows], total, float(length) / total)
        best = sorted(scores, key=lambda at: (-round(scores[at], 6), at))[:limit]
        of = select(file_passages).where(file_passages.c.id.in_(best))
        found = {row.id: self._found(person_id, row) for row in await connection.execute(of)}
        return [found[at] for at in best]

    def _found(self, person_id: str, row: Row[Any]) -> Found:
        body = self._vault.reveal(person_id, _PASSAGE, row_id(row.file_id, row.position), row.body)
        return Found(row.file_id, Passage(body.decode(), row.position, row.line))

    def _hashed(self, person_id: str, counts: Counter[str]) -> dict[bytes, int]:
        key = self._vault.words_key(person_id)
        return {hmac.digest(key, word.encode(), "sha256")[:_HASH_BYTES]: n for word, n in counts.items()}


def _scores(rows: Sequence[tuple[Any, ...]], total: int, average: float) -> dict[int, float]:
    """BM25 of every passage that has one of the words. `rows`: word, passage, times, the passage's length in words."""
    counts = Counter(word for word, *_ in rows)
    scores: dict[int, float] = defaultdict(float)
    for word, at, times, length in rows:
        rarity = math.log(1 + (total - counts[word] + 0.5) / (counts[word] + 0.5))
        scores[at] += rarity * times * (_K1 + 1) / (times + _K1 * (1 - _B + _B * length / average))
    return scores
