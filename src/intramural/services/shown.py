"""What an opening shows, while it lasts: chats, files, and what people's programs keep. To be read, and nothing else.

Nobody has another way to what is somebody else's. Each look goes the same way: does the opening reach where it is, and
what do the institution's rules say of it there? Then it is written down, durably, and its owner told. Then it is shown.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from typing import Any, BinaryIO, Protocol, TypeVar

import msgspec

from intramural.access import Action
from intramural.batches import Batch, Batches, Line
from intramural.chats import Chats, FoundChat, KeptResponse, KeptResponses, ListedResponse, Transcript, Transcripts
from intramural.chats import Item as ChatItem
from intramural.core.actor import Place, Whose
from intramural.core.errors import Broken, Missing
from intramural.files import Disk, Files, StoredFile
from intramural.retention import Kept
from intramural.services.conversations import WholeChat
from intramural.services.gate import Gate
from intramural.services.looking import Looking

#: Of what somebody else has of one kind, this much is listed at a time, the newest first.
SHOWN_AT_ONCE = 200
_PIECE_BYTES = 2**18


class _Named(Protocol):
    @property
    def id(self) -> str: ...


One = TypeVar("One")
Listed = TypeVar("Listed", bound=_Named)


class Shown:
    """Things of one owner, through a `Looking`.

    All methods raise Refused, and Conflicting(`opening_over`); those of one thing Missing as its own service does, also
    where the opening is not of it.
    """

    def __init__(
        self,
        gate: Gate,
        kept: Kept,
        place_of: Callable[[str], Awaitable[Place]],
        chats: Chats,
        files: Files,
        responses: KeptResponses,
        transcripts: Transcripts,
        batches: Batches,
        inputs: Disk,
    ) -> None:
        """`place_of`: what rules know of a workspace; raises Missing. `inputs`: of batches that have not ended."""
        self._gate = gate
        self._kept = kept
        self._place_of = place_of
        self._chats = chats
        self._files = files
        self._responses = responses
        self._transcripts = transcripts
        self._batches = batches
        self._inputs = inputs

    # of the page

    async def chats(self, looking: Looking, owner_id: str, *, limit: int, before_ms: int | None) -> Sequence[FoundChat]:
        """Chats of the page, the latest used first."""
        places = await self._places(looking, Action.CHATS_READ, owner_id, "list of chats")
        here = [each.workspace_id for each in places]
        return await self._chats.list(owner_id, limit=limit, before_ms=before_ms, workspaces=here)

    async def chat(self, looking: Looking, owner_id: str, chat_id: str) -> WholeChat:
        """A chat with its messages."""

        async def get(whose: Whose) -> WholeChat:
            return WholeChat(*await self._chats.get(whose.person_id, chat_id))

        return await self._one(looking, Action.CHATS_READ, owner_id, "chat", chat_id, get)

    # of programs

    async def files(self, looking: Looking, owner_id: str, before: str | None = None) -> Sequence[StoredFile]:
        """Files; `before`: those that are older than this one."""

        def some(whose: Whose) -> Awaitable[Sequence[StoredFile]]:
            return self._files.list(whose, purpose=None, limit=SHOWN_AT_ONCE, after=before, newest_first=True)

        return await self._newest(looking, Action.FILES_READ, owner_id, "list of files", some)

    async def file(self, looking: Looking, owner_id: str, file_id: str) -> tuple[StoredFile, BinaryIO]:
        """A file, and its bytes open for reading."""

        def get(whose: Whose) -> Awaitable[StoredFile]:
            return self._files.get(whose, file_id)

        file = await self._one(looking, Action.FILES_READ, owner_id, "file", file_id, get)
        return await self._files.content(file.whose, file_id)

    async def responses(self, looking: Looking, owner_id: str, before: str | None = None) -> Sequence[ListedResponse]:
        """Kept responses, without what was said; `before` as for `files`."""

        def some(whose: Whose) -> Awaitable[Sequence[ListedResponse]]:
            return self._responses.newest(whose, limit=SHOWN_AT_ONCE, before=before)

        return await self._newest(looking, Action.RESPONSES_READ, owner_id, "list of responses", some)

    async def response(self, looking: Looking, owner_id: str, response_id: str) -> KeptResponse:
        """A response with its own input and output; what came before it is in the one that it names."""

        def get(whose: Whose) -> Awaitable[KeptResponse]:
            return self._responses.get(whose, response_id)

        return await self._one(looking, Action.RESPONSES_READ, owner_id, "response", response_id, get)

    async def conversations(self, looking: Looking, owner_id: str, before: str | None = None) -> Sequence[Transcript]:
        """Conversations of programs, without what was said; `before` as for `files`."""

        def some(whose: Whose) -> Awaitable[Sequence[Transcript]]:
            return self._transcripts.newest(whose, limit=SHOWN_AT_ONCE, before=before)

        return await self._newest(looking, Action.CONVERSATIONS_READ, owner_id, "list of conversations", some)

    async def conversation(
        self, looking: Looking, owner_id: str, transcript_id: str
    ) -> tuple[Transcript, tuple[ChatItem, ...]]:
        """A conversation of a program with all its items."""

        async def get(whose: Whose) -> tuple[Transcript, tuple[ChatItem, ...]]:
            return await self._transcripts.get(whose, transcript_id), await self._transcripts.items(
                whose, transcript_id
            )

        return await self._one(looking, Action.CONVERSATIONS_READ, owner_id, "conversation", transcript_id, get)

    async def batches(self, looking: Looking, owner_id: str, before: str | None = None) -> Sequence[Batch]:
        """Batches of every dialect, without what was asked and answered; `before` as for `files`."""

        def some(whose: Whose) -> Awaitable[Sequence[Batch]]:
            return self._batches.list(whose, None, limit=SHOWN_AT_ONCE, after=before)

        return await self._newest(looking, Action.BATCHES_READ, owner_id, "list of batches", some)

    async def batch_input(self, looking: Looking, owner_id: str, batch_id: str) -> AsyncGenerator[bytes, None]:
        """What a batch was asked, as it came: a line a request. That of one which has ended is the owner's file.

        Raises Missing(`batch_input_gone`) where it is not kept any more.
        """
        batch = await self._batch(looking, owner_id, batch_id, "input of a batch")
        with suppress(Broken):
            return _read(self._inputs.open(owner_id, batch_id))
        if batch.input_file_id is not None:
            with suppress(Missing):
                return _read((await self._files.content(batch.whose, batch.input_file_id))[1])
        message = "What this batch was asked is not kept any more."
        raise Missing("batch_input_gone", message, "It was deleted, or came with a batch that has ended.")

    async def batch_results(self, looking: Looking, owner_id: str, batch_id: str) -> AsyncGenerator[bytes, None]:
        """What a batch was answered so far, a line a request: lines as they are kept, else the owner's files that
        they were put into, as far as these are there.
        """
        return self._results(await self._batch(looking, owner_id, batch_id, "results of a batch"))

    async def _results(self, batch: Batch) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._batches.lines(batch)) as lines:
            async for line in lines:
                yield _line(line)
        for file_id in (batch.output_file_id, batch.error_file_id):
            if file_id is not None:
                with suppress(Missing):
                    async with aclosing(_read((await self._files.content(batch.whose, file_id))[1])) as pieces:
                        async for piece in pieces:
                            yield piece

    async def _batch(self, looking: Looking, owner_id: str, batch_id: str, what: str) -> Batch:
        def get(whose: Whose) -> Awaitable[Batch]:
            return self._batches.get(whose, None, batch_id)

        return await self._one(looking, Action.BATCHES_READ, owner_id, "batch", batch_id, get, what)

    # how each look goes

    async def _places(self, looking: Looking, action: Action, owner_id: str, what: str) -> Sequence[Whose]:
        """Where an owner's things may be seen through the opening: in no workspace, and in which ones; that it was
        looked is durable. Raises Refused where not even the place that the opening is of may be seen.
        """
        found = []
        for workspace_id in {None, looking.glass.workspace_id, *await self._kept.workspaces_of(owner_id)}:
            try:
                thing = looking.thing(owner_id, await self._place(workspace_id))
            except Missing:
                if workspace_id == looking.glass.workspace_id:
                    raise
                continue  # of one that is gone nothing is left but texts beside the log
            if self._gate.decide(looking.actor, action, thing).allowed:
                found.append(Whose(owner_id, workspace_id))
            elif workspace_id == looking.glass.workspace_id:
                await self._gate.require(looking.actor, action, target=f"person:{owner_id}", thing=thing)
        await looking.note(owner_id, f"person:{owner_id}", {"what": what})
        return found

    async def _newest(
        self,
        looking: Looking,
        action: Action,
        owner_id: str,
        what: str,
        some: Callable[[Whose], Awaitable[Sequence[Listed]]],
    ) -> Sequence[Listed]:
        """Of all places, the newest first; identifiers sort by the time of making."""
        places = await self._places(looking, action, owner_id, what)
        found = [each for place in places for each in await some(place)]
        return sorted(found, key=lambda each: each.id, reverse=True)[:SHOWN_AT_ONCE]

    async def _one(
        self,
        looking: Looking,
        action: Action,
        owner_id: str,
        kind: str,
        name: str,
        get: Callable[[Whose], Awaitable[One]],
        what: str = "",
    ) -> One:
        whose = await self._kept.whose(kind, owner_id, name)
        if whose is None or not looking.lets(owner_id, whose.workspace_id):
            message = f"There is no such {kind} to be seen through this opening."
            raise Missing(f"{kind}_not_found", message, "List what it shows.")
        thing = looking.thing(owner_id, await self._place(whose.workspace_id))
        await self._gate.require(looking.actor, action, target=f"{kind}:{name}", thing=thing)
        found = await get(whose)
        await looking.note(owner_id, f"{kind}:{name}", {"what": what or kind})
        return found

    async def _place(self, workspace_id: str | None) -> Place | None:
        return None if workspace_id is None else await self._place_of(workspace_id)


async def _read(opened: BinaryIO) -> AsyncGenerator[bytes, None]:
    with opened:
        while piece := opened.read(_PIECE_BYTES):
            yield piece


def _line(line: Line) -> bytes:
    """A result as a line of JSON; `body` is the answer's."""
    try:
        body: Any = None if line.body is None else msgspec.json.decode(line.body)
    except msgspec.DecodeError:
        body = line.body
    told = {"custom_id": line.custom_id, "outcome": line.outcome, "status": line.status, "request_id": line.request_id}
    return msgspec.json.encode({**told, "body": body}) + b"\n"
