"""A person's stored files. Nobody else's can be reached from here; nor one's own of another workspace."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO

from intramural.access import Action
from intramural.audit import AuditLog, Event, Fact
from intramural.core.actor import SYSTEM, Actor
from intramural.core.clock import Clock
from intramural.core.errors import Misasked, Refused
from intramural.core.rounds import Rounds
from intramural.files import ANY, PURPOSES, Arriving, Files, Most, Passage, StoredFile, check_name
from intramural.retention.holds import is_held
from intramural.services.gate import Gate, where

#: How long a file may be asked to stay, in seconds: an hour to 90 days, as Anthropic's API says; OpenAI's says 30.
EXPIRY_S = (3_600, 7_776_000)
#: Input of batches is removed after 30 days unless something else is asked for, as there.
BATCH_EXPIRY_S = 2_592_000
#: Between two looks for files whose time is over.
REAP_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Search:
    """What was found; `searched_files` were searched, `other_files` are no text, too large, or not indexed yet."""

    found: Sequence[tuple[StoredFile, Passage]]
    searched_files: int
    other_files: int


class FileDesk:
    """Files of an actor's person, of the workspace that they ask in.

    `recall` when the house is opened, `close` before it is left.
    """

    def __init__(
        self,
        gate: Gate,
        files: Files,
        audit: AuditLog,
        clock: Clock,
        most: Callable[[Actor], Most] = lambda _: ANY,
    ) -> None:
        """`most`: what quotas let the files of somebody, and of where they ask, have together."""
        self._most = most
        self._gate = gate
        self._files = files
        self._audit = audit
        self._clock = clock
        self._reaping = Rounds("expired files", self._reap, REAP_EVERY_S)
        self._indexing = Rounds("index of files", self._index, REAP_EVERY_S)
        self._keeping: set[asyncio.Task[StoredFile]] = set()
        self._taken: set[str] = set()

    async def recall(self) -> None:
        """At start: remove what a crash left; from now on remove what has expired, and index what came."""
        await self._files.open()
        self._reaping.open()
        self._indexing.open()

    async def close(self) -> None:
        """Wait until the uploads that were complete are kept, and do nothing more. The index goes on at next start."""
        await self._reaping.close()
        await self._indexing.close()
        if self._keeping:
            await asyncio.wait(self._keeping)

    @asynccontextmanager
    async def arriving(self, actor: Actor, announced_bytes: int) -> AsyncIterator[Arriving]:
        """An upload: in the block, `write` its bytes, then `keep` it. Of one that is not kept nothing stays.

        Raises Refused (policy, `files_quota`, `person_required`), TooLarge(`file_too_large`), Unavailable(`disk_full`).
        """
        await self._gate.require(actor, Action.FILES_CREATE, owner_id=actor.person_id)
        require_person(actor)
        arriving = await self._files.arriving(actor.whose, announced_bytes, most=self._most(actor))
        try:
            yield arriving
        finally:
            if arriving.id not in self._taken:
                await asyncio.shield(self._files.settled(actor.whose, arriving))
            self._taken.discard(arriving.id)

    async def keep(
        self, actor: Actor, arriving: Arriving, *, name: str, purpose: str, expires_s: int | None
    ) -> StoredFile:
        """The upload is complete: make it a file. Once under way it is not undone by a client that leaves.

        Raises Misasked(`bad_purpose`, `bad_file_name`, `bad_expiry`), Refused(`files_quota`).
        """
        name, expires_s = check_name(name), _expiry_s(purpose, expires_s)
        task = asyncio.ensure_future(self._keep(actor, arriving, name, purpose, expires_s))
        self._taken.add(arriving.id)
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)
        return await asyncio.shield(task)

    async def list(
        self,
        actor: Actor,
        *,
        purpose: str | None,
        limit: int,
        after: str | None,
        newest_first: bool,
        ids: Collection[str] | None = None,
    ) -> list[StoredFile]:
        """A page of them, of all or of those named in `ids`. Raises Misasked(`bad_limit`)."""
        await self._gate.require(actor, Action.FILES_READ, owner_id=actor.person_id)
        return await self._files.list(
            actor.whose, purpose=purpose, limit=limit, after=after, newest_first=newest_first, ids=ids
        )

    async def get(self, actor: Actor, file_id: str) -> StoredFile:
        """Missing(`file_not_found`) also when it is somebody else's."""
        await self._gate.require(actor, Action.FILES_READ, owner_id=actor.person_id)
        return await self._files.get(actor.whose, file_id)

    async def content(self, actor: Actor, file_id: str) -> tuple[StoredFile, BinaryIO]:
        """The file, and its bytes open for reading; the record that it was read is durable before."""
        await self._gate.require(actor, Action.FILES_READ, owner_id=actor.person_id)
        file, opened = await self._files.content(actor.whose, file_id)
        try:
            await self._audit.record(Event.FILE_READ, actor, target=f"file:{file_id}", facts=where(actor))
        except BaseException:
            opened.close()
            raise
        return file, opened

    async def delete(self, actor: Actor, file_id: str) -> None:
        """Gone from the list and from the disk. Raises Missing(`file_not_found`)."""
        await self._gate.require(actor, Action.FILES_DELETE, owner_id=actor.person_id)
        async with self._audit.transaction() as (connection, record):
            file = await self._files.delete(connection, actor.whose, file_id)
            facts: dict[str, Fact] = {"purpose": file.purpose, **_there(actor)}
            record(Event.FILE_DELETED, actor, target=f"file:{file_id}", facts=facts)
        await self._files.drop([file_id])

    async def search(self, actor: Actor, query: str, limit: int) -> Search:
        """The best passages of the actor's own files of where they ask, the best first.

        Raises Misasked(`bad_query`, `bad_limit`).
        """
        await self._gate.require(actor, Action.FILES_READ, owner_id=actor.person_id)
        found = await self._files.search(actor.whose, query, limit)
        searched, others = await self._files.searched(actor.whose)
        facts: dict[str, Fact] = {"passages": len(found), "files": searched, **where(actor)}
        await self._audit.record(Event.DOCUMENTS_SEARCHED, actor, facts=facts, texts={"query": query})
        return Search(found, searched, others)

    def index_again(self) -> None:
        """Files are waiting to be put into the index."""
        self._indexing.now()

    async def sweep(self) -> None:
        """After a person was removed: their files' bytes go too."""
        await self._files.sweep()

    async def _keep(
        self, actor: Actor, arriving: Arriving, name: str, purpose: str, expires_s: int | None
    ) -> StoredFile:
        try:
            await arriving.finish()
            expires_ms = None if expires_s is None else int(self._clock.now_s() * 1000) + expires_s * 1000
            async with self._audit.transaction() as (connection, record):
                file = await self._files.keep(
                    connection,
                    actor.whose,
                    arriving,
                    name=name,
                    purpose=purpose,
                    expires_ms=expires_ms,
                    most=self._most(actor),
                )
                facts: dict[str, Fact] = {"size_bytes": file.size_bytes, "expires_ms": expires_ms}
                record(
                    Event.FILE_STORED,
                    actor,
                    target=f"file:{file.id}",
                    facts={"purpose": purpose, **facts, **_there(actor)},
                    texts={"name": name},
                )
            self._indexing.now()
            return file
        finally:
            await self._files.settled(actor.whose, arriving)

    async def _index(self) -> None:
        while (file := await self._files.unindexed()) is not None:
            await self._files.index(file)

    async def _reap(self) -> None:
        if not await self._files.any_expired(is_held):
            return
        async with self._audit.transaction() as (connection, record):
            gone = await self._files.expired(connection, is_held)
            for file in gone:
                record(Event.FILE_EXPIRED, SYSTEM, target=f"file:{file.id}", facts={"purpose": file.purpose})
        await self._files.drop([file.id for file in gone])


def _there(actor: Actor) -> dict[str, Fact]:
    """The workspace, for events whose `purpose` is the file's."""
    return {name: fact for name, fact in where(actor).items() if name != "purpose"}


def require_person(actor: Actor) -> None:
    """What is stored belongs to a person. Raises Refused(`person_required`) for the machine's own console."""
    if actor.kind == "system":
        message = "What is stored here belongs to a person; the console is none."
        raise Refused("person_required", message, "Use a person's key.")


def _expiry_s(purpose: str, asked_s: int | None) -> int | None:
    """How long a file for `purpose` stays. Raises Misasked(`bad_purpose`, `bad_expiry`)."""
    if purpose not in PURPOSES or purpose.endswith("output"):
        allowed = ", ".join(each for each in PURPOSES if not each.endswith("output"))
        raise Misasked("bad_purpose", f"{purpose[:64]!r} is no purpose.", f"Use {allowed}.", param="purpose")
    least_s, most_s = EXPIRY_S
    if asked_s is not None and not least_s <= asked_s <= most_s:
        hint = f"Ask for {least_s} to {most_s} seconds."
        raise Misasked("bad_expiry", "A file cannot expire then.", hint, param="expires_after[seconds]")
    return BATCH_EXPIRY_S if asked_s is None and purpose == "batch" else asked_s
