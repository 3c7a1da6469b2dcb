"""Whatever leaves this machine leaves here: decided, made by one process that can do nothing else, written down.

Promises: `Egress.way` is the only way in which the service connects to anything by TCP (the database excepted); each
time a pure table decides first (`decide`); names are resolved once, by the broker, and the address that was checked is
the one connected to; nothing is handed over before it is in the ledger. Where the settings say `sealed` there is no
broker. Encryption stays with whoever asked: the broker passes on a connection and sees none of its bytes.
Never: reads the environment, knows what is fetched, keeps a connection.

Read in this order: `rules` (pure), `named` (what settings allow), `book` (what people decided), `egress`,
`passage` (a connection, and its bytes), then the process: `wire`, `broker` (our side), `process` (its side),
`resolver`.
"""

from intramural.egress.book import Book, Entry
from intramural.egress.broker import Broker, confined_broker
from intramural.egress.egress import Closed, Egress, Errand, Ledger
from intramural.egress.named import named_rules
from intramural.egress.resolver import NameFiles
from intramural.egress.rules import (
    ASKED_FOR,
    MODES,
    PURPOSES,
    Decision,
    Destination,
    Mode,
    Nearness,
    Purpose,
    Rule,
    decide,
    nearness,
    parse_mode,
)

__all__ = [
    "ASKED_FOR",
    "MODES",
    "PURPOSES",
    "Book",
    "Broker",
    "Closed",
    "Decision",
    "Destination",
    "Egress",
    "Entry",
    "Errand",
    "Ledger",
    "Mode",
    "NameFiles",
    "Nearness",
    "Purpose",
    "Rule",
    "confined_broker",
    "decide",
    "named_rules",
    "nearness",
    "parse_mode",
]
