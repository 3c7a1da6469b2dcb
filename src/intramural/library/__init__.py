"""Models: where they come from, what was checked about them, where their bytes are.

Promises: nothing is in `blobs/` that did not pass Verify (length and digest) and Inspect (header, known keys, chat
template, in a confined process); weights are hashed again, through the descriptor that is then loaded, at every load.
Never: executes, imports or renders anything it fetched; opens a connection besides those of a pull that somebody asked
for; trusts a source's word; forms a path from text that was not parsed first.

Reading order: `names`, `blobs`, `gguf`, `facts`, `template`, `inspection`, `manifest`, `pull`, `sources`, `flight`,
`library`, then `catalogue` and `fit`; `linking` when a model lies on this disk already.
"""

from intramural.library.blobs import Blob
from intramural.library.catalogue import STARTER, KnownPackage, Suggestion, suggest
from intramural.library.facts import ModelFacts, Shape
from intramural.library.fit import Plan, need, plan
from intramural.library.inspection import ENTRY, TIMEOUT_S, Inspect, confined
from intramural.library.library import Library
from intramural.library.manifest import WHOLE, Manifest, ModelFile, Piece, Role, Trust
from intramural.library.names import parse_name
from intramural.library.pull import PullState, Step
from intramural.library.sources import FileSource, HubSource, MirrorSource, Offer, PackageSource, Source, parse_source

__all__ = [
    "ENTRY",
    "STARTER",
    "TIMEOUT_S",
    "WHOLE",
    "Blob",
    "FileSource",
    "HubSource",
    "Inspect",
    "KnownPackage",
    "Library",
    "Manifest",
    "MirrorSource",
    "ModelFacts",
    "ModelFile",
    "Offer",
    "PackageSource",
    "Piece",
    "Plan",
    "PullState",
    "Role",
    "Shape",
    "Source",
    "Step",
    "Suggestion",
    "Trust",
    "confined",
    "need",
    "parse_name",
    "parse_source",
    "plan",
    "suggest",
]
