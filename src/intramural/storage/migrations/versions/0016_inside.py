"""Files, batches, responses and conversations of programs are of a workspace; a workspace can be closed.

What is there already is of none, as it was made: in a workspace nothing of these could be kept until now.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("files", "batches", "responses", "transcripts"):
        op.add_column(table, sa.Column("workspace_id", sa.String))
        op.create_index(f"ix_{table}_workspace_id", table, ["workspace_id"])
    op.add_column("batches", sa.Column("purpose_there", sa.String))
    op.add_column("workspaces", sa.Column("closed_ms", sa.BigInteger))
    if op.get_bind().dialect.name == "postgresql":  # SQLite has no counter of its own for it
        op.execute("ALTER TABLE file_passages ALTER COLUMN id DROP DEFAULT")
        op.execute("DROP SEQUENCE IF EXISTS file_passages_id_seq")
