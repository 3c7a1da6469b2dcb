"""Backups: the whole installation in a folder elsewhere, encrypted, and back from there.

Promises: a backup is one moment of the database with every file that its rows name; what is in the folder already is
not written again; what was changed in the folder is refused, and the part is named; nothing is restored in part.
Never: needs a secret to make one (the folder has a public key), or leaves anything in the folder in clear but sizes.

Read in this order: `sealed`, `folder`, `manifest`, `making`, `restoring`.
"""

from intramural.services.backups.folder import Folder, Lock, key_lock, passphrase_lock
from intramural.services.backups.making import Made, back_up
from intramural.services.backups.restoring import Restored, restore

__all__ = ["Folder", "Lock", "Made", "Restored", "back_up", "key_lock", "passphrase_lock", "restore"]
