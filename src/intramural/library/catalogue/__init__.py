"""Facts that come with the product: curated models, and packages whose weights are pinned.

Promises: a catalogue is read only after its signature was checked, where a key is known; digests and sizes are as
publishers state them, or absent.
Never: says that a model was checked. A pull does that, whatever the catalogue says.

Read in this order: `entries`, `signed`, `packages`, `suggest`, `instead`.
"""

from intramural.library.catalogue.entries import Catalogue, Entry, Licence, Variant
from intramural.library.catalogue.instead import instead_of
from intramural.library.catalogue.packages import PACKAGES, POOLINGS, STARTER, KnownPackage
from intramural.library.catalogue.signed import Loaded, load_catalogue
from intramural.library.catalogue.suggest import Suggestion, suggest

__all__ = [
    "PACKAGES",
    "POOLINGS",
    "STARTER",
    "Catalogue",
    "Entry",
    "KnownPackage",
    "Licence",
    "Loaded",
    "Suggestion",
    "Variant",
    "instead_of",
    "load_catalogue",
    "suggest",
]
