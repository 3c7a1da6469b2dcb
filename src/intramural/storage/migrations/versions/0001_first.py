"""The first tables.

While the product is unreleased this migration makes the schema as it stands; from the first release on it is frozen
and every change is a new file.
"""

from alembic import op

from intramural.storage.schema import metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    metadata.create_all(op.get_bind())
