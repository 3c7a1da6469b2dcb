"""Files that people send for models to be made of them."""

import asyncio
from collections.abc import AsyncIterator, Mapping

from intramural.access import Action
from intramural.audit import AuditLog, Event
from intramural.core.actor import Actor
from intramural.library import Uploads
from intramural.library.sources.upload import spelt
from intramural.services.gate import Gate


class UploadDesk:
    """Receiving files, and the source that stands for them: getting a model of it is `pulls`."""

    def __init__(self, gate: Gate, uploads: Uploads, audit: AuditLog) -> None:
        self._gate = gate
        self._uploads = uploads
        self._audit = audit

    async def has(self, actor: Actor, digest: str) -> bool:
        """Whether these bytes are here. Raises Untrusted(`bad_digest`)."""
        await self._gate.require(actor, Action.MODELS_PULL, target=f"blob:{digest[:80]}")
        return self._uploads.find(digest) is not None

    async def receive(
        self, actor: Actor, digest: str, chunks: AsyncIterator[bytes], announced_bytes: int | None
    ) -> bool:
        """Take the bytes in; False if they were here already, and nothing was read. Raises as `Uploads.receive`."""
        if await self.has(actor, digest):
            return False
        await asyncio.to_thread(self._uploads.sweep)
        size_bytes = await self._uploads.receive(digest, chunks, announced_bytes)
        await self._audit.record(Event.BLOB_RECEIVED, actor, target=f"blob:{digest}", facts={"size_bytes": size_bytes})
        return True

    @staticmethod
    def source(files: Mapping[str, str]) -> str:
        """What `pulls` gets a model from that shall consist of uploaded `files` (name → digest).

        Raises Misasked(`bad_source`).
        """
        return spelt(files)

    async def used(self, actor: Actor, files: Mapping[str, str]) -> None:
        """A model was made of them, which has the bytes now."""
        await self._gate.require(actor, Action.MODELS_PULL, target="uploads")
        await asyncio.to_thread(self._uploads.discard, files.values())
