"""What people decided about connections to other machines, and what they are asked."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Integer, String, UniqueConstraint

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "egress_entries",
        Column("id", String, primary_key=True),
        Column("purpose", String, nullable=False),
        Column("host", String, nullable=False),
        Column("port", Integer, nullable=False),
        Column("verdict", String, nullable=False),
        Column("inside", Boolean, nullable=False),
        Column("once", Boolean, nullable=False),
        Column("expires_ms", BigInteger),
        Column("asked_by", String),
        Column("asked_ms", BigInteger),
        Column("about", String),
        Column("decided_by", String),
        Column("decided_ms", BigInteger),
        UniqueConstraint("purpose", "host", "port"),
    )
