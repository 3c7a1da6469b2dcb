"""Pulls are durable."""

from alembic import op
from sqlalchemy import BigInteger, Column, String, Text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pulls",
        Column("id", String, primary_key=True),
        Column("source", String, nullable=False),
        Column("name", String),
        Column("model", String),
        Column("requested_by", String, nullable=False),
        Column("state", String, nullable=False),
        Column("step", String),
        Column("digests", Text),
        Column("code", String),
        Column("message", Text),
        Column("hint", Text),
        Column("created_ms", BigInteger, nullable=False),
        Column("ended_ms", BigInteger),
    )
