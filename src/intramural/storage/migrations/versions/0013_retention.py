"""Legal holds; when, and in which workspace, the texts beside the audit log were said."""

from alembic import op
from sqlalchemy import BigInteger, Column, ForeignKey, String, Text

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "legal_holds",
        Column("id", String, primary_key=True),
        Column("subject", String, nullable=False),
        Column("subject_id", String, nullable=False, index=True),
        Column("reason", Text, nullable=False),
        Column("put_by", String, nullable=False),
        Column("put_ms", BigInteger, nullable=False),
        Column("lifted_by", String),
        Column("lifted_reason", Text),
        Column("lifted_ms", BigInteger, index=True),
    )
    op.create_table(
        "legal_hold_people",
        Column("hold_id", String, ForeignKey("legal_holds.id", ondelete="CASCADE"), primary_key=True),
        Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), primary_key=True, index=True),
        Column("since_ms", BigInteger, nullable=False),
    )
    # the oldest of everybody's are looked for
    op.create_index("ix_chats_updated_ms", "chats", ["updated_ms"])
    op.create_index("ix_files_created_ms", "files", ["created_ms"])
    op.create_index("ix_batches_ended_ms", "batches", ["ended_ms"])
    op.add_column("audit_texts", Column("time_ms", BigInteger, nullable=False, server_default="0"))
    op.add_column("audit_texts", Column("workspace_id", String))
    # nobody knows which is whose time without reading the log: none is kept too short if all count as the newest
    op.execute("UPDATE audit_texts SET time_ms = (SELECT coalesce(max(time_ms), 0) FROM audit_entries)")
    with op.batch_alter_table("audit_texts") as batch:
        batch.alter_column("time_ms", existing_type=BigInteger, existing_nullable=False, server_default=None)
        batch.create_index("ix_audit_texts_time_ms", ["time_ms"])
