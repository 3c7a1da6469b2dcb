"""Hugging Face, or a server that speaks as it does: `hf:owner/repository[/file.gguf][:quantisation][@revision]`.

A repository without GGUF, or `:safetensors`, means its safetensors snapshot (`snapshots`); `:onnx`, the path of an
`.onnx` file, or a repository with neither GGUF nor safetensors, means its ONNX model (`encoders`).

A branch or tag is resolved to a commit first, and every byte is fetched at that commit. The digests are the hub's own,
of its large-file store; the few files small enough to lie in git are fetched at once, compared with git's digest, and
given ours.
"""

import hashlib
import importlib
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote, unquote

from intramural.core.errors import Misasked, Missing, Untrusted
from intramural.library.blobs import Blob
from intramural.library.manifest import ONNX, ModelFile
from intramural.library.provenance.signing import MAX_SIGNATURE_BYTES
from intramural.library.sources import encoders
from intramural.library.sources.encoders import Encoder, encoder_in, known_as
from intramural.library.sources.port import Offer
from intramural.library.sources.reach import Reach, only
from intramural.library.sources.sets import plain_name
from intramural.library.sources.snapshots import TAG, Snapshot, require_small, snapshot_in
from intramural.library.sources.tree import TreeSet, choose, is_signature, models_in, nothing_in, require_servable
from intramural.library.threads import in_thread

if TYPE_CHECKING:
    from intramural.library.sources.hub_api import Listed, Listing
    from intramural.library.sources.web import Web

Model: TypeAlias = TreeSet | Snapshot | Encoder
HUGGING_FACE = "https://huggingface.co"
#: Where Hugging Face keeps what it redirects to; it says that the hosts below `hf.co` change.
STORES = ("hf.co", "*.hf.co", "cdn-lfs.huggingface.co", "cdn-lfs-*.huggingface.co")
_NAME = re.compile(
    r"(?P<repository>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})"
    r"(?:/(?P<path>[^@:]+)|:(?P<tag>[\w.-]{1,60}))?"
    r"(?:@(?P<revision>[\w][\w./-]{0,199}))?",
    re.ASCII,
)
_PAGE = re.compile(
    r"(?P<repository>[^/]+/[^/]+?)/?(?:/(?:tree|blob|resolve|raw)/(?P<revision>[^/]+)(?:/(?P<path>.+))?)?/?"
)
#: A file so small that it may lie in git itself: the hub keeps larger ones in its store.
_MAX_IN_GIT_BYTES = 16 << 20
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_TOKEN_BYTES = 4096


@dataclass(frozen=True, slots=True)
class HubReference:
    """What `hf:…` names, parsed: a repository, in it a file or a quantisation, and a branch, tag or commit."""

    repository: str
    path: str | None = None
    tag: str | None = None
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> "HubReference":
        """From what stands behind `hf:`. Raises Misasked(`bad_source`), Refused as `require_servable` does."""
        match = _NAME.fullmatch(text)
        if match is None or ".." in (match["revision"] or ""):
            hint = "Write hf:owner/repository, with /file.gguf or :Q4_K_M behind it, and @revision if you want one."
            raise Misasked("bad_source", f"{text[:80]!r} names nothing on a hub.", hint, param="source")
        if match["path"] is not None and not match["path"].lower().endswith(ONNX):
            require_servable(match["path"])
        return cls(**match.groupdict())

    @classmethod
    def of_address(cls, url: str, hub: str) -> "HubReference | None":
        """From the address of a page or file of `hub`, as copied from a browser; None for any other address.

        Raises as `parse`.
        """
        head = f"{hub.rstrip('/')}/"
        match = _PAGE.fullmatch(url.partition("?")[0].removeprefix(head)) if url.startswith(head) else None
        if match is None:
            return None
        text = match["repository"] + (f"/{unquote(match['path'])}" if match["path"] else "")
        return cls.parse(text + (f"@{unquote(match['revision'])}" if match["revision"] else ""))


class HubSource:
    """The models that `reference` names at `hub`. `token_file` holds a token, sent to `hub` and nowhere else.

    May contact the hub, be sent on to `redirect_hosts`, and, where the hub is Hugging Face itself, to its stores.
    """

    def __init__(
        self,
        reference: HubReference,
        hub: str = HUGGING_FACE,
        token_file: Path | None = None,
        redirect_hosts: Sequence[str] = (),
        reach: Reach | None = None,
    ) -> None:
        self._reference = reference
        self._hub = hub.rstrip("/")
        self._token_file = token_file
        self._hosts = (*redirect_hosts, *(STORES if self._hub == HUGGING_FACE else ()))
        self._reach = reach
        self._connected: Web | None = None
        self._urls: dict[str, str] = {}
        self._commit = ""

    async def resolve(self) -> Sequence[Offer]:
        """What the repository has at one commit, or what of it was named.

        Raises Missing(`source_not_found`, `source_empty`, `shard_missing`), Refused(`source_denied`,
        `pickle_refused`), Misasked(`bad_token_file`), Untrusted(`bad_file_name`, `git_digest_mismatch`), as
        `snapshot_in` and `require_small`, and what `hub_api.list_repository` and `Web` raise.
        """
        web, token = await self._web(), await in_thread(self._token)
        api = await in_thread(importlib.import_module, "intramural.library.sources.hub_api")
        wanted = self._reference
        listing: Listing = await api.list_repository(web, self._hub, wanted.repository, wanted.revision, token)
        chosen = _chosen(listing, wanted)
        self._commit = listing.commit
        return [await self._offer(web, token, each, listing) for each in chosen]

    async def open(self, offer: Offer, file: ModelFile, offset: int) -> AsyncGenerator[bytes, None]:
        """The bytes of a file that `resolve` offered. Raises Untrusted(`hub_disagrees`) and as `Web.stream`."""
        web, token, blob = await self._web(), await in_thread(self._token), file.blob
        url, secret = self._urls[blob.digest], _secret(token)
        await self._require_agreement(web, url, secret, blob)
        async for chunk in web.stream(url, size_bytes=blob.size_bytes, offset=offset, secret=secret):
            yield chunk

    async def _require_agreement(self, web: "Web", url: str, secret: str | None, blob: Blob) -> None:
        """What the hub says of the file where it hands it out must be what its list said."""
        answer = await web.ask(url, method="HEAD", secret=secret, statuses=(200, *_REDIRECTS), follow=False)
        digest = answer.headers.get("x-linked-etag", "").removeprefix("W/").strip('"')
        said = (digest, answer.headers.get("x-linked-size", ""), answer.headers.get("x-repo-commit", ""))
        expected = (blob.digest.removeprefix("sha256:"), str(blob.size_bytes), self._commit)
        for there, here in zip(said, expected, strict=True):
            if there and there != here:
                message = f"The hub's list and its store disagree about {answer.url}: {here} and {there[:80]}."
                raise Untrusted("hub_disagrees", message, "Pull again later; if it stays so, tell the publisher.")

    async def _offer(self, web: "Web", token: str | None, model: Model, listing: "Listing") -> Offer:
        files = []
        for path, role in model.paths:
            url = self._url(listing, path)
            listed = listing.files[path]
            if role == "support":
                require_small(path, listed.size_bytes)
            digest = listed.digest or await self._digest(web, url, _secret(token), listed)
            name = known_as(path) if isinstance(model, Encoder) else plain_name(path)
            files.append(ModelFile(name, role, Blob(digest, listed.size_bytes)))
            self._urls[digest] = url
        which = f":{TAG}" if isinstance(model, Snapshot) else f"/{model.weights[0]}"
        return Offer(
            files=tuple(files),
            name=model.name,
            source=f"hf:{listing.repository}{which}@{listing.commit}",
            licence=listing.licence,
            trust="attested",
            revision=listing.commit,
            signature=await self._signature(web, token, model, listing),
        )

    async def _signature(self, web: "Web", token: str | None, model: Model, listing: "Listing") -> bytes | None:
        """The publisher's, if one lies beside the model; the library checks it."""
        for path in model.signatures:
            if path in listing.files:
                url = self._url(listing, path)
                answer = await web.ask(url, secret=_secret(token), max_bytes=MAX_SIGNATURE_BYTES)
                if is_signature(answer.body):
                    return answer.body
        return None

    def _url(self, listing: "Listing", path: str) -> str:
        return f"{self._hub}/{listing.repository}/resolve/{listing.commit}/{quote(path)}"

    async def _digest(self, web: "Web", url: str, secret: str | None, listed: "Listed") -> str:
        """Our digest of a file that lies in git itself, whose own digest must agree."""
        answer = await web.ask(url, secret=secret, max_bytes=min(listed.size_bytes, _MAX_IN_GIT_BYTES))
        git_sha1 = hashlib.sha1(b"blob %d\0" % len(answer.body) + answer.body, usedforsecurity=False).hexdigest()
        if len(answer.body) != listed.size_bytes or git_sha1 != listed.git_sha1:
            message = f"What the hub sent for {listed.path[:80]!r} is not what its commit says."
            raise Untrusted("git_digest_mismatch", message, "Pull again later; if it stays so, tell the publisher.")
        return answer.digest

    async def _web(self) -> "Web":
        if self._connected is None:
            self._connected = await in_thread(_connect, self._hub, self._hosts, self._reach)
        return self._connected

    def _token(self) -> str | None:
        if self._token_file is None:
            return None
        try:
            with self._token_file.open("rb") as file:
                token = file.read(_MAX_TOKEN_BYTES).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise _bad_token(self._token_file) from error
        if not token or not token.isprintable() or " " in token:
            raise _bad_token(self._token_file)
        return token


def _chosen(listing: "Listing", wanted: HubReference) -> Sequence[Model]:
    """What of the repository is meant. Raises as `resolve`."""
    title = listing.repository.partition("/")[2]
    if (wanted.tag or "").lower() == encoders.TAG or (wanted.path or "").lower().endswith(ONNX):
        if (found := encoder_in(listing.files, title, wanted.path)) is None:
            message = f"{listing.repository} has no {wanted.path or 'ONNX file'}."
            raise Missing("source_not_found", message, "Look at what the repository has.", param="source")
        return [found]
    models = models_in(listing.files)
    asked = (wanted.tag or "").lower() == TAG
    if asked or (not models and wanted.path is None and wanted.tag is None):
        snapshot = snapshot_in(listing.files, title)
        if snapshot is not None:
            return [snapshot]
        if not asked and (encoder := encoder_in(listing.files, title)) is not None:
            return [encoder]
        if asked and models:
            message = f"{listing.repository} has no safetensors weights."
            raise Missing("source_not_found", message, "Leave the tag away, or name a quantisation.", param="source")
    chosen = choose(models, wanted.path, None if asked else wanted.tag)
    if not chosen:
        raise nothing_in(listing.files)
    return chosen


def _secret(token: str | None) -> str | None:
    return None if token is None else f"Bearer {token}"


def _bad_token(file: Path) -> Misasked:
    return Misasked("bad_token_file", f"{file} holds no token that can be read.", "Set library.hub_token_file anew.")


def _connect(hub: str, redirect_hosts: Sequence[str], reach: Reach | None) -> "Web":
    from intramural.library.sources.web import Web, host_of

    return Web(only(host_of(hub), *redirect_hosts), reach)
