"""Running the migrations with Alembic. Imported only when there is something to migrate: Alembic imports slowly."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def upgrade(connection: Connection, migrations: Path) -> None:
    """Run what is missing up to the newest migration, on `connection`. The caller commits."""
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
