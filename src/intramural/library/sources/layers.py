"""What a registry's manifest says a model is made of. Pure: text in, verdict out; nothing in it is believed.

The same for Ollama (registry and local store), Docker's models (`docker.ai`), CNCF ModelPack and files pushed with
`oras`. Formats: OCI image-spec 1.1 (manifest, index), Docker image manifest v2 schema 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import msgspec

from intramural.core.errors import Misasked, Missing, Refused, Untrusted
from intramural.library.blobs import Blob
from intramural.library.manifest import ModelFile, Role
from intramural.library.sources.licences import MAX_LICENCE_BYTES, licence_expression
from intramural.library.sources.sets import SUFFIX, FileSet, is_projector, plain_name, sets_of

T = TypeVar("T")

#: The size that every registry must take (OCI distribution-spec 1.1); a model's has a few KB.
MAX_MANIFEST_BYTES: Final = 4 << 20
MAX_LAYERS: Final = 2000
MAX_LICENCES: Final = 4

MANIFESTS: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_WEIGHTS: Final = (
    "application/vnd.ollama.image.model",
    "application/vnd.docker.ai.gguf",
    "application/vnd.docker.ai.gguf.v3",
    "application/vnd.cncf.model.weight.v1.gguf",
    "application/vnd.cncf.model.weight.gguf",
)
_PROJECTORS: Final = (
    "application/vnd.ollama.image.projector",
    "application/vnd.docker.ai.mmproj",
    "application/vnd.docker.ai.gguf.v3.mmproj",
)
_LICENCES: Final = ("application/vnd.ollama.image.license", "application/vnd.docker.ai.license")
#: The model is another one without it, and no engine here is handed one.
_ADAPTERS: Final = (
    "application/vnd.ollama.image.adapter",
    "application/vnd.docker.ai.lora",
    "application/vnd.docker.ai.gguf.v3.lora",
)
#: A file inside one of these has no digest of its own, and nothing is unpacked here.
_PACKED: Final = (".tar", "+tar", "+gzip", "+zstd", ".gzip", ".zstd")
_PACKED_WEIGHTS: Final = ("application/vnd.kitops.modelkit.model", "application/vnd.cncf.model.weight.v1.tar")
_TITLES: Final = ("org.opencontainers.image.title", "org.cncf.model.filepath", "org.cnai.model.filepath")
_LICENCE_ANNOTATION: Final = "org.opencontainers.image.licenses"


class Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    """One thing a manifest points to, as it is written there. `digest` is not yet checked: see `blob`."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] | None = None

    @property
    def blob(self) -> Blob:
        """Raises Untrusted(`bad_digest`, `bad_size`)."""
        return Blob(self.digest, self.size)

    @property
    def kind(self) -> str:
        """The media type without parameters."""
        return self.media_type.partition(";")[0].strip().lower()

    @property
    def title(self) -> str | None:
        """The file name it is given, if any."""
        given = self.annotations or {}
        return next((given[key] for key in _TITLES if key in given), None)


class ImageManifest(msgspec.Struct, frozen=True, rename="camel"):
    """An OCI image manifest, or Docker's; unknown fields are passed over."""

    schema_version: int
    layers: list[Descriptor]
    media_type: str | None = None
    annotations: dict[str, str] | None = None


class _Said(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str | None = None


class Index(msgspec.Struct, frozen=True, rename="camel"):
    """A list of manifests."""

    schema_version: int
    manifests: list[Descriptor]
    media_type: str | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """One model among the layers: its files, and the layers that hold its licences (bounded in size and number)."""

    files: tuple[ModelFile, ...]
    stem: str
    licence: str | None
    licence_texts: tuple[Blob, ...]


def parse_manifest(body: bytes, media_type: str) -> ImageManifest | Index:
    """What `body` is, where `media_type` is what it was served or stored as (empty: what it says itself).

    Raises Untrusted(`bad_registry_manifest`).
    """
    if len(body) > MAX_MANIFEST_BYTES:
        raise _bad("it is too long")
    said = _decoded(body, _Said).media_type
    kind = (media_type or said or MANIFESTS[1]).partition(";")[0].strip().lower()
    if said and said.lower() != kind:
        raise _bad(f"it was sent as {kind[:80]!r}, and says it is {said[:80]!r}")
    if kind not in (*MANIFESTS, *INDEXES):
        raise _bad(f"{kind[:80]!r} is no known kind of manifest")
    found = _decoded(body, Index) if kind in INDEXES else _decoded(body, ImageManifest)
    listed = found.manifests if isinstance(found, Index) else found.layers
    if found.schema_version != 2 or len(listed) > MAX_LAYERS:
        raise _bad("it has another version or too many layers")
    return found


def only_manifest(index: Index) -> Descriptor:
    """The one model in an index. Raises Misasked(`source_ambiguous`), Missing(`source_empty`)."""
    found = [each for each in index.manifests if each.kind in MANIFESTS and not _is_statement(each)]
    if not found:
        raise Missing("source_empty", "The registry's index lists no model.", "Check what it names.", param="source")
    if len(found) > 1:
        shown = ", ".join(each.blob.digest for each in found[:10])
        hint = f"Name one by its digest instead of the tag: {shown}."
        raise Misasked("source_ambiguous", f"The index lists {len(found)} models.", hint, param="source")
    return found[0]


def contents(manifest: ImageManifest, stem: str, wanted: str | None = None) -> Contents:
    """The model that `manifest` holds: layers that have no file name are called after `stem`.

    `wanted` is a file's name, where there are several models. Raises Untrusted(`bad_digest`, `bad_size`,
    `bad_file_name`, `duplicate_file`), Missing(`source_has_no_gguf`, `shard_missing`), Misasked(`source_ambiguous`),
    Refused(`adapter_unsupported`, `weights_packed`).
    """
    if any(layer.kind in _ADAPTERS for layer in manifest.layers):
        hint = "Pull a model that needs no adapter, or one into which it was merged."
        raise Refused("adapter_unsupported", "This model is a base with an adapter, which cannot be served.", hint)
    files = _model_files(manifest.layers, stem)
    if not files and any(layer.kind.startswith(_PACKED_WEIGHTS) for layer in manifest.layers):
        hint = "Have it published as it is: a layer of kind `raw` or `gguf` in ModelPack's words, or by `oras push`."
        raise Refused("weights_packed", "The registry has the weights only inside an archive.", hint)
    chosen = _chosen(files, wanted)
    by_name = {file.name: file for file in files}
    stated = licence_expression((manifest.annotations or {}).get(_LICENCE_ANNOTATION, ""))
    offered = tuple(by_name[name] for name in chosen.names)
    return Contents(offered, chosen.stem, stated, _licence_texts(manifest.layers))


def _model_files(layers: Sequence[Descriptor], stem: str) -> list[ModelFile]:
    """Every weights file and projector, each with a name of its own."""
    found = [(layer, role) for layer in layers if (role := _role(layer)) is not None]
    untitled = sum(role == "weights" and _gguf_title(layer) is None for layer, role in found)
    files: list[ModelFile] = []
    number = 0
    for layer, role in found:
        name = _gguf_title(layer)
        if name is None and role == "projector":
            name = f"mmproj-{stem}{SUFFIX}"
        elif name is None:
            number += 1
            name = f"{stem}{SUFFIX}" if untitled == 1 else f"{stem}-{number:05}-of-{untitled:05}{SUFFIX}"
        if any(file.name == name for file in files):
            hint = "Nothing was fetched. Tell whoever runs the registry."
            raise Untrusted("duplicate_file", f"The registry's manifest names {name!r} twice.", hint)
        files.append(ModelFile(name, role, layer.blob))
    return files


def _role(layer: Descriptor) -> Role | None:
    if layer.kind in _PROJECTORS:
        return "projector"
    if layer.kind in _WEIGHTS:
        return "weights"
    title = layer.title or ""
    if not title.lower().endswith(SUFFIX) or layer.kind.endswith(_PACKED):
        return None
    return "projector" if is_projector(plain_name(title)) else "weights"


def _gguf_title(layer: Descriptor) -> str | None:
    """The layer's own file name, checked; None if it has none that says what it is."""
    name = plain_name(layer.title) if layer.title is not None else ""
    return name if name.lower().endswith(SUFFIX) else None


def _chosen(files: Sequence[ModelFile], wanted: str | None) -> FileSet:
    sets = sets_of(file.name for file in files)
    if wanted is not None:
        sets = [each for each in sets if wanted in each.weights]
    if not sets:
        hint = "Only GGUF weights can be served; name a model that has them."
        raise Missing("source_has_no_gguf", "The registry's manifest has no such GGUF weights.", hint, param="source")
    if len(sets) > 1:
        shown = ", ".join(f"#{each.weights[0]}" for each in sets[:20])
        hint = f"Add one of these to the source: {shown}."
        raise Misasked("source_ambiguous", f"The manifest holds {len(sets)} models.", hint, param="source")
    only = sets[0]
    only.require_complete()
    projectors = [file.name for file in files if file.role == "projector"]
    if only.projector not in projectors:
        only = replace(only, projector=projectors[0] if len(projectors) == 1 else None)
    return only


def _licence_texts(layers: Sequence[Descriptor]) -> tuple[Blob, ...]:
    """The first licence texts that are of a sane size."""
    found = [each for each in layers if each.kind in _LICENCES or _is_licence_file(each)]
    return tuple(each.blob for each in found if 0 < each.size <= MAX_LICENCE_BYTES)[:MAX_LICENCES]


def _is_licence_file(layer: Descriptor) -> bool:
    name = (layer.title or "").rpartition("/")[2].lower()
    return name.partition(".")[0] in ("license", "licence", "copying") and not layer.kind.endswith(_PACKED)


def _is_statement(each: Descriptor) -> bool:
    """Build tools list attestations among the manifests: statements about one, not another model."""
    return (each.annotations or {}).get("vnd.docker.reference.type") == "attestation-manifest"


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _bad(str(error)) from error


def _bad(reason: str) -> Untrusted:
    hint = "Nothing was fetched. Tell whoever runs the registry."
    return Untrusted("bad_registry_manifest", f"The registry's manifest makes no sense: {reason}.", hint)
