"""Finding what tells who somebody is, in text on its way to a model and back, and deciding what becomes of it.

Promises: finding and deciding are pure; the same text gives the same spans; a class that nobody looks for is named
(`Guard.blind`). Text is read by models of language only in a confined process.
Never: keeps a text or a value longer than its request; asks another machine.

Read in this order: `classes`, `span`, `letters`, `checks`, `formats`, `keyed`, `times`, `places`, `titles`, `layout`,
`again`, `detect`, `marks`, `policy`, `window`, `tree`, `names`, `reader`, `listed`, `opinions`, `tagger`, `reading`,
`measured`.
"""

from intramural.guard.classes import NAMED, STRUCTURED, Kind
from intramural.guard.detect import found
from intramural.guard.marks import Pseudonyms
from intramural.guard.measured import claim
from intramural.guard.names import Names, Nobody
from intramural.guard.policy import LABELS, Counts, Deed, Policy, Treated, policies, treated
from intramural.guard.reader import reader_of
from intramural.guard.span import Span, settled
from intramural.guard.window import Window

__all__ = [
    "LABELS",
    "NAMED",
    "STRUCTURED",
    "Counts",
    "Deed",
    "Kind",
    "Names",
    "Nobody",
    "Policy",
    "Pseudonyms",
    "Span",
    "Treated",
    "Window",
    "claim",
    "found",
    "policies",
    "reader_of",
    "settled",
    "treated",
]
