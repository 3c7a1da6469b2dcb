"""Openings of what is another's; and heads of chats, which an older state does not fit.

Heads of the chats that are there are made when the house is opened next, because only then the keys are at hand.
"""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, LargeBinary, String

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("chats", Column("head", LargeBinary))
    op.create_table(
        "chat_roots",
        Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False, primary_key=True),
        Column("root", LargeBinary, nullable=False),
    )
    op.create_table(
        "openings",
        Column("id", String, nullable=False, primary_key=True),
        Column("asker_id", String, nullable=False, index=True),
        Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), index=True),
        Column("workspace_id", String, index=True),
        Column("purpose", String, nullable=False),
        Column("reason", LargeBinary, nullable=False),
        Column("minutes", Integer, nullable=False),
        Column("second", Boolean, nullable=False),
        Column("state", String, nullable=False, index=True),
        Column("asked_ms", BigInteger, nullable=False),
        Column("ends_ms", BigInteger, nullable=False),
        Column("approver_id", String),
        Column("approved_ms", BigInteger),
        Column("opened_ms", BigInteger),
        Column("closed_ms", BigInteger),
        Column("why", String),
    )
    op.create_table(
        "opening_notices",
        Column("opening_id", String, nullable=False, primary_key=True),
        Column(
            "person_id",
            String,
            ForeignKey("people.id", ondelete="CASCADE"),
            nullable=False,
            primary_key=True,
            index=True,
        ),
        Column("asker_id", String, nullable=False),
        Column("purpose", String, nullable=False),
        Column("reason", LargeBinary, nullable=False),
        Column("told_ms", BigInteger, nullable=False),
        Column("ends_ms", BigInteger, nullable=False),
        Column("closed_ms", BigInteger),
        Column("reads", Integer, nullable=False),
        Column("seen_ms", BigInteger),
    )
