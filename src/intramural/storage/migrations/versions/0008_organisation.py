"""Groups of people, one inside another."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, String

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "groups",
        Column("id", String, primary_key=True),
        Column("name", String, nullable=False),
        Column("parent_id", String, ForeignKey("groups.id"), index=True),
        Column("external_id", String, unique=True),
        Column("lineage", String, nullable=False),
        Column("created_ms", BigInteger, nullable=False),
    )
    op.create_table(
        "group_members",
        Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), primary_key=True),
        Column("group_id", String, ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True, index=True),
        Column("manager", Boolean, nullable=False),
    )
