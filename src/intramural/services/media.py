"""Pictures in a request: what a client named is replaced by its bytes, or the request is refused.

A stored file must be the caller's own. An address is fetched only from the hosts an administrator named, through the
same bounded door as models, and each fetch is in the log.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from intramural.access import Action
from intramural.audit import AuditLog, Event, Fact
from intramural.core.actor import Actor
from intramural.core.chat import ChatRequest, Image, Message
from intramural.core.config import Config
from intramural.core.errors import IntramuralError, Misasked, TooLarge
from intramural.core.outward import Connect
from intramural.core.pictures import MAX_PICTURE_BYTES, look_at
from intramural.egress import Errand
from intramural.files import Files
from intramural.library import Manifest
from intramural.services.gate import Gate

#: All pictures of one request together, in bytes: they are in memory while it is answered.
MAX_REQUEST_BYTES = 64 * 2**20
MAX_FETCHED = 8
_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Outward:
    """Which hosts pictures may be fetched from, and whose certificates are trusted on the way."""

    hosts: tuple[str, ...] = ()
    ca_file: Path | None = None

    @classmethod
    def of(cls, config: Config) -> "Outward":
        """As the settings say. A service that may ask no other machine fetches no pictures either."""
        hosts = config.media.allowed_hosts if config.library.allow_network else ()
        return cls(hosts, Path(config.library.ca_file) if config.library.ca_file else None)


class Media:
    """Finds the bytes of pictures."""

    def __init__(
        self, gate: Gate, files: Files, audit: AuditLog, outward: Outward, way: Callable[[Errand], Connect]
    ) -> None:
        """`way`: how hosts that were named are reached."""
        self._gate = gate
        self._files = files
        self._audit = audit
        self._outward = outward
        self._way = way

    async def resolved(self, actor: Actor, request: ChatRequest, manifest: Manifest) -> ChatRequest:
        """`request` with every picture as bytes.

        Raises Misasked(`images_not_supported`, `bad_image`, `url_fetch_refused`, `too_many_images`),
        Missing(`file_not_found`), TooLarge(`image_too_large`), and what fetching raises.
        """
        images = dict.fromkeys(_images(request))
        if not images:
            return request
        if not manifest.sees:
            raise Misasked(
                "images_not_supported",
                f"The model {manifest.name!r} reads text only.",
                "Leave the images out, or use a model that came with a projector.",
                param="messages",
            )
        if sum(image.url is not None for image in images) > MAX_FETCHED:
            message = f"Over {MAX_FETCHED} images would have to be fetched."
            raise Misasked("too_many_images", message, "Send the images themselves.", param="messages")
        found: dict[Image, Image] = {}
        for image in images:
            found[image] = await self._found(actor, request.id, image)
            if sum(len(each.data) for each in found.values()) > MAX_REQUEST_BYTES:
                message = f"The images are over {MAX_REQUEST_BYTES} bytes together."
                raise TooLarge("image_too_large", message, "Send fewer, or smaller ones.", param="messages")
        return replace(request, messages=tuple(_with(message, found) for message in request.messages))

    async def _found(self, actor: Actor, request_id: str, image: Image) -> Image:
        if image.url is not None:
            return Image(data=await self._fetched(actor, request_id, image.url))
        if image.file_id is not None:
            return Image(data=await self._stored(actor, image.file_id))
        return image

    async def _stored(self, actor: Actor, file_id: str) -> bytes:
        await self._gate.require(actor, Action.FILES_READ, owner_id=actor.person_id)
        file, opened = await self._files.content(actor.whose, file_id)
        with opened:
            if file.size_bytes > MAX_PICTURE_BYTES:
                message = f"The file {file_id!r} is over {MAX_PICTURE_BYTES} bytes."
                raise TooLarge("image_too_large", message, "Store a smaller image.", param="messages")
            data = await asyncio.to_thread(opened.read)
        look_at(data, "messages")
        return data

    async def _fetched(self, actor: Actor, request_id: str, url: str) -> bytes:
        if not self._outward.hosts:
            raise Misasked(
                "url_fetch_refused",
                "Images are not fetched from other machines here.",
                "Send the image itself, as a data URL. An administrator can name hosts in `media.allowed_hosts`.",
                param="messages",
            )
        # these load a client of HTTP, which takes a while: only who fetches waits for it
        from intramural.library.sources.reach import Limits, Reach, only
        from intramural.library.sources.web import Web, host_of

        host = host_of(url)
        allow = only(*self._outward.hosts)
        try:
            allow(host)
        except IntramuralError as refused:
            raise Misasked(
                "url_fetch_refused",
                f"Images are not fetched from {host}.",
                "Send the image itself. An administrator can name the host in `media.allowed_hosts`.",
                param="messages",
            ) from refused
        limits = Limits(connect_timeout_s=_TIMEOUT_S / 2, answer_timeout_s=_TIMEOUT_S, tries=1, redirects=3)
        connect = self._way(Errand(actor, "media", f"request:{request_id}"))
        web = Web(allow, Reach(connect, self._outward.ca_file, limits=limits))
        facts: dict[str, Fact] = {"host": host}
        try:
            answer = await web.ask(url, headers={"Accept": "image/*"}, max_bytes=MAX_PICTURE_BYTES)
            facts["size_bytes"] = len(answer.body)
            look_at(answer.body, "messages")
        except IntramuralError as error:
            facts["code"] = error.code
            raise
        finally:
            # that another machine was asked is written down however it ended
            got = "size_bytes" in facts and "code" not in facts
            await self._audit.record(
                Event.IMAGE_FETCHED,
                actor,
                target=f"host:{host}",
                outcome="finished" if got else "failed",
                request_id=request_id,
                facts=facts,
            )
        return answer.body


def _images(request: ChatRequest) -> Iterator[Image]:
    for message in request.messages:
        yield from (part for part in message.parts if isinstance(part, Image))


def _with(message: Message, found: dict[Image, Image]) -> Message:
    parts = tuple(found[part] if isinstance(part, Image) else part for part in message.parts)
    return replace(message, parts=parts) if parts else message
