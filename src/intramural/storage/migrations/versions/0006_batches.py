"""Batches, and what was answered to their lines."""

from alembic import op
from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "batches",
        Column("id", String, primary_key=True),
        Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
        Column("actor_kind", String, nullable=False),
        Column("credential_id", String, nullable=False),
        Column("dialect", String, nullable=False),
        Column("endpoint", String, nullable=False),
        Column("created_ms", BigInteger, nullable=False),
        Column("expires_ms", BigInteger, nullable=False),
        Column("state", String, nullable=False, index=True),
        Column("ending", String),
        Column("input_file_id", String),
        Column("output_file_id", String),
        Column("error_file_id", String),
        Column("output_expires_s", Integer),
        Column("total", Integer, nullable=False),
        Column("completed", Integer, nullable=False),
        Column("failed", Integer, nullable=False),
        Column("skipped", Integer, nullable=False),
        Column("prompt_tokens", BigInteger, nullable=False),
        Column("cached_tokens", BigInteger, nullable=False),
        Column("completion_tokens", BigInteger, nullable=False),
        Column("reasoning_tokens", BigInteger, nullable=False),
        Column("begun_ms", BigInteger),
        Column("finalizing_ms", BigInteger),
        Column("cancelling_ms", BigInteger),
        Column("ended_ms", BigInteger),
        Column("notes", Text, nullable=False),
        Column("errors", Text, nullable=False),
        Index("ix_batches_person_id_dialect_id", "person_id", "dialect", "id"),
    )
    op.create_table(
        "batch_lines",
        Column("batch_id", String, ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True),
        Column("position", Integer, primary_key=True),
        Column("custom_id", String, nullable=False),
        Column("outcome", String, nullable=False),
        Column("status", Integer),
        Column("request_id", String),
        Column("body", Text),
    )
