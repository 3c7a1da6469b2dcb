"""Pulls are durable."""

from alembic import op

from intramural.storage.schema import pulls

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pulls.create(op.get_bind(), checkfirst=True)
