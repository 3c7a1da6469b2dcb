"""What the catalogue's file may say, strictly: an unknown or missing field is an error. Pure.

Digests are as the model's publisher states them; where none is known there is none, and the variant is *not pinned*.
Sizes and shapes serve to say beforehand whether a model fits; a pull reads both anew from what arrives.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from intramural.core.errors import Untrusted
from intramural.library.fit import Weighed
from intramural.library.manifest import Role
from intramural.library.shape import COPIED_TABLE, Natural, Positive, Shape

Task = Literal["chat", "code", "vision", "embedding", "rerank", "speech"]
Modality = Literal["text", "image", "audio"]
Freedom = Literal["yes", "conditions", "no"]
Id = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$")]
Line = Annotated[str, msgspec.Meta(min_length=1, max_length=400)]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Month = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-[0-9]{2}$")]
Day = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
Layers = Annotated[int, msgspec.Meta(ge=1, le=512)]

#: Bits a weight takes in a whole file of that quantisation, for files whose size is not known: measured on published
#: files, where some tensors are stored more finely than the name says.
BITS_PER_WEIGHT = {
    "F32": 32.0, "F16": 16.0, "BF16": 16.0, "Q8_0": 8.5, "Q6_K": 6.6, "Q5_K_M": 5.7, "Q4_1": 5.85, "Q4_0": 4.7,
    "Q4_K_M": 4.85, "Q4_K_XL": 4.9, "Q3_K_L": 4.3, "Q3_K_S": 3.5, "MXFP4": 4.3,
}  # fmt: skip
_TYPICAL_BITS = 5.0
#: Of a projector whose size is not known: those of the models here take from 0.4 to 1.9 GB, most of them this.
_TYPICAL_PROJECTOR_BYTES = 900_000_000


class Licence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A licence in words, and who may use the model under it. The text itself comes with the model."""

    words: Line
    schools: Freedom
    hospitals: Freedom
    business: Freedom


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Layers that see the last `tokens` only: all but the last of `every` layers; with `every` 0 all of them."""

    tokens: Positive
    every: Natural
    kv_heads: Natural = 0
    key_length: Natural = 0
    value_length: Natural = 0


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Layers with a state of `bytes` instead of a cache: all but the last of `every` layers."""

    every: Positive
    bytes: Positive


class Outline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `Shape` in short: every layer is as the others but for windows and states. Lengths count numbers.

    `cached_layers`: only the first so many layers have a cache of their own (0 for encoders). `compression`: how many
    layers compress how many tokens into one.
    """

    layers: Layers
    heads: Natural
    kv_heads: Natural
    key_length: Natural
    value_length: Natural
    embedding_length: Positive
    feed_forward_length: Natural
    vocabulary_size: Positive
    window: Window | None = None
    state: State | None = None
    cached_layers: Natural | None = None
    compression: dict[str, Layers] = {}
    index_key_length: Natural = 0
    experts: Natural = 0
    experts_used: Natural = 0


class CatalogueFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a variant. `path` is where it lies in its repository, if not at the top."""

    name: Line
    role: Role
    sha256: Sha256 | None = None
    size_bytes: Positive | None = None
    path: Line | None = None


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to get the model: a quantisation at a source. `servable`: the engine here can run it."""

    id: Id
    quantisation: Line
    format: Literal["gguf", "safetensors", "ctranslate2", "pytorch"]
    source: Line
    servable: bool
    files: tuple[CatalogueFile, ...] = ()

    @property
    def pinned(self) -> bool:
        """Whether every file's digest is known beforehand."""
        return bool(self.files) and all(file.sha256 for file in self.files)

    @property
    def digests(self) -> tuple[str, ...]:
        """Of the files whose digest is known, as blobs are named."""
        return tuple(f"sha256:{file.sha256}" for file in self.files if file.sha256)


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model. `active_parameters` is what one token needs."""

    id: Id
    name: Line
    publisher: Line
    family: Line
    summary: Line
    tasks: tuple[Task, ...]
    modalities: tuple[Modality, ...]
    parameters: Positive
    active_parameters: Positive
    context_tokens: Positive
    licence: Id
    architecture: Line
    variants: tuple[Variant, ...]
    released: Month | None = None
    shape: Outline | None = None

    def size_bytes(self, variant: Variant) -> tuple[int, bool]:
        """How large all files of `variant` are, and whether that is known; else an estimate from its quantisation."""
        known = [file.size_bytes for file in variant.files]
        if known and all(known):
            return sum(size for size in known if size), True
        bits = BITS_PER_WEIGHT.get(variant.quantisation.upper(), _TYPICAL_BITS)
        projectors = sum(file.role == "projector" for file in variant.files)
        return int(self.parameters * bits / 8) + projectors * _TYPICAL_PROJECTOR_BYTES, False

    def weighed(self, variant: Variant) -> Weighed | None:
        """What the plan needs; None for what is not a language model."""
        if self.shape is None:
            return None
        size_bytes, _ = self.size_bytes(variant)
        shape = self._shape(self.shape, size_bytes)
        return Weighed(self.name, self.parameters, variant.quantisation, self.context_tokens, size_bytes, shape)

    def _shape(self, outline: Outline, size_bytes: int) -> Shape:
        layers = range(outline.layers)
        window = outline.window
        slides = tuple(bool(window) and not _last_of(window.every if window else 1, layer) for layer in layers)
        caches = [not outline.state or _last_of(outline.state.every, layer) for layer in layers]
        own = outline.layers if outline.cached_layers is None else outline.cached_layers
        heads = [window.kv_heads if window and window.kv_heads and slide else outline.kv_heads for slide in slides]
        return Shape(
            layers=outline.layers,
            heads=outline.heads,
            kv_heads=tuple(heads[layer] if caches[layer] and layer < own else 0 for layer in layers),
            key_length=outline.key_length,
            value_length=outline.value_length,
            embedding_length=outline.embedding_length,
            feed_forward_length=outline.feed_forward_length,
            vocabulary_size=outline.vocabulary_size,
            sliding_window_tokens=window.tokens if window else None,
            sliding=slides if window else (),
            sliding_key_length=window.key_length if window else 0,
            sliding_value_length=window.value_length if window else 0,
            compression=_compression(outline),
            index_key_length=outline.index_key_length,
            merges=outline.vocabulary_size,
            state_bytes=outline.state.bytes * caches.count(False) if outline.state else 0,
            experts=outline.experts,
            experts_used=outline.experts_used,
            expert_bytes=self._expert_bytes(outline, size_bytes),
            copied_bytes=self._copied_bytes(outline, size_bytes),
            input_bytes=0 if outline.experts else int(size_bytes * (1 - self.active_parameters / self.parameters)),
        )

    def _copied_bytes(self, outline: Outline, size_bytes: int) -> int:
        table = outline.vocabulary_size * outline.embedding_length
        return size_bytes * table // self.parameters if self.architecture in COPIED_TABLE else 0

    def _expert_bytes(self, outline: Outline, size_bytes: int) -> int:
        """What is not needed for a token is the experts not used: so much of the file is experts."""
        if outline.experts <= outline.experts_used:
            return 0
        idle = 1 - self.active_parameters / self.parameters
        return min(size_bytes, int(size_bytes * idle / (1 - outline.experts_used / outline.experts)))


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    format: Literal[1]
    name: Line
    dated: Day
    licences: dict[Id, Licence]
    entries: tuple[Entry, ...]

    def find(self, text: str) -> tuple[Entry, Variant] | None:
        """The variant that `text` names: `entry`, its first variant, or `entry:variant`."""
        wanted, _, variant_id = text.lower().partition(":")
        for entry in self.entries:
            if entry.id == wanted:
                found = [each for each in entry.variants if variant_id in ("", each.id)]
                return (entry, found[0]) if found else None
        return None

    def variant(self, text: str) -> Variant | None:
        """The variant that `text` names, as `find` reads it or by its source; None for what is not in the catalogue."""
        if found := self.find(text):
            return found[1]
        return next((each for entry in self.entries for each in entry.variants if each.source == text), None)


def parse(data: bytes) -> Catalogue:
    """Read and check the file. Raises Untrusted(`catalogue_malformed`)."""
    try:
        catalogue = msgspec.json.decode(data, type=Catalogue)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(str(error)) from None
    ids = [entry.id for entry in catalogue.entries]
    for entry in catalogue.entries:
        if entry.licence not in catalogue.licences:
            raise _malformed(f"{entry.id} has the licence {entry.licence!r}, which it does not describe")
        if not entry.variants or entry.active_parameters > entry.parameters or ids.count(entry.id) > 1:
            raise _malformed(f"{entry.id} is there twice, has no variant, or more active parameters than it has")
    return catalogue


def _last_of(every: int, layer: int) -> bool:
    return every > 0 and layer % every == every - 1


def _compression(outline: Outline) -> tuple[int, ...]:
    ratios: Mapping[str, int] = outline.compression
    found = [int(ratio) for ratio, layers in ratios.items() if ratio.isdecimal() for _ in range(layers)]
    return tuple([*found, *[0] * outline.layers][: outline.layers]) if found else ()


def _malformed(why: str) -> Untrusted:
    return Untrusted("catalogue_malformed", f"The catalogue cannot be read: {why}.", "Get it again, or mend it.")
