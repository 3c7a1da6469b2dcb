"""Full-text search in one person's text files, with the database's own index (`fts5`, `tsvector`).

A file is cut into passages, and a passage is a row of the index. Ranking is BM25's weight of a word in a passage times
how rare the word is **in this person's files alone**: counted over everybody's, as the index itself would, the order of
one's own results would tell which words stand in other people's files.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from intramural.core.errors import Misasked
from intramural.files import fts5, tsvector
from intramural.files.index import Index, Passage
from intramural.storage import Connection

#: What files are searched for: those that their owner stored as documents.
PURPOSES = frozenset({"assistants", "user_data"})
ENDINGS = frozenset({".txt", ".text", ".md", ".markdown", ".csv", ".tsv", ".json", ".jsonl"})
#: Long enough for a paragraph or two to make sense alone, short enough that ten of them fit into a small context.
PASSAGE_CHARS = 1_200
_SHORTEST_CUT = 400
MAX_TERMS = 16
MAX_QUERY_CHARS = 1_000
MAX_LIMIT = 50
#: Passages of one person that are ranked for one word.
_RANKED = 2_000
_WORD = re.compile(r"\w+")
_INDEXES: Mapping[str, Index] = {"sqlite": fts5.INDEX, "postgresql": tsvector.INDEX}


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
    found = list(dict.fromkeys(_WORD.findall(query)))
    if not 0 < len(query) <= MAX_QUERY_CHARS or not found:
        hint = f"Use at least one word and at most {MAX_QUERY_CHARS} characters."
        raise Misasked("bad_query", "There is nothing to search for.", hint, param="query")
    return found[:MAX_TERMS]


async def add(connection: Connection, person_id: str, file_id: str, found: Sequence[Passage]) -> None:
    """Passages of a file into the index."""
    if found:
        await _INDEXES[connection.dialect.name].add(connection, person_id, file_id, found)


async def remove(connection: Connection, owner_id: str) -> None:
    """Everything of a file, or of a person, out of the index."""
    await _INDEXES[connection.dialect.name].remove(connection, owner_id)


async def search(connection: Connection, person_id: str, query: str, limit: int) -> list[Found]:
    """The best passages of this person's files, the best first. Raises Misasked(`bad_query`, `bad_limit`)."""
    if not 1 <= limit <= MAX_LIMIT:
        raise Misasked("bad_limit", f"The limit must be from 1 to {MAX_LIMIT}.", "Ask for fewer.", param="limit")
    index = _INDEXES[connection.dialect.name]
    total = await index.count(connection, person_id)
    scores: dict[int, float] = defaultdict(float)
    for term in terms(query):
        rows = await index.matches(connection, person_id, term, _RANKED)
        if not rows:
            continue
        count = await index.count(connection, person_id, term)
        rarity = math.log(1 + (total - count + 0.5) / (count + 0.5))
        best = rows[0][1] or 1.0  # relative to the best, the index's own idea of the word's rarity is gone
        for row, weight in rows:
            scores[row] += rarity * (weight / best)
    ranked = sorted(scores, key=lambda row: (-round(scores[row], 6), row))[:limit]
    return [Found(*await index.passage(connection, row)) for row in ranked]
