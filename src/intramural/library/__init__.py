"""Models: where they come from, what was checked about them, where their bytes are.

Promises: nothing is in `blobs/` that did not pass Verify (length and digest) and Inspect (header, known keys, chat
template, in a confined process); weights are hashed again, through the descriptor that is then loaded, at every load.
Never: executes, imports or renders anything it fetched; contacts a host that the source asked for does not need; trusts
a source's word; forms a path from text that was not parsed first.

Read in this order: `names`, `threads`, `blobs`, `gguf`, `descent`, `finding`, `template`, `facts`, `defaults`,
`manifest`, `shelf`, `parts`, `strictjson`, `safetensors`, `snapshot`, `adapter`, `onnx`, `encoder`, `heading`,
`inspection`, `examination`, `pull`, `sources`, `flight`, `stock`, `pulling`, `pushing`, `library`, `verdict`, then
`shape`, `bandwidth`, `fit`, `advice` and `catalogue`; `elsewhere` for models of engines on other machines, `linking`
for what lies on this disk already, `uploads` for what clients send, `provenance` for who published what.
"""

from intramural.library.advice import Fit, Machine, advise
from intramural.library.bandwidth import read_bytes_per_s
from intramural.library.blobs import Blob
from intramural.library.catalogue import (
    STARTER,
    Catalogue,
    Entry,
    KnownPackage,
    Licence,
    Loaded,
    Suggestion,
    Variant,
    instead_of,
    load_catalogue,
    suggest,
)
from intramural.library.defaults import Defaults, Said, applied, merged
from intramural.library.elsewhere import Elsewhere, elsewhere
from intramural.library.facts import ModelFacts
from intramural.library.finding import Finding
from intramural.library.fit import Candidate, Kv, Plan, Weighed, adjusted, beside, need, plan
from intramural.library.gguf import Malformed
from intramural.library.heading import weighed
from intramural.library.inspection import ENTRY, TIMEOUT_S, Inspect, RunConfined, confined
from intramural.library.library import Library, require_engine, require_released, stated
from intramural.library.manifest import TOKENIZER, WHOLE, Manifest, ModelFile, Piece, Purpose, Release, Role, Trust
from intramural.library.names import parse_name
from intramural.library.pull import PullState, Step
from intramural.library.pushing import Push, Pushed
from intramural.library.shape import Shape
from intramural.library.sources import (
    FileSource,
    HubSource,
    MirrorSource,
    Offer,
    Outside,
    PackageSource,
    Reach,
    Reference,
    Registries,
    Source,
    only_offer,
    parse_reference,
    parse_source,
)
from intramural.library.uploads import Uploads
from intramural.library.verdict import Verdict, judge

__all__ = [
    "ENTRY",
    "STARTER",
    "TIMEOUT_S",
    "TOKENIZER",
    "WHOLE",
    "Blob",
    "Candidate",
    "Catalogue",
    "Defaults",
    "Elsewhere",
    "Entry",
    "FileSource",
    "Finding",
    "Fit",
    "HubSource",
    "Inspect",
    "KnownPackage",
    "Kv",
    "Library",
    "Licence",
    "Loaded",
    "Machine",
    "Malformed",
    "Manifest",
    "MirrorSource",
    "ModelFacts",
    "ModelFile",
    "Offer",
    "Outside",
    "PackageSource",
    "Piece",
    "Plan",
    "PullState",
    "Purpose",
    "Push",
    "Pushed",
    "Reach",
    "Reference",
    "Registries",
    "Release",
    "Role",
    "RunConfined",
    "Said",
    "Shape",
    "Source",
    "Step",
    "Suggestion",
    "Trust",
    "Uploads",
    "Variant",
    "Verdict",
    "Weighed",
    "adjusted",
    "advise",
    "applied",
    "beside",
    "confined",
    "elsewhere",
    "instead_of",
    "judge",
    "load_catalogue",
    "merged",
    "need",
    "only_offer",
    "parse_name",
    "parse_reference",
    "parse_source",
    "plan",
    "read_bytes_per_s",
    "require_engine",
    "require_released",
    "stated",
    "suggest",
    "weighed",
]
