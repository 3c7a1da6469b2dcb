"""A plain web server with a folder of models and a list of them: `https://host/folder/model.gguf` or `…/folder/`.

The list is a `SHA256SUMS`, or a signature of all files (`model.sig`). The digests come from there, the sizes from the
server; both are only claims until the library has checked them. A signature is handed to the library, which checks it.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from intramural.core.errors import Broken, IntramuralError, Misasked, Missing
from intramural.library.blobs import Blob
from intramural.library.manifest import ModelFile
from intramural.library.provenance.signatures import NAME
from intramural.library.provenance.signing import MAX_SIGNATURE_BYTES, listed
from intramural.library.sources import sums
from intramural.library.sources.licences import MAX_LICENCE_BYTES, UNKNOWN, licence_of
from intramural.library.sources.port import Offer
from intramural.library.sources.reach import Reach, only
from intramural.library.sources.sets import plain_name
from intramural.library.sources.tree import TreeSet, choose, is_signature, models_in, nothing_in, require_servable
from intramural.library.threads import in_thread

if TYPE_CHECKING:
    from intramural.library.sources.web import Answer, Web

#: Files whose size is asked for; a folder with more wants one of its models named.
MAX_PROBED = 200
_LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the bytes of one digest are."""

    url: str
    etag: str | None


class MirrorSource:
    """The model at `url`, with the other shards and the projector that its folder has for it, or a folder's models.

    May contact the host of `url`, and be sent on to `redirect_hosts`. Raises Misasked(`bad_url`, `bad_source`),
    Refused(`pickle_refused`, `safetensors_not_served`).
    """

    def __init__(self, url: str, redirect_hosts: Sequence[str] = (), reach: Reach | None = None) -> None:
        try:
            parts = urlsplit(url)
        except ValueError as error:
            message = f"{url[:80]!r} is not the address of anything."
            raise Misasked("bad_url", message, "Write https://host/model.gguf.", param="source") from error
        if parts.query or parts.fragment:
            hint = "Leave everything from ? or # on away."
            raise Misasked("bad_url", "The address of a mirror has no query.", hint, param="source")
        path, _, name = parts.path.rpartition("/")
        self._folder = f"{parts.scheme}://{parts.netloc}{path}/"
        self._file = plain_name(unquote(name)) if name else None
        if self._file is not None:
            require_servable(self._file)
        self._redirect_hosts = redirect_hosts
        self._reach = reach
        self._connected: Web | None = None
        self._places: dict[str, _Place] = {}

    async def resolve(self) -> Sequence[Offer]:
        """What the list says of the model, or of every complete model in the folder.

        Raises Missing(`sums_not_found`, `source_not_found`, `source_empty`, `shard_missing`), Untrusted(`bad_sums`,
        `bad_file_name`), Misasked(`source_ambiguous`), Broken(`size_unknown`) and what `Web` and `listed` raise.
        """
        web = await self._web()
        digests, revision = await self._listed(web)
        chosen = choose(models_in(digests), self._file, None)
        if not chosen:
            raise nothing_in(digests)
        if sum(len(each.paths) for each in chosen) > MAX_PROBED:
            message = f"The folder has {len(chosen)} models."
            raise Misasked("source_ambiguous", message, "Name the file of one of them.", param="source")
        licence = await self._licence(web, digests)
        return [await self._offer(web, each, digests, licence, revision) for each in chosen]

    async def open(self, offer: Offer, file: ModelFile, offset: int) -> AsyncGenerator[bytes, None]:
        """The bytes of a file that `resolve` offered. Raises as `Web.stream`."""
        web, place, blob = await self._web(), self._places[file.blob.digest], file.blob
        async for chunk in web.stream(place.url, size_bytes=blob.size_bytes, offset=offset, etag=place.etag):
            yield chunk

    async def _web(self) -> "Web":
        if self._connected is None:
            self._connected = await in_thread(_connect, self._folder, self._redirect_hosts, self._reach)
        return self._connected

    async def _listed(self, web: "Web") -> tuple[Mapping[str, str], str]:
        """Digest by path, and the digest of the list itself, which says exactly what was resolved."""
        answer = await self._get(web, sums.NAME)
        if answer is not None:
            return sums.parse_sums(answer.text()), answer.digest
        answer = await self._get(web, NAME)
        if answer is not None and is_signature(answer.body):
            return {each.name: each.digest for each in await in_thread(listed, answer.body)}, answer.digest
        hint = f"A mirror needs it beside the models: `sha256sum *.gguf > {sums.NAME}`."
        message = f"There is neither {sums.NAME} nor {NAME} in {self._folder[:200]}."
        raise Missing("sums_not_found", message, hint, param="source")

    async def _get(self, web: "Web", path: str, max_bytes: int | None = None) -> "Answer | None":
        """A small file of the folder; None if there is none."""
        answer = await web.ask(self._folder + quote(path), max_bytes=max_bytes, statuses=(200, 404, 410))
        return answer if answer.status == 200 else None

    async def _signature(self, web: "Web", model: TreeSet) -> bytes | None:
        for path in model.signatures:
            answer = await self._get(web, path, MAX_SIGNATURE_BYTES)
            if answer is not None and is_signature(answer.body):
                return answer.body
        return None

    async def _licence(self, web: "Web", digests: Mapping[str, str]) -> str:
        """What the folder's licence file is, if the list has one and the server its very bytes."""
        name = next((each for each in _LICENCES if each in digests), None)
        if name is None:
            return UNKNOWN
        try:
            answer = await web.ask(self._folder + name, max_bytes=MAX_LICENCE_BYTES)
        except IntramuralError:
            return UNKNOWN
        return licence_of(answer.body.decode(errors="replace")) if answer.digest == digests[name] else UNKNOWN

    async def _offer(
        self, web: "Web", model: TreeSet, digests: Mapping[str, str], licence: str, revision: str
    ) -> Offer:
        files = []
        for path, role in model.paths:
            url = self._folder + quote(path)
            probe = await web.probe(url)
            if probe.size_bytes is None:
                message = f"The server does not say how large {path[:80]!r} is."
                raise Broken("size_unknown", message, "It must send Content-Length; ask whoever runs it.")
            files.append(ModelFile(plain_name(path), role, Blob(digests[path], probe.size_bytes)))
            self._places[digests[path]] = _Place(url, probe.etag)
        return Offer(
            files=tuple(files),
            name=model.name,
            source=self._folder + quote(model.weights[0]),
            licence=licence,
            trust="pinned",
            revision=revision,
            signature=await self._signature(web, model),
        )


def _connect(url: str, redirect_hosts: Sequence[str], reach: Reach | None) -> "Web":
    from intramural.library.sources.web import Web, host_of

    return Web(only(host_of(url), *redirect_hosts), reach)
