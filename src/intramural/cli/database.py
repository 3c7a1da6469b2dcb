"""`intramural db migrate`: the database, elsewhere."""

from typing import Annotated

import uvloop
from cyclopts import App, Parameter

from intramural.cli.root import DEFAULT, Common, cli

db = App(name="db", help="The database.")
cli.command(db)


@db.command
def migrate(
    *,
    to: Annotated[str, Parameter(help="`postgresql://user@host/name`, or `sqlite` to come back to a file.")],
    common: Common = DEFAULT,
) -> None:
    """Move everything into another database, compared row by row; the service must be stopped.

    The database must be empty. If this is interrupted nothing is in it, and the old one is as it was; afterwards the
    old one is left where it is, and the service refuses to start on it.
    """
    from intramural import app

    config = common.config
    target = config.data_dir / "intramural.db" if to == "sqlite" else to
    moved = uvloop.run(app.move_database(config, target))
    record = {
        "moved": moved.rows,
        "tables": {name: each.rows for name, each in moved.tables.items() if each.rows},
        "log_entries": moved.log_entries,
        "checkpoint": moved.checkpoint,
        "next": "Take storage.url out of the settings." if to == "sqlite" else "Set storage.url to this address.",
    }
    common.out.record(record, main="moved")
