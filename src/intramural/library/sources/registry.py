"""Models in OCI registries, Ollama's and Docker's among them: a manifest by tag or digest, its layers by digest.

The plain protocol (OCI distribution-spec 1.1, pulling). The manifest's bytes are hashed here; what it lists is then
fixed by digests, so a registry can withhold a layer and cannot change one. What a tag means is the registry's word:
`attested`. Asked by digest, nobody's word is needed: `pinned`.
"""

import glob
import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from intramural.core.errors import Missing, Refused, Untrusted
from intramural.library.blobs import Blob
from intramural.library.manifest import ModelFile
from intramural.library.sources.challenge import best, parse_challenges, token_of
from intramural.library.sources.credentials import Login, login_for
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
from intramural.library.sources.reach import Reach, only
from intramural.library.sources.reference import Reference, stem_of, suggestion_of
from intramural.library.threads import in_thread

if TYPE_CHECKING:
    from intramural.library.sources.web import Answer, Web

#: Where well-known registries have their tokens and their bytes (by the names their operators publish). Whoever else
#: redirects elsewhere needs the setting `library.registry_hosts`.
ALSO: Final = {
    "registry.ollama.ai": ("ollama.com", "dd20bb891979d25aebc8bec07b2b3bbc.r2.cloudflarestorage.com"),
    "docker.io": (
        "registry-1.docker.io",
        "auth.docker.io",
        "production.cloudflare.docker.com",
        "production.cloudfront.docker.com",
        "docker-images-prod.*.r2.cloudflarestorage.com",
    ),
    "ghcr.io": ("pkg-containers.githubusercontent.com",),
    "quay.io": ("*.quay.io",),
    "hf.co": ("huggingface.co", "*.huggingface.co", "*.hf.co"),
}
_ACCEPT: Final = ", ".join((*MANIFESTS, *INDEXES))
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_MAX_TOKEN_ANSWER_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Registries:
    """What an administrator decided about registries.

    `credentials` is a file as `login_for` reads it; `hosts` may be contacted besides the registry that was asked for
    (its token server, where it redirects to); `*.example.org` stands for every host below.
    """

    credentials: Path | None = None
    hosts: tuple[str, ...] = ()
    reach: Reach = field(default_factory=Reach)


class RegistrySource:
    """One model of a registry. `kind` is how a person begins its name: `oci`, `oci+http`, `ollama`."""

    def __init__(self, kind: str, reference: Reference, registries: Registries) -> None:
        self._kind, self._reference, self._registries = kind, reference, registries
        self._secret: str | None = None
        self._made: Web | None = None

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
            stream = self._web().stream(url, size_bytes=file.blob.size_bytes, offset=offset, secret=self._secret)
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
            await self._renew(url)

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
        answer = await self._ask(self._reference.url("manifests", which), _ACCEPT, MAX_MANIFEST_BYTES)
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
        answer = await self._ask(self._reference.url("blobs", blob.digest), "*/*", blob.size_bytes)
        if f"sha256:{hashlib.sha256(answer.body).hexdigest()}" != blob.digest:
            raise _mismatch("another licence than its manifest names")
        return answer.body

    async def _ask(self, url: str, accept: str, max_bytes: int) -> "Answer":
        headers, web = {"Accept": accept}, self._web()
        answer = await web.ask(url, headers=headers, secret=self._secret, max_bytes=max_bytes, statuses=(200, 401))
        if answer.status == 401:
            login = await self._log_in(answer.headers.get("www-authenticate", ""))
            answer = await web.ask(url, headers=headers, secret=self._secret, max_bytes=max_bytes, statuses=(200, 401))
            if answer.status == 401:
                raise self._denied(login)
        return answer

    async def _renew(self, url: str) -> None:
        """Log in anew for the blob at `url`, if the registry asks for it there."""
        answer = await self._web().ask(url, method="HEAD", follow=False, statuses=(200, 401, *_REDIRECTS))
        if answer.status == 401:
            await self._log_in(answer.headers.get("www-authenticate", ""))

    async def _log_in(self, header: str) -> Login | None:
        """Answer the registry's challenge; from then on `_secret` goes along with every request to it."""
        reference = self._reference
        challenge = best(parse_challenges(header))
        if challenge is None:
            message = f"{reference.host} asks for a login in a way that is not known here."
            raise Refused("registry_login_unknown", message, "Known are tokens (Bearer) and passwords (Basic).")
        login = await in_thread(login_for, reference.host, self._registries.credentials)
        if login is not None and login.token is not None:
            self._secret = f"Bearer {login.token}"
        elif challenge.scheme == "bearer":
            self._secret = await self._token(challenge.token_url(reference.repository, reference.scheme), login)
        elif login is None:
            raise self._denied(None)
        else:
            self._secret = login.basic
        return login

    async def _token(self, url: str, login: Login | None) -> str:
        answer = await self._web().ask(
            url,
            headers={"Accept": "application/json"},
            secret=login.basic if login else None,
            max_bytes=_MAX_TOKEN_ANSWER_BYTES,
            statuses=(200, 401, 403),
        )
        if answer.status != 200:
            raise self._denied(login)
        return f"Bearer {token_of(answer.json())}"

    def _denied(self, login: Login | None) -> Refused:
        host, repository = self._reference.host, self._reference.repository
        if login is not None:
            message = f"{host} does not let this login read {repository}."
            return Refused("registry_login_refused", message, "Check the name, the password and its rights there.")
        hint = f"If it exists at all: put a login for {host} into the file that library.registry_credentials names."
        return Refused("registry_login_needed", f"{host} lets nobody read {repository} without a login.", hint)

    def _web(self) -> "Web":
        if self._made is None:
            from intramural.library.sources.web import Web, host_of  # slow to load, and not always needed

            asked = host_of(self._reference.url("manifests", "latest"))
            also = ALSO.get(self._reference.host, ())
            self._made = Web(only(glob.escape(asked), *also, *self._registries.hosts), self._registries.reach)
        return self._made


_UNSAID: Final = ("text/plain", "application/json", "application/octet-stream")


def _mismatch(what: str) -> Untrusted:
    hint = "Nothing was fetched. Tell whoever runs the registry."
    return Untrusted("registry_digest_mismatch", f"The registry sent {what}.", hint)
