"""An account of this installation that an outsider can check: what it reaches, what confines it, what went out.

Promises: every fact was read at the moment it is said to be of, or stands there as not seen, with the reason; what is
missing or was allowed to be less is red and first; everything in it hangs on one signature of the log's key, and that
it was made stands in the log. Never: holds a secret, a text or anybody's name.

Read in this order: `facts` (the types), `controlling`, `software`, `settings`, `gathering` (which reads them),
`findings` (what they come to), `report` (what is signed), `paper` (to read and print), `desk` (making and keeping).
"""

from intramural.services.attestation.controlling import Controls
from intramural.services.attestation.desk import Attestations, Head
from intramural.services.attestation.gathering import Sources, gather

__all__ = ["Attestations", "Controls", "Head", "Sources", "gather"]
