"""The command line: `intramural …`.

Promises: every command has a rich, a `--quiet` and a `--json` form; errors go to stderr with what to try and set the
exit status; commands talk to the running service through its private socket, or open the data directory themselves
when none runs.
Never: touches a room directly. It holds `app`, and asks over the same HTTP routes as everybody else.

Read in this order: `render`, `root`, `lending`, `client`, `commands`, `anchors`, `attest`, `backups`, `break_glass`,
`catalogue`, `clients`, `connect`, `consent`, `database`, `egress`, `evidence`, `fit`, `guard`, `inspect`, `integrity`,
`lifecycle`, `organisation`, `people`, `proofs`, `provenance`, `pull`, `quota`, `report`, `serve`, `top`, `headings`.
"""

import gc
import platform
import sys

from intramural.cli import (
    anchors,
    attest,
    backups,
    break_glass,
    catalogue,
    commands,
    connect,
    consent,
    database,
    egress,
    evidence,
    fit,
    guard,
    inspect,
    integrity,
    lifecycle,
    organisation,
    people,
    proofs,
    provenance,
    pull,
    quota,
    report,
    top,
)
from intramural.cli.headings import put_under_headings
from intramural.cli.render import Out
from intramural.cli.root import cli
from intramural.core.errors import Broken, IntramuralError, Unavailable

#: Objects, and young generations, after which the collector looks for circles. What a program makes while it starts
#: stays, and a request makes some thousand objects and few circles: at Python's default of 700 it was looked for those
#: through a fifth of the start, and several times a request.
_COLLECT_AFTER = (10_000, 10, 10)


def _require_linux(system: str) -> None:
    """Raises Broken(`system_unsupported`): elsewhere the kernel has none of the walls, and not all that files need."""
    if system != "Linux":
        message = (
            f"This runs on Linux; {system or 'this system'} has no Landlock, no seccomp and no network namespaces."
        )
        raise Broken("system_unsupported", message, "Run it in a Linux machine on this one: docs/deployment.md.")


def main() -> None:
    """Entry point of the `intramural` program."""
    gc.set_threshold(*_COLLECT_AFTER)
    try:
        _require_linux(platform.system())
        cli()
    except IntramuralError as error:
        Out.report(error)
        sys.exit(1)
    except OSError as error:
        Out.report(_refused(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _refused(error: OSError) -> IntramuralError:
    """What the operating system does not do for us: a disk that is full, a file of somebody else's, an address."""
    about = f": {error.filename}" if error.filename else ""
    hint = "Is a disk full or read-only, does the file belong to this user, is the address free?"
    return Unavailable("system_refused", f"The system refuses{about}: {error.strerror or error}.", hint)


#: Importing them is what adds their commands.
COMMANDS = (
    anchors, attest, backups, break_glass, catalogue, commands, connect, consent, database, egress, evidence, fit,
    guard, inspect, integrity, lifecycle, organisation, people, proofs, provenance, pull, quota, report, top,
)  # fmt: skip
put_under_headings(cli)

__all__ = ["COMMANDS", "main"]
