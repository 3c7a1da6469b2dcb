"""Copying a model to an OCI registry: its files as layers, its defaults beside them, then the manifest that lists them.

The layers are of Ollama's media types and the manifest of Docker's kind, which Ollama's own client asks for; the
sources here read both. Nothing but what is in the library's manifest goes along: no names of people, no paths.
"""

import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

import msgspec

from intramural.core.errors import Broken, Refused
from intramural.library.blobs import CHUNK_BYTES, Blob
from intramural.library.defaults import Defaults, as_options
from intramural.library.manifest import Manifest
from intramural.library.sources.reference import Reference
from intramural.library.sources.session import Registries, RegistrySession
from intramural.library.threads import in_thread

_OLLAMA: Final = "application/vnd.ollama.image"
_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
_ROLES: Final = {"weights": f"{_OLLAMA}.model", "projector": f"{_OLLAMA}.projector"}


@dataclass(frozen=True, slots=True)
class Pushed:
    """How far a push is: of the layer `blob`, `done_bytes` are there. `blob` None: the manifest is on its way."""

    blob: Blob | None
    done_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Layer:
    """Of `kind` (a media type), called `title`. `body` None: the bytes are on the shelf."""

    kind: str
    blob: Blob
    title: str | None = None
    body: bytes | None = None

    def described(self) -> dict[str, Any]:
        found: dict[str, Any] = {"mediaType": self.kind, "digest": self.blob.digest, "size": self.blob.size_bytes}
        return found if self.title is None else {**found, "annotations": {"org.opencontainers.image.title": self.title}}


class Push:
    """One model to one place. `open_blob` gives a descriptor of a shelved file's bytes, for the caller to close."""

    def __init__(self, reference: Reference, registries: Registries, open_blob: Callable[[str], int]) -> None:
        self._reference = reference
        self._session = RegistrySession(reference, registries, "pull,push")
        self._open_blob = open_blob

    async def run(self, manifest: Manifest, on_progress: Callable[[Pushed], None]) -> str:
        """Put the model there; the digest of its manifest there. What is there already is not sent again.

        Raises Refused(`push_unsupported`), Broken(`registry_bad_upload`), and what `RegistrySession` raises.
        """
        layers = [*_files(manifest), *_beside(manifest.defaults)]
        config = _config(manifest, layers)
        for layer in (*layers, config):
            on_progress(Pushed(layer.blob))
            if not await self._has(layer.blob):
                await self._put(layer, on_progress)
            on_progress(Pushed(layer.blob, layer.blob.size_bytes))
        on_progress(Pushed(None))
        body = msgspec.json.encode(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": config.described(),
                "layers": [layer.described() for layer in layers],
                "annotations": {"org.opencontainers.image.licenses": manifest.licence},
            }
        )
        url = self._reference.url("manifests", self._reference.tag)
        await self._session.ask(url, method="PUT", body=body, kind=_MANIFEST, statuses=(201,))
        return f"sha256:{hashlib.sha256(body).hexdigest()}"

    async def _has(self, blob: Blob) -> bool:
        answer = await self._session.ask(self._reference.url("blobs", blob.digest), method="HEAD", statuses=(200, 404))
        return answer.status == 200

    async def _put(self, layer: _Layer, on_progress: Callable[[Pushed], None]) -> None:
        begun = self._reference.url("blobs", "uploads/")
        answer = await self._session.ask(begun, method="POST", body=b"", statuses=(202,))
        target = _upload_url(begun, answer.headers.get("location", ""), layer.blob.digest)
        counted = _counted(self._bytes(layer), lambda done: on_progress(Pushed(layer.blob, done)))
        await self._session.send(target, counted, size_bytes=layer.blob.size_bytes)

    async def _bytes(self, layer: _Layer) -> AsyncGenerator[bytes, None]:
        if layer.body is not None:
            yield layer.body
            return
        descriptor, offset = self._open_blob(layer.blob.digest), 0
        try:
            while chunk := await in_thread(os.pread, descriptor, CHUNK_BYTES, offset):
                offset += len(chunk)
                yield chunk
        finally:
            os.close(descriptor)


async def _counted(chunks: AsyncIterator[bytes], tell: Callable[[int], None]) -> AsyncGenerator[bytes, None]:
    done_bytes = 0
    async for chunk in chunks:
        yield chunk
        done_bytes += len(chunk)
        tell(done_bytes)


def _files(manifest: Manifest) -> list[_Layer]:
    if manifest.format != "gguf":
        message = f"{manifest.name} is in the format {manifest.format}; only GGUF models are pushed."
        raise Refused("push_unsupported", message, "Take it along in a bundle: `intramural bundle export`.")
    titled = len(manifest.files) > 1
    return [_Layer(_ROLES[file.role], file.blob, file.name if titled else None) for file in manifest.files]


def _beside(defaults: Defaults | None) -> Iterable[_Layer]:
    """The defaults, as Ollama keeps them."""
    if defaults is None:
        return
    if defaults.system is not None:
        yield _small("system", defaults.system.encode())
    if options := as_options(defaults):
        yield _small("params", msgspec.json.encode(options))
    if defaults.messages:
        yield _small("messages", msgspec.json.encode(defaults.messages))


def _small(kind: str, body: bytes) -> _Layer:
    return _Layer(f"{_OLLAMA}.{kind}", Blob(f"sha256:{hashlib.sha256(body).hexdigest()}", len(body)), body=body)


def _config(manifest: Manifest, layers: Iterable[_Layer]) -> _Layer:
    said = {
        "model_format": "gguf",
        "model_family": manifest.architecture,
        "model_families": [manifest.architecture],
        "model_type": f"{manifest.parameters / 1e9:.2f}B",
        "file_type": manifest.quantisation.upper(),
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer.blob.digest for layer in layers]},
    }
    return replace(_small("config", msgspec.json.encode(said)), kind=_CONFIG)


def _upload_url(begun: str, location: str, digest: str) -> str:
    """Where the bytes go: what the registry said, and the digest. Raises Broken(`registry_bad_upload`)."""
    parts = urlsplit(urljoin(begun, location)) if location else None
    if parts is None or not parts.hostname:
        hint = "Tell whoever runs the registry."
        raise Broken("registry_bad_upload", "The registry does not say where to send the bytes.", hint)
    return urlunsplit(parts._replace(query=urlencode([*parse_qsl(parts.query), ("digest", digest)])))
