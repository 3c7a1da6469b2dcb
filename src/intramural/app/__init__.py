"""Wiring: builds every room from the settings and hands each what it needs.

Promises: what is opened is closed again, in order, however it ends; one process at a time has a data directory; a start
is in the log with all that the settings give up. Never: decides anything; that is the rooms' and the desks'.

A `House` is one opened data directory; only one process may have it open (a lock file says so). It can be served on TCP
(`serve`) and it always answers on a private Unix socket (`console`), which is how the command line talks to it: to the
running service if there is one, else to a house it opens itself.

Read in this order: `house`, `ground`, `shelf`, `desks`, `front`; `apart` is what commands do where no service runs.
"""

from intramural.app.apart import back_up, diagnose, move_database, restore, witness, witness_keys
from intramural.app.front import console, listening, preload, preload_in_time, shelve_starter
from intramural.app.house import House, enclosed, opened
from intramural.app.shelf import inspected

__all__ = [
    "House",
    "back_up",
    "console",
    "diagnose",
    "enclosed",
    "inspected",
    "listening",
    "move_database",
    "opened",
    "preload",
    "preload_in_time",
    "restore",
    "shelve_starter",
    "witness",
    "witness_keys",
]
