"""Quotas: limits, what was used of them, what is held."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, String, Text

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "quota_limits",
        Column("id", String, nullable=False, primary_key=True),
        Column("subject", String, nullable=False),
        Column("subject_id", String, nullable=False),
        Column("model", String),
        Column("measure", String, nullable=False),
        Column("period", String, nullable=False),
        Column("amount", BigInteger, nullable=False),
        Column("each", Boolean, nullable=False),
    )
    op.create_table(
        "quota_balances",
        Column("limit_id", String, nullable=False, primary_key=True),
        Column("who", String, nullable=False, primary_key=True),
        Column("start_ms", BigInteger, nullable=False, primary_key=True),
        Column("used", BigInteger, nullable=False),
    )
    op.create_table(
        "quota_holds",
        Column("request_id", String, nullable=False, primary_key=True),
        Column("time_ms", BigInteger, nullable=False),
        Column("charges", Text, nullable=False),
    )
