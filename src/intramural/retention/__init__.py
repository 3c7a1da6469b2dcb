"""How long what people leave here is kept, what is due to go, and what is held.

Promises: whether something goes is decided by one pure function; what is held is not given away by any question asked
here; everything of every class is found through one list.
Never: decides who may ask, writes the audit log, opens what is sealed, or touches the disk, but for the list of holds.

Read in this order: `due`, `holds`, `listed`, `kept`.
"""

from intramural.retention.due import Rule, Thing, Verdict, verdict
from intramural.retention.holds import SUBJECTS, Hold, Holds, Subject
from intramural.retention.kept import SOURCES, Kept, Outlook, Source
from intramural.retention.listed import HOLDS_FILE, Held, HoldList, learnt

__all__ = [
    "HOLDS_FILE",
    "SOURCES",
    "SUBJECTS",
    "Held",
    "Hold",
    "HoldList",
    "Holds",
    "Kept",
    "Outlook",
    "Rule",
    "Source",
    "Subject",
    "Thing",
    "Verdict",
    "learnt",
    "verdict",
]
