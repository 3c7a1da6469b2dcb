"""Pictures in a request: what a client named is replaced by its bytes, or the request is refused."""

from collections.abc import Iterator
from dataclasses import replace

from intramural.core.actor import Actor
from intramural.core.chat import ChatRequest, Image, Message
from intramural.core.errors import Misasked, Missing
from intramural.library import Manifest


class Media:
    """Finds the bytes of pictures."""

    async def resolved(self, actor: Actor, request: ChatRequest, manifest: Manifest) -> ChatRequest:
        """`request` with every picture as bytes.

        Raises Misasked(`images_not_supported`, `url_fetch_refused`), Missing(`file_not_found`).
        """
        if not any(True for _ in _images(request)):
            return request
        if not any(file.role == "projector" for file in manifest.files):
            raise Misasked(
                "images_not_supported",
                f"The model {manifest.name!r} reads text only.",
                "Leave the images out, or use a model that came with a projector.",
                param="messages",
            )
        messages = [await self._with_bytes(actor, message) for message in request.messages]
        return replace(request, messages=tuple(messages))

    async def _with_bytes(self, actor: Actor, message: Message) -> Message:
        if not message.parts:
            return message
        parts = [part if isinstance(part, str) else await self._found(actor, part) for part in message.parts]
        return replace(message, parts=tuple(parts))

    async def _found(self, actor: Actor, image: Image) -> Image:
        if image.url is not None:
            raise Misasked(
                "url_fetch_refused",
                "Images are not fetched from other machines.",
                "Send the image itself, as a data URL.",
                param="messages",
            )
        if image.file_id is not None:
            raise Missing("file_not_found", "There is no such file.", "List the files to see which are there.")
        return image


def _images(request: ChatRequest) -> Iterator[Image]:
    for message in request.messages:
        yield from (part for part in message.parts if isinstance(part, Image))
