"""People's text files can be searched."""

from alembic import op
from sqlalchemy import Column, String

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("files", Column("search", String))
    op.create_index("ix_files_search", "files", ["search"])
    op.execute(
        "CREATE VIRTUAL TABLE file_texts USING fts5("
        "text, owner, file_id UNINDEXED, position UNINDEXED, line UNINDEXED, "
        "tokenize = 'porter unicode61 remove_diacritics 2')"
    )
