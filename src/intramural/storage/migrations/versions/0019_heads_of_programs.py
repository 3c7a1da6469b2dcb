"""What programs keep has heads, as chats have: an older value, put back, does not fit.

What is there already has none until the service makes them at its next start.
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("responses", "transcripts", "files", "batches"):
        op.add_column(table, sa.Column("head", sa.LargeBinary))
