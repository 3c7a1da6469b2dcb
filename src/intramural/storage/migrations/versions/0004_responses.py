"""Responses and conversations of programs are kept."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, LargeBinary, String

revision = "0004"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "responses",
        Column("id", String, primary_key=True),
        Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False, index=True),
        Column("previous_id", String),
        Column("body", LargeBinary, nullable=False),
        Column("events", LargeBinary),
        Column("created_ms", BigInteger, nullable=False, index=True),
    )
    op.create_table(
        "response_items",
        Column("response_id", String, ForeignKey("responses.id", ondelete="CASCADE"), primary_key=True),
        Column("position", Integer, primary_key=True),
        Column("item_id", String, nullable=False, index=True),
        Column("is_input", Boolean, nullable=False),
        Column("body", LargeBinary, nullable=False),
    )
    op.create_table(
        "transcripts",
        Column("id", String, primary_key=True),
        Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False, index=True),
        Column("notes", LargeBinary, nullable=False),
        Column("created_ms", BigInteger, nullable=False),
        Column("updated_ms", BigInteger, nullable=False, index=True),
    )
    op.create_table(
        "transcript_items",
        Column("transcript_id", String, ForeignKey("transcripts.id", ondelete="CASCADE"), primary_key=True),
        Column("position", Integer, primary_key=True),
        Column("item_id", String, nullable=False, index=True),
        Column("body", LargeBinary, nullable=False),
    )
