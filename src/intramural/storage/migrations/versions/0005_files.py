"""People's files."""

from alembic import op
from sqlalchemy import BigInteger, Column, ForeignKey, Index, String

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "files",
        Column("id", String, primary_key=True),
        Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
        Column("name", String, nullable=False),
        Column("purpose", String, nullable=False),
        Column("size_bytes", BigInteger, nullable=False),
        Column("digest", String, nullable=False),
        Column("created_ms", BigInteger, nullable=False),
        Column("expires_ms", BigInteger, index=True),
        Index("ix_files_person_id_id", "person_id", "id"),
    )
