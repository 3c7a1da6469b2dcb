"""Models in OCI registries, Ollama's and Docker's among them: a manifest by tag or digest, its layers by digest.

The plain protocol (OCI distribution-spec 1.1, pulling). The manifest's bytes are hashed here; what it lists is then
fixed by digests, so a registry can withhold a layer and cannot change one. What a tag means is the registry's word:
`attested`. Asked by digest, nobody's word is needed: `pinned`.
"""

import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from intramural.core.errors import Missing, Refused, Untrusted
from intramural.library.blobs import Blob
from intramural.library.manifest import ModelFile
from intramural.library.sources.layers import (
    INDEXES,
    MANIFESTS,
    MAX_MANIFEST_BYTES,
    Contents,
    Descriptor,
    ImageManifest,
    Index,
    contents,
    only_manifest,
    parse_manifest,
)
from intramural.library.sources.licences import UNKNOWN, licence_of
from intramural.library.sources.port import Offer
from intramural.library.sources.reference import Reference, stem_of, suggestion_of
from intramural.library.sources.session import Registries, RegistrySession

__all__ = ["Registries", "RegistrySource"]

_ACCEPT: Final = ", ".join((*MANIFESTS, *INDEXES))


class RegistrySource:
    """One model of a registry. `kind` is how a person begins its name: `oci`, `oci+http`, `ollama`."""

    def __init__(self, kind: str, reference: Reference, registries: Registries) -> None:
        self._kind, self._reference = kind, reference
        self._session = RegistrySession(reference, registries)

    async def resolve(self) -> Sequence[Offer]:
        """What the registry says the model is made of.

        Raises what `layers` raises, Refused(`registry_login_needed`, `registry_login_refused`,
        `registry_login_unknown`, `registry_bad_challenge`), Broken(`registry_bad_challenge`, `registry_bad_token`),
        Untrusted(`registry_digest_mismatch`), and whatever `web.Web` and `login_for` raise.
        """
        reference = self._reference
        manifest, digest = await self._manifest()
        found = contents(manifest, stem_of(reference), reference.file)
        return [
            Offer(
                files=found.files,
                name=suggestion_of(reference),
                source=f"{self._kind}:{reference.text}",
                licence=await self._licence(found) if found.licence is None else found.licence,
                trust="attested",
                revision=digest,
            )
        ]

    async def open(self, offer: Offer, file: ModelFile, offset: int) -> AsyncGenerator[bytes, None]:
        """The layer's bytes from `offset` on. A token that has run out meanwhile is asked for anew."""
        url = self._reference.url("blobs", file.blob.digest)
        renewed_at = -1
        while True:
            stream = self._session.stream(url, size_bytes=file.blob.size_bytes, offset=offset)
            try:
                async with aclosing(stream) as chunks:
                    async for chunk in chunks:
                        offset += len(chunk)
                        yield chunk
                return
            except Refused as refused:
                if refused.code != "source_denied" or renewed_at == offset:
                    raise
            renewed_at = offset
            await self._session.renew(url)

    async def _manifest(self) -> tuple[ImageManifest, str]:
        """The manifest that lists the model's layers, and its digest; through an index, if the tag names one."""
        body, kind, digest = await self._fetch_manifest(self._reference.manifest, self._reference.digest)
        found = parse_manifest(body, kind)
        if isinstance(found, Index):
            listed = only_manifest(found)
            body, kind, digest = await self._fetch_listed(listed)
            found = parse_manifest(body, kind or listed.kind)
        if isinstance(found, Index):
            message = "The registry's index lists another index where it announced a model."
            raise Untrusted("bad_registry_manifest", message, "Nothing was fetched. Tell whoever runs the registry.")
        return found, digest

    async def _fetch_listed(self, listed: Descriptor) -> tuple[bytes, str, str]:
        blob = listed.blob
        body, kind, digest = await self._fetch_manifest(blob.digest, blob.digest)
        if len(body) != blob.size_bytes:
            raise _mismatch(f"a manifest of {len(body)} bytes, where its index announced {blob.size_bytes}")
        return body, kind, digest

    async def _fetch_manifest(self, which: str, expected: str | None) -> tuple[bytes, str, str]:
        """(bytes, media type or nothing, digest). Raises Untrusted(`registry_digest_mismatch`)."""
        answer = await self._session.ask(self._reference.url("manifests", which), _ACCEPT, MAX_MANIFEST_BYTES)
        digest = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        stated = answer.headers.get("docker-content-digest", digest)
        if expected is not None and digest != expected:
            raise _mismatch("another manifest than was asked for by digest")
        if stated.startswith("sha256:") and stated != digest:
            raise _mismatch("another manifest than it says it sent")
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        # Some (Ollama's) send it as plain text or plain JSON: then it must say itself what it is.
        return answer.body, "" if kind in ("", *_UNSAID) else kind, digest

    async def _licence(self, found: Contents) -> str:
        """The licence's name from its text; unknown if the registry has no such text any more."""
        for blob in found.licence_texts:
            try:
                return licence_of((await self._small_blob(blob)).decode(errors="replace"))
            except Missing:
                continue
        return UNKNOWN

    async def _small_blob(self, blob: Blob) -> bytes:
        answer = await self._session.ask(self._reference.url("blobs", blob.digest), "*/*", blob.size_bytes)
        if f"sha256:{hashlib.sha256(answer.body).hexdigest()}" != blob.digest:
            raise _mismatch("another licence than its manifest names")
        return answer.body


_UNSAID: Final = ("text/plain", "application/json", "application/octet-stream")


def _mismatch(what: str) -> Untrusted:
    hint = "Nothing was fetched. Tell whoever runs the registry."
    return Untrusted("registry_digest_mismatch", f"The registry sent {what}.", hint)
