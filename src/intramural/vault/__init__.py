"""What people wrote lies sealed under a key of their own; this room has the keys.

Promises: a value opens only in the row, the column and for the person that it was sealed for; a change of the
installation's key may be cut off at any moment; whose key is destroyed, of them nothing can be read again anywhere.
Never: knows what the values mean, decides who may read them, or holds a key of somebody who was erased.

    installation's key (a file, locked by a passphrase, a keyring or a token if wanted)
      └─ wraps data keys, one a person and purpose (in the database)
           └─ seal records, files, states, the words of an index; make the salts of the audit log

Read in this order: `envelope`, `streams`, `locks`, `keyrings`, `tokens`, `keyfile`, `vault`, `places`,
`everything`, `stored`, `sums`, `heads`, `lines`,
`erased`.
"""

from intramural.vault import everything, places
from intramural.vault.envelope import MAGIC, Place
from intramural.vault.erased import ERASED_FILE, Erased
from intramural.vault.heads import Heads, Kind, Part, Whole, Wrong
from intramural.vault.lines import Lines
from intramural.vault.places import Sealed, row_id
from intramural.vault.stored import Stored
from intramural.vault.streams import PIECE_BYTES, Opened, Sealer
from intramural.vault.vault import Vault

__all__ = [
    "ERASED_FILE",
    "MAGIC",
    "PIECE_BYTES",
    "Erased",
    "Heads",
    "Kind",
    "Lines",
    "Opened",
    "Part",
    "Place",
    "Sealed",
    "Sealer",
    "Stored",
    "Vault",
    "Whole",
    "Wrong",
    "everything",
    "places",
    "row_id",
]
