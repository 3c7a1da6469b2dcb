"""The only room that opens the database.

Promises: one `Database` with `reading()` and `writing()`; a `writing()` block that ends without an error is on the disk
(SQLite WAL, `synchronous=FULL`) before it returns; writers are served one at a time, readers never wait for them; the
schema is brought up to date by Alembic migrations when the database is opened.
Never: knows what the rows mean. Each room writes its own queries against the tables in `schema`.

Read in this order: `schema`, `database`, `plain`, `words`, `migrate`, `migrations/`.
"""

from intramural.storage.database import BlockingConnection, Connection, Database, reading_file
from intramural.storage.plain import insert_rows, scalar
from intramural.storage.words import words

__all__ = ["BlockingConnection", "Connection", "Database", "insert_rows", "reading_file", "scalar", "words"]
