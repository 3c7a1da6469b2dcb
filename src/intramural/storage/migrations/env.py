"""Alembic's entry: runs the migrations on the connection that `storage.migrate.upgrade` hands over.

Nothing in this folder knows the present `schema`: a migration makes for ever what it made when it was written.
"""

from alembic import context
from sqlalchemy import MetaData

#: What the constraints and indexes are called that a migration does not name: the convention of `schema`.
_NAMING = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

context.configure(connection=context.config.attributes["connection"], target_metadata=_NAMING, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
