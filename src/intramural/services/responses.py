"""Responses of a person's programs: answered, kept, gone on from; also in the background, when nobody waits.

How a response looks is its dialect's affair. The door hands over a `Writer` that puts it together; here is decided what
is kept, for whom, and what happens when somebody leaves or the service ends.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import ExitStack, aclosing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from msgspec.structs import replace

from intramural.access import Action, Seal
from intramural.audit import After, AuditLog, Beside, Event
from intramural.chats import Item, KeptResponse, KeptResponses, Transcripts
from intramural.core.actor import Actor, Whose
from intramural.core.chat import ChatRequest, Usage
from intramural.core.errors import Conflicting, IntramuralError, Misasked, Missing, Throttled
from intramural.core.work import Work
from intramural.services.conversations import KEPT
from intramural.services.gate import Gate, where
from intramural.services.inference import Ended, Inference
from intramural.services.live import Live, LiveResponses, Told, Writer
from intramural.services.models import Models
from intramural.services.truncation import fitted
from intramural.serving import WaitNote

#: How many responses one person may have running in the background at the same time.
MAX_BACKGROUND = 16


@dataclass(frozen=True, slots=True)
class Asked:
    """One response to be made: its name, the whole request, and what of it is new (`input`)."""

    id: str
    request: ChatRequest
    input: tuple[Item, ...]
    keep: bool
    #: Whether the oldest part is left out where it is too long.
    shorten: bool = False
    previous_id: str | None = None
    conversation_id: str | None = None


class _Ending:
    """How a response ends that somebody waits for; called once, it gives what is to be kept of it.

    `told`: its last events, not to be told before that is on the disk. `error`: what it broke off with.
    """

    def __init__(self, kept: KeptResponses, whose: Whose, asked: Asked, writer: Writer) -> None:
        self._kept = kept
        self._whose = whose
        self._asked = asked
        self._writer = writer
        self.told: list[Told] = []
        self.error: IntramuralError | None = None

    def __call__(self, ended: Ended) -> Sequence[Beside | After]:
        self.error = ended.error
        if ended.outcome == "finished":
            self.told = [*self._writer.feed(ended.usage), *self._writer.finish()]
        elif not self._writer.begun:
            return ()
        elif ended.outcome == "cancelled":
            self._writer.cancel()
        elif ended.error is not None:
            self.told = self._writer.fail(ended.error)
        else:
            return ()
        if not self._asked.keep:
            return ()
        response = _kept(self._asked, self._writer.body)
        rows, then = self._kept.insertions(self._whose, response)
        return [*(Beside(*each) for each in rows), After(then)]


class Responses:
    """Responses of an actor's person, of the workspace that they ask in."""

    def __init__(
        self,
        gate: Gate,
        models: Models,
        inference: Inference,
        kept: KeptResponses,
        transcripts: Transcripts,
        audit: AuditLog,
        seal: Seal,
        *,
        keeps: bool,
    ) -> None:
        """`keeps`: whether this house keeps responses at all."""
        self._gate = gate
        self._models = models
        self._inference = inference
        self._kept = kept
        self._transcripts = transcripts
        self._audit = audit
        self._seal = seal
        self._keeps = keeps
        self._live = LiveResponses()
        self._busy: set[str] = set()

    async def close(self) -> None:
        """End what is being written in the background; it stays kept as interrupted."""
        await self._live.close()

    def keeps_for(self, actor: Actor, wanted: bool | None) -> bool:
        """Whether a response is kept: the person's wish, where this house keeps any. The console is nobody's."""
        return self._keeps and actor.kind != "system" and wanted is not False

    # what a response goes on from -------------------------------------------------------------------------------------

    async def history(self, actor: Actor, previous_id: str | None, conversation_id: str | None) -> tuple[Item, ...]:
        """Everything said before. Raises Misasked(`previous_response_not_found`), Missing(`conversation_not_found`),
        Conflicting(`response_in_progress`)."""
        if conversation_id is not None:
            await self._gate.require(actor, Action.CONVERSATIONS_READ, owner_id=actor.person_id)
            return await self._transcripts.items(actor.whose, conversation_id)
        if previous_id is None:
            return ()
        await self._gate.require(actor, Action.RESPONSES_READ, owner_id=actor.person_id)
        if self._live.find(actor.whose, previous_id) is not None:
            message = "That response is still being written."
            raise Conflicting("response_in_progress", message, "Wait for its end.", param="previous_response_id")
        try:
            return await self._kept.context(actor.whose, previous_id)
        except Missing:
            raise Misasked(
                "previous_response_not_found",
                f"There is no response {previous_id[:64]!r} to go on from.",
                "It, or one before it, was deleted, expired, or not stored. Send the conversation itself.",
                param="previous_response_id",
            ) from None

    async def resolved(self, actor: Actor, given: Sequence[Item]) -> tuple[Item, ...]:
        """`given` with every reference replaced by the item it names. Raises Misasked(`item_not_found`)."""
        wanted = [item["id"] for item in given if item["type"] == "item_reference"]
        if not wanted:
            return tuple(given)
        await self._gate.require(actor, Action.RESPONSES_READ, owner_id=actor.person_id)
        found = await self._transcripts.found(actor.whose, wanted)
        found |= await self._kept.items(actor.whose, wanted)
        for item_id in wanted:
            if item_id not in found:
                message = f"There is no item {item_id[:64]!r}."
                raise Misasked("item_not_found", message, "Send the item itself.", param="input")
        return tuple(found[item["id"]] if item["type"] == "item_reference" else item for item in given)

    def sealed(self, actor: Actor, text: str) -> str:
        """`text`, to be kept by the person's program: nobody else's can hand it back."""
        return self._seal.close(_sealed_for(actor), text)

    def unsealed(self, actor: Actor, sealed: str) -> str:
        """What `sealed` gave. Raises Misasked(`bad_encrypted_content`)."""
        return self._seal.open(_sealed_for(actor), sealed)

    # answering --------------------------------------------------------------------------------------------------------

    async def answer(
        self,
        actor: Actor,
        asked: Asked,
        writer: Writer,
        *,
        streamed: bool,
        on_wait: WaitNote | None = None,
    ) -> AsyncGenerator[Told, None]:
        """Answer, telling it as it comes; `writer.body` is the object. Closing the generator cancels it.

        Errors are raised as `Inference.answer` does; in a stream that has begun they are told instead. However it
        ended: what has begun is kept, in the transaction of the answer's record and before its end is told.
        """
        await self._may_keep(actor, asked)
        ending = _Ending(self._kept, actor.whose, asked, writer)
        with self._held(asked.conversation_id):
            try:
                async with aclosing(self._written(actor, asked, writer, on_wait, ending)) as events:
                    async for told in events:
                        yield told
                last = ending.told
                await self._grow(actor, asked, writer)
            except IntramuralError as error:
                if not writer.begun or not streamed:
                    raise
                # Another one is that the ending could not be written: then it is not kept, and this is all of it.
                last = ending.told if ending.error is error else writer.fail(error)
        for told in last:
            yield told

    async def start(self, actor: Actor, asked: Asked, writer: Writer) -> None:
        """Answer in the background: returns as soon as it is certain to be kept, whatever happens.

        Raises Refused, Missing(`model_not_found`), Throttled(`too_many_in_background`), Conflicting.
        """
        await self._may_keep(actor, asked)
        model = asked.request.model
        await self._gate.require(actor, Action.MODEL_USE, target=f"model:{model}", model=model)
        self._models.manifest(model)
        if self._live.count(actor.person_id) >= MAX_BACKGROUND:
            message = f"{MAX_BACKGROUND} responses of yours are being written in the background."
            raise Throttled("too_many_in_background", message, "Wait for one of them.", retry_after_s=5)
        hold = ExitStack()
        hold.enter_context(self._held(asked.conversation_id))
        try:
            live = Live(actor.whose, writer, writer.wait())
            await self._kept.keep(actor.whose, _kept(asked, writer.interrupted()))
        except BaseException:
            hold.close()
            raise
        self._live.add(asked.id, live)
        live.task = asyncio.create_task(self._run(actor, asked, live, hold), name="background-response")

    async def _run(self, actor: Actor, asked: Asked, live: Live, hold: ExitStack) -> None:
        writer = live.writer
        try:
            try:
                unhurried = replace(actor, work=Work.BATCH)
                async with aclosing(self._written(unhurried, asked, writer)) as events:
                    async for told in events:
                        live.tell([told])
                last = writer.finish()
            except IntramuralError as error:
                last = writer.fail(error)
            except asyncio.CancelledError:
                if not live.cancelled:
                    raise  # the service ends: it is kept as interrupted already
                last = writer.cancel()
            await self._grow(actor, asked, writer)
            if asked.keep:
                await self._kept.keep(actor.whose, _kept(asked, writer.body), [*live.told, *last])
            live.tell(last)
        finally:
            hold.close()
            self._live.remove(asked.id)
            live.tell([], over=True)

    async def _written(
        self,
        actor: Actor,
        asked: Asked,
        writer: Writer,
        on_wait: WaitNote | None = None,
        ending: "_Ending | None" = None,
    ) -> AsyncGenerator[Told, None]:
        """With an `ending` all but how it ends, which that one knows."""
        request = await self._shortened(actor, asked.request) if asked.shorten else asked.request
        kept = await self._kept.told(actor.person_id) if asked.keep else None
        events = self._inference.answer(
            actor,
            request,
            "openai",
            "chat",
            on_wait=on_wait,
            keeping=ending,
            passing=not asked.keep,
            told=None if kept is None else {KEPT: kept},
        )
        async with aclosing(events):
            async for event in events:
                if ending is not None and isinstance(event, Usage):
                    continue
                for told in writer.feed(event):
                    yield told

    async def _shortened(self, actor: Actor, request: ChatRequest) -> ChatRequest:
        context_tokens = self._models.context_tokens(self._models.manifest(request.model))
        if context_tokens is None:  # it does not run here: the answer says so
            return request
        return await fitted(request, context_tokens, partial(self._inference.count_tokens, actor))

    async def _may_keep(self, actor: Actor, asked: Asked) -> None:
        if asked.keep:
            await self._gate.require(actor, Action.RESPONSES_KEEP, owner_id=actor.person_id)
        if asked.conversation_id is not None:
            await self._gate.require(actor, Action.CONVERSATIONS_CHANGE, owner_id=actor.person_id)

    @contextmanager
    def _held(self, conversation_id: str | None) -> Iterator[None]:
        """A conversation's turns come one after another. Raises Conflicting(`conversation_busy`)."""
        if conversation_id is None:
            yield
            return
        if conversation_id in self._busy:
            message = "Another response of this conversation is being written."
            raise Conflicting("conversation_busy", message, "Wait for its end.", param="conversation")
        self._busy.add(conversation_id)
        try:
            yield
        finally:
            self._busy.discard(conversation_id)

    async def _grow(self, actor: Actor, asked: Asked, writer: Writer) -> None:
        """Let the conversation grow by what came to its end."""
        if asked.conversation_id is not None and writer.complete:
            with suppress(Missing):  # it was deleted in the meantime
                items = [*asked.input, *writer.body["output"]]
                await self._transcripts.append(actor.whose, asked.conversation_id, items)

    # what is kept -----------------------------------------------------------------------------------------------------

    async def get(self, actor: Actor, response_id: str) -> dict[str, Any]:
        """The response object, as it is now. Missing(`response_not_found`) also when it is somebody else's."""
        await self._gate.require(actor, Action.RESPONSES_READ, owner_id=actor.person_id)
        return await self._get(actor, response_id)

    async def input_items(self, actor: Actor, response_id: str) -> tuple[Item, ...]:
        """What it was made from, with what came before it. Raises Missing(`response_not_found`)."""
        await self._gate.require(actor, Action.RESPONSES_READ, owner_id=actor.person_id)
        return await self._kept.context(actor.whose, response_id, with_output=False)

    async def follow(self, actor: Actor, response_id: str, after: int) -> AsyncGenerator[Told, None]:
        """A background response's stream from the event after number `after` on, to its end.

        Nothing where it has none: it was not in the background, or a restart of the service interrupted it.
        """
        await self._gate.require(actor, Action.RESPONSES_READ, owner_id=actor.person_id)
        live = self._live.find(actor.whose, response_id)
        if live is None:
            for told in (await self._kept.events(actor.whose, response_id) or [])[after + 1 :]:
                yield told
            return
        async with aclosing(live.follow(after + 1)) as events:
            async for told in events:
                yield told

    async def cancel(self, actor: Actor, response_id: str) -> dict[str, Any]:
        """End a background response; the object. One that has ended already stays as it is."""
        await self._gate.require(actor, Action.RESPONSES_CANCEL, owner_id=actor.person_id)
        live = self._live.find(actor.whose, response_id)
        if live is not None:
            await self._audit.record(
                Event.RESPONSE_CANCELLED, actor, target=f"response:{response_id}", facts=where(actor)
            )
            await live.stop()
        return await self._get(actor, response_id)

    async def delete(self, actor: Actor, response_id: str) -> None:
        """Delete a response, and end it where it is still being written. Raises Missing(`response_not_found`)."""
        await self._gate.require(actor, Action.RESPONSES_DELETE, owner_id=actor.person_id)
        live = self._live.find(actor.whose, response_id)
        if live is not None:
            await live.stop()
        async with self._audit.transaction() as (connection, record):
            await self._kept.delete(actor.whose, response_id, connection)
            record(Event.RESPONSE_DELETED, actor, target=f"response:{response_id}", facts=where(actor))
        await self._inference.forget(actor.person_id)

    async def _get(self, actor: Actor, response_id: str) -> dict[str, Any]:
        live = self._live.find(actor.whose, response_id)
        if live is not None:
            return live.writer.body
        kept = await self._kept.get(actor.whose, response_id)
        return {**kept.body, "output": list(kept.output)}


def _sealed_for(actor: Actor) -> str:
    """What was thought in a workspace cannot be handed back outside it."""
    return actor.person_id if actor.workspace is None else f"{actor.person_id}/{actor.workspace}"


def _kept(asked: Asked, body: dict[str, Any]) -> KeptResponse:
    without = {name: value for name, value in body.items() if name != "output"}
    return KeptResponse(asked.id, without, asked.input, tuple(body["output"]), asked.previous_id)
