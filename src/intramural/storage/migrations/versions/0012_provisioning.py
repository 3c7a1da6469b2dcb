"""Whom a roster or a directory knows, and which groups and memberships it keeps."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, String, Text

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("groups", Column("source", String))
    op.create_index("ix_groups_source", "groups", ["source"])
    op.add_column("group_members", Column("source", String))
    op.create_table(
        "external_people",
        Column("source", String, nullable=False, primary_key=True),
        Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False, primary_key=True),
        Column("external_id", String),
        Column("role", String, nullable=False),
        Column("active", Boolean, nullable=False),
        Column("about", Text, nullable=False, server_default="{}"),
        Column("created_ms", BigInteger, nullable=False),
        Column("changed_ms", BigInteger, nullable=False),
        Column("gone_ms", BigInteger),
    )
    op.create_index("ix_external_people_person_id", "external_people", ["person_id"])
    op.create_index("ix_external_people_source_external_id", "external_people", ["source", "external_id"], unique=True)
