"""The command line: `intramural …`.

Promises: every command has a rich, a `--quiet` and a `--json` form; errors go to stderr with what to try and set the
exit status; commands talk to the running service through its private socket, or open the data directory themselves
when none runs.
Never: touches a room directly. It holds `app`, and asks over the same HTTP routes as everybody else.

Read in this order: `render`, `root`, `lending`, `client`, `commands`, `backups`, `break_glass`, `catalogue`, `clients`,
`connect`, `consent`, `database`, `fit`, `guard`, `inspect`, `integrity`, `lifecycle`, `organisation`, `people`,
`provenance`, `pull`, `quota`, `report`, `serve`, `top`.
"""

import sys

from intramural.cli import (
    backups,
    break_glass,
    catalogue,
    commands,
    connect,
    consent,
    database,
    fit,
    guard,
    inspect,
    integrity,
    lifecycle,
    organisation,
    people,
    provenance,
    pull,
    quota,
    report,
    top,
)
from intramural.cli.render import Out
from intramural.cli.root import cli
from intramural.core.errors import IntramuralError


def main() -> None:
    """Entry point of the `intramural` program."""
    try:
        cli()
    except IntramuralError as error:
        Out.report(error)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


#: Importing them is what adds their commands.
COMMANDS = (
    backups, break_glass, catalogue, commands, connect, consent, database, fit, guard, inspect, integrity, lifecycle,
    organisation, people, provenance, pull, quota, report, top,
)  # fmt: skip

__all__ = ["COMMANDS", "main"]
