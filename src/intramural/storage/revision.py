"""Which migrations a database has had, and running those that are missing."""

from pathlib import Path

from sqlalchemy import Connection, inspect

MIGRATIONS = Path(__file__).parent / "migrations"


def head_revision(migrations: Path = MIGRATIONS) -> str:
    """The newest migration: their files are named `<revision>_<words>.py` and the revisions sort."""
    return max(file.name.partition("_")[0] for file in (migrations / "versions").glob("[0-9]*.py"))


def is_current(connection: Connection, migrations: Path) -> bool:
    """Whether nothing is missing."""
    return stored_revision(connection) == head_revision(migrations)


def stored_revision(connection: Connection) -> str | None:
    """The newest migration this database has had; None: not one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if revision is None else str(revision)


def upgrade(connection: Connection, migrations: Path) -> None:
    """Run what is missing. The caller commits, so that it is all or nothing."""
    # Alembic takes longer to import than a database to open: only who needs it waits for it.
    from intramural.storage.migrate import upgrade as run

    run(connection, migrations)
