"""Where a model comes from, written so that somebody else can check it: signatures, a lock file, bundles, lists.

Promises: whom to believe is decided by files on this machine, never by what is being checked; a bundle or signature
that fails any check changes nothing; every refusal has a code of its own; all of it works without a network.
Never: opens a connection; takes names or the list of ignored files from a signature; keeps a private key.

Read in this order: `anchors`, `signing`, `signatures`, `levels`, `lock`, `archive`, `bundle`, `imports`, `carried`,
`bom`.
"""

from intramural.library.provenance.anchors import Anchors, anchors_from, read_anchors
from intramural.library.provenance.levels import LEVELS, Check, Standing, TrustPolicy, parse_level
from intramural.library.provenance.lock import Lock, LockedModel, compare, locked, read_lock, write_lock
from intramural.library.provenance.signing import NamedDigest, Signer, SigningKey, sign, verify

__all__ = [
    "LEVELS",
    "Anchors",
    "Check",
    "Lock",
    "LockedModel",
    "NamedDigest",
    "Signer",
    "SigningKey",
    "Standing",
    "TrustPolicy",
    "anchors_from",
    "compare",
    "locked",
    "parse_level",
    "read_anchors",
    "read_lock",
    "sign",
    "verify",
    "write_lock",
]
