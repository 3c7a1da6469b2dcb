"""Weights of which nothing is started any more, because their workers crashed too often."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "crashed_weights",
        sa.Column("digest", sa.String, primary_key=True),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("crashes", sa.Integer, nullable=False),
        sa.Column("how", sa.String, nullable=False),
        sa.Column("since_ms", sa.BigInteger, nullable=False),
    )
