"""The only room that opens the database: a file (SQLite), or a server's (PostgreSQL).

Promises: one `Database` with `reading()` and `writing()`, the same on both; a `writing()` block that ends without an
error is on the disk before it returns (SQLite WAL, `synchronous=FULL`; PostgreSQL with `fsync` and
`synchronous_commit`); writers are served one at a time, readers never wait for them; the schema is brought up to date
by Alembic migrations, the same ones, when the database is opened.
Never: knows what the rows mean. Each room writes its own queries against the tables in `schema`.

Read in this order: `schema`, `database`, `backend`, `sqlite`, `writer`, `postgres`, `plain`, `words`, `copying`,
`revision`, `migrate`, `migrations/`.
"""

from intramural.storage.backend import Condition, DatabaseDown
from intramural.storage.database import BlockingConnection, Connection, Database, head_revision, read_apart
from intramural.storage.plain import insert_rows, scalar
from intramural.storage.postgres import without_password
from intramural.storage.sqlite import reading_file
from intramural.storage.words import words

__all__ = [
    "BlockingConnection",
    "Condition",
    "Connection",
    "Database",
    "DatabaseDown",
    "head_revision",
    "insert_rows",
    "read_apart",
    "reading_file",
    "scalar",
    "without_password",
    "words",
]
