"""Which age band a list said of somebody the last time: what is written down here stays until it says another."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("external_people", sa.Column("age", sa.String))
