"""People's text files can be searched."""

from alembic import op
from sqlalchemy import Column, String

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


_INDEX = {
    "sqlite": (
        "CREATE VIRTUAL TABLE file_texts USING fts5("
        "text, owner, file_id UNINDEXED, position UNINDEXED, line UNINDEXED, "
        "tokenize = 'porter unicode61 remove_diacritics 2')",
    ),
    "postgresql": (
        "CREATE TEXT SEARCH DICTIONARY file_stems (TEMPLATE = pg_catalog.snowball, LANGUAGE = porter)",
        "CREATE TEXT SEARCH CONFIGURATION file_words (PARSER = pg_catalog.default)",
        "ALTER TEXT SEARCH CONFIGURATION file_words ADD MAPPING FOR "
        "asciiword, word, numword, int, uint, float, sfloat, version WITH file_stems",
        "CREATE TABLE file_texts ("
        "id BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_file_texts PRIMARY KEY, "
        "person_id VARCHAR NOT NULL, file_id VARCHAR NOT NULL, text TEXT NOT NULL, position INTEGER NOT NULL, "
        "line INTEGER NOT NULL, word_count INTEGER NOT NULL, words TSVECTOR NOT NULL)",
        "CREATE INDEX ix_file_texts_person_id ON file_texts (person_id)",
        "CREATE INDEX ix_file_texts_file_id ON file_texts (file_id)",
        "CREATE INDEX ix_file_texts_words ON file_texts USING gin (words)",
    ),
}


def upgrade() -> None:
    op.add_column("files", Column("search", String))
    op.create_index("ix_files_search", "files", ["search"])
    for statement in _INDEX[op.get_bind().dialect.name]:
        op.execute(statement)
