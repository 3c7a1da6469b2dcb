"""Which key a file was stored with, so that a key can have a share. Of what is there already nobody knows."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("files", sa.Column("key_id", sa.String))
    op.create_index("ix_files_key_id", "files", ["key_id"])
