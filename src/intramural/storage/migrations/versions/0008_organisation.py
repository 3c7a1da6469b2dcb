"""Groups of people, one inside another; roles of the institution's own; workspaces; service accounts."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, String, Text

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
    op.create_table(
        "roles",
        Column("name", String, primary_key=True),
        Column("permissions", Text, nullable=False),
        Column("created_ms", BigInteger, nullable=False),
    )
    op.create_table(
        "workspaces",
        Column("id", String, primary_key=True),
        Column("name", String, nullable=False),
        Column("name_folded", String, nullable=False, unique=True),
        Column("label", String, nullable=False),
        Column("models", Text),
        Column("purposes", Text, nullable=False),
        Column("retention_days", Text, nullable=False),
        Column("created_ms", BigInteger, nullable=False),
    )
    for member, table in (("person", "people"), ("group", "groups")):
        op.create_table(
            "workspace_people" if member == "person" else "workspace_groups",
            Column("workspace_id", String, ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True),
            Column(f"{member}_id", String, ForeignKey(f"{table}.id", ondelete="CASCADE"), primary_key=True, index=True),
        )
    op.add_column("people", Column("kind", String, nullable=False, server_default="person"))
    for table in ("keys", "chats"):
        op.add_column(table, Column("workspace_id", String))
        op.create_index(f"ix_{table}_workspace_id", table, ["workspace_id"])
