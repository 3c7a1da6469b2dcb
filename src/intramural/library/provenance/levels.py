"""How well a model's origin is established, what policy asks for, and the numbered checks that decide it.

The numbers are those of `docs/trust.md`; a test compares the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Literal, get_args

from intramural.core.errors import Misasked, Refused, Untrusted
from intramural.library.manifest import ModelFile, Trust
from intramural.library.provenance.anchors import read_anchors
from intramural.library.provenance.signing import NamedDigest, Signer, verify

#: Lowest first.
LEVELS: tuple[Trust, ...] = ("local", "pinned", "attested", "signed")

#: What each level says, to end a sentence that begins "its bytes are".
MEANINGS: dict[Trust, str] = {
    "local": "what somebody here imported; nothing more is known of them",
    "pinned": "those whose digest was known beforehand",
    "attested": "those that the hub itself states, at a fixed revision",
    "signed": "those that a publisher trusted here has signed",
}


class Check(Enum):
    """Every check between a source and a worker, in the order in which they are made: (number, when, what)."""

    RESOLVED = (
        1,
        "pull",
        "The source names exact files, each with SHA-256 and length: those of the catalogue, if it knows them.",
    )
    SIGNATURE = (2, "pull", "A signature beside the files lists these names and digests, and its signer is known here.")
    LOCKED = (3, "pull", "Source, revision, digests and signer are what `models.lock` says, where a lock is followed.")
    LEVEL = (4, "pull", "The level of trust is at least `library.required_trust`.")
    ROOM = (5, "pull", "The disk has room for all of it before the first byte is fetched.")
    LENGTH = (6, "pull", "No more and no fewer bytes come than were announced.")
    DIGEST = (7, "pull", "The SHA-256 of the bytes on this disk is the one announced.")
    STRUCTURE = (8, "pull", "The file is well-formed; a confined process reads it, before any native code does.")
    TEMPLATE = (9, "pull", "The chat template does nothing that a chat template need not do.")
    SHELVED = (10, "pull", "The file that goes on the shelf is the one that was read, and nobody may write to it.")
    LEVEL_AT_LOAD = (11, "load", "The level is still at least `library.required_trust`; a signer is still trusted.")
    DIGEST_AT_LOAD = (12, "load", "Every byte is hashed again, through the very descriptor that the worker gets.")

    def __init__(self, number: int, when: Literal["pull", "load"], what: str) -> None:
        self.number = number
        self.when = when
        self.what = what


@dataclass(frozen=True, slots=True)
class Standing:
    """What is established about a model. `doubt` says why a signature that is there did not count."""

    trust: Trust
    signer: str | None = None
    doubt: Untrusted | None = None


#: A signature that says nothing here, without anything being wrong with the files: nobody decided to believe its maker.
_UNKNOWN = frozenset({"signature_wrong_key", "signature_foreign_root", "signature_no_sigstore", "signature_expired"})


def parse_level(text: str) -> Trust:
    """A level by its name. Raises Misasked(`bad_setting`)."""
    for level in LEVELS:
        if level == text:
            return level
    raise Misasked("bad_setting", f"{text[:40]!r} is not a level of trust.", f"Use one of {', '.join(LEVELS)}.")


def reaches(level: Trust, wanted: Trust) -> bool:
    """Whether `level` is `wanted` or better."""
    return LEVELS.index(level) >= LEVELS.index(wanted)


def higher(one: Trust, other: Trust) -> Trust:
    """The better of two."""
    return max(one, other, key=LEVELS.index)


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """What this machine asks of a model before it fetches or loads it. `folder` holds whom to believe."""

    required: Trust = "local"
    folder: Path | None = None

    def judge(self, files: Sequence[ModelFile], claimed: Trust, signature: bytes | None, *, now_s: float) -> Standing:
        """The level of `files`, for which a source claims `claimed`; `signed` is never taken on a source's word.

        `now_s`: the moment at which certificates must be valid. Raises Untrusted when a signature is there and says
        something else than these files: that is not a missing proof, it is a contradiction. Takes half a second once.
        """
        trust: Trust = "attested" if claimed == "signed" else claimed
        if signature is None:
            return Standing(trust)
        try:
            signer = self.signer_of(files, signature, now_s=now_s)
        except Untrusted as error:
            if error.code not in _UNKNOWN:
                raise
            return Standing(trust, doubt=error)
        return Standing("signed", str(signer))

    def signer_of(self, files: Sequence[ModelFile], signature: bytes, *, now_s: float) -> Signer:
        """Who signed `files`, and perhaps more. Raises Untrusted (see `signing.verify`), Misasked(`bad_anchor`)."""
        named = [NamedDigest(file.name, file.blob.digest) for file in files]
        return verify(signature, named, read_anchors(self.folder or Path("/nonexistent")), now_s=now_s, whole=False)

    def require(self, name: str, standing: Standing) -> None:
        """Raises Refused(`trust_too_low`) when policy asks for more than `standing`."""
        if reaches(standing.trust, self.required):
            return
        why = f"{name} is {standing.trust!r}: its bytes are {MEANINGS[standing.trust]}."
        because = f" {standing.doubt.message}" if standing.doubt else ""
        rule = f"The setting library.required_trust asks for {self.required!r} or better."
        raise Refused("trust_too_low", f"{rule} {why}{because}", _WAYS[self.required])


_WAYS: dict[Trust, str] = {
    "local": "",
    "pinned": "Get it by `intramural sync` with a lock that names its digest, or from a source that states one.",
    "attested": "Get it from a hub that states its digest, or signed by somebody whose key is in `trust/`.",
    "signed": "Put the publisher's key or certificate into `trust/`, or sign the model yourself: `intramural sign`.",
}

assert set(LEVELS) == set(get_args(Trust))
