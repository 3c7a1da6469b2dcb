"""Cutting text into the words of an index: SQLite's own tokenizer (FTS5), on a table in memory that holds one text.

Letters of any script, without marks and case, English words by their stem. Used whatever the database is.
"""

import sqlite3
from collections import Counter
from threading import local

_TABLE = "CREATE VIRTUAL TABLE one USING fts5(text, tokenize = 'porter unicode61 remove_diacritics 2')"
_WORDS = "CREATE VIRTUAL TABLE words USING fts5vocab(one, 'instance')"


class _Connections(local):
    def __init__(self) -> None:
        self.own = sqlite3.connect(":memory:", isolation_level=None)
        self.own.execute(_TABLE)
        self.own.execute(_WORDS)


_connections = _Connections()


def words(text: str) -> Counter[str]:
    """The words of `text` and how often each stands in it, in the order of their first places. Safe on any thread."""
    connection = _connections.own
    connection.execute("BEGIN")
    try:
        connection.execute("INSERT INTO one (text) VALUES (?)", (text.encode(errors="replace").decode(),))
        return Counter(term for (term,) in connection.execute("SELECT term FROM words ORDER BY offset"))
    finally:
        connection.execute("ROLLBACK")
