"""Batches: durable work that goes on without whoever asked for it, behind the people who are waiting.

A batch has a lower claim than a request: one of its lines is answered at a time, only few batches are worked on at once
and one of each person, and before each line the queue is let empty (for a minute at most). What the service's end
interrupts goes on at its next start; see `batch_work` for what is promised then.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from intramural.access import Action
from intramural.audit import Event, Fact
from intramural.batches import Batch, Line
from intramural.core.actor import Actor
from intramural.core.errors import Conflicting, IntramuralError, Misasked, Missing, Refused
from intramural.core.ids import new_id
from intramural.services.batch_work import BatchWork, Form, Workshop
from intramural.services.files import require_person
from intramural.services.gate import Gate, where

log = logging.getLogger(__name__)

#: A batch that is not done after a day ends with what it has, as both dialects promise.
WINDOW_MS = 86_400_000
#: After a disk or the log failed, its work is tried again this much later.
_PAUSE_S = 15.0


class BatchDesk:
    """Batches of an actor's person, of the workspace that they ask in.

    `recall` when the house is opened, `go_on` when it serves, `close` before it ends. `speak` tells it a dialect's
    form; without one its batches wait.
    """

    def __init__(self, gate: Gate, shop: Workshop) -> None:
        self._gate = gate
        self._shop = shop
        self._forms: dict[str, Form] = {}
        self._at_work: dict[str, tuple[Batch, BatchWork, asyncio.Task[None]]] = {}
        self._paused: set[str] = set()
        self._beginning: set[str] = set()
        self._wake = asyncio.Event()
        self._foreman: asyncio.Task[None] | None = None

    @property
    def max_body_bytes(self) -> int:
        """How large a body may be that brings a batch's requests with it."""
        return self._shop.config.max_body_bytes

    def speak(self, form: Form) -> None:
        """Know a dialect."""
        self._forms[form.dialect] = form

    async def recall(self) -> None:
        """At start: remove inputs that belong to no unfinished batch."""
        await asyncio.to_thread(self._shop.inputs.prepare)
        await self.sweep()

    async def inputs_of(self, person_id: str) -> Sequence[str]:
        """This person's batches whose input lies on the disk."""
        lying = await asyncio.to_thread(self._shop.inputs.ids)
        return [each.id for each in await self._shop.rows.open() if each.person_id == person_id and each.id in lying]

    async def seal_clear(self) -> int:
        """At start: seal the inputs that an older version left in clear. How many."""
        await asyncio.to_thread(self._shop.inputs.prepare)
        seal = self._shop.inputs.seal_clear
        return sum([await asyncio.to_thread(seal, each.person_id, each.id) for each in await self._shop.rows.open()])

    async def sweep(self) -> None:
        """Remove inputs that belong to no unfinished batch: of crashes, and of people who were removed."""
        lying = await asyncio.to_thread(self._shop.inputs.ids) - self._beginning
        known = {batch.id for batch in await self._shop.rows.open()}
        for batch_id in lying - known - self._beginning:
            await asyncio.to_thread(self._shop.inputs.drop_all, batch_id)

    async def go_on(self) -> None:
        """Work on what there is, from now on."""
        self._foreman = asyncio.create_task(self._dispatch(), name="batches")

    async def close(self) -> None:
        """Stop working; what is unfinished goes on at the next start."""
        tasks = [task for _, _, task in self._at_work.values()]
        tasks += [self._foreman] if self._foreman is not None else []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # what people ask for --------------------------------------------------------------------------------------

    async def create_from_file(
        self,
        actor: Actor,
        dialect: str,
        endpoint: str,
        file_id: str,
        *,
        notes: Mapping[str, str] | None,
        output_expires_s: int | None,
    ) -> Batch:
        """A batch whose requests are the lines of a stored file with the purpose `batch`; they are checked later.

        Raises Missing(`file_not_found`), Misasked(`bad_purpose`), Refused(`too_many_batches`).
        """
        batch = await self._begun(actor, dialect, endpoint)
        try:
            file = await self._shop.files.get(actor.whose, file_id)
        except Missing as error:
            error.param = "input_file_id"
            raise
        if file.purpose != "batch":
            hint = "Upload it with the purpose `batch`."
            message = f"The file is for {file.purpose!r}."
            raise Misasked("bad_purpose", message, hint, param="input_file_id")
        async with self._input(batch.id):
            await self._shop.files.lend(actor.whose, file_id, self._shop.inputs, batch.id)
            batch = replace(batch, input_file_id=file_id, notes=notes, output_expires_s=output_expires_s)
            return await self._added(actor, batch)

    async def create_from_lines(self, actor: Actor, dialect: str, endpoint: str, lines: Sequence[bytes]) -> Batch:
        """A batch whose requests came with it, checked. Raises Refused(`too_many_batches`), Misasked, Unavailable."""
        if len(lines) > self._shop.config.max_requests:
            message = f"A batch holds at most {self._shop.config.max_requests} requests."
            raise Misasked("too_many_requests_in_batch", message, "Send several batches.", param="requests")
        batch = await self._begun(actor, dialect, endpoint)
        async with self._input(batch.id):
            arriving = self._shop.inputs.arriving(actor.person_id, batch.id, lambda _: None)
            for line in lines:
                await arriving.write(line + b"\n")
            await arriving.finish()
            begun_ms = self._shop.now_ms()
            return await self._added(actor, replace(batch, state="in_progress", total=len(lines), begun_ms=begun_ms))

    async def get(self, actor: Actor, dialect: str, batch_id: str) -> Batch:
        """Missing(`batch_not_found`) also when it is somebody else's."""
        await self._gate.require(actor, Action.BATCHES_READ, owner_id=actor.person_id)
        return await self._shop.rows.get(actor.whose, dialect, batch_id)

    async def list(
        self, actor: Actor, dialect: str, *, limit: int, after: str | None = None, before: str | None = None
    ) -> list[Batch]:
        """A page of them, the newest first."""
        await self._gate.require(actor, Action.BATCHES_READ, owner_id=actor.person_id)
        return await self._shop.rows.list(actor.whose, dialect, limit=limit, after=after, before=before)

    async def cancel(self, actor: Actor, dialect: str, batch_id: str) -> Batch:
        """End it early; what was answered is kept. Raises Missing, Conflicting(`batch_over`)."""
        await self._gate.require(actor, Action.BATCHES_CANCEL, owner_id=actor.person_id)
        async with self._shop.audit.transaction() as (connection, record):
            batch = await self._shop.rows.get(actor.whose, dialect, batch_id, connection)
            if not batch.is_open:
                raise Conflicting("batch_over", f"This batch is {batch.state}.", "There is nothing left to cancel.")
            if batch.state in ("validating", "in_progress"):
                now_ms = self._shop.now_ms()
                changed = await self._shop.rows.change(connection, batch_id, state="cancelling", cancelling_ms=now_ms)
                batch = changed or batch
            record(Event.BATCH_CANCELLED, actor, target=f"batch:{batch_id}", facts=where(actor))
        if (at_work := self._at_work.get(batch_id)) is not None:
            at_work[1].cancelled.set()
        self._wake.set()
        return batch

    async def delete(self, actor: Actor, dialect: str, batch_id: str) -> None:
        """Forget one that has ended, with its results. Raises Missing, Conflicting(`batch_running`)."""
        await self._gate.require(actor, Action.BATCHES_DELETE, owner_id=actor.person_id)
        async with self._shop.audit.transaction() as (connection, record):
            batch = await self._shop.rows.get(actor.whose, dialect, batch_id, connection)
            if batch.is_open:
                raise Conflicting("batch_running", f"This batch is {batch.state}.", "Cancel it first.")
            await self._shop.rows.delete(connection, batch_id)
            record(Event.BATCH_DELETED, actor, target=f"batch:{batch_id}", facts=where(actor))

    async def results(self, actor: Actor, dialect: str, batch_id: str) -> AsyncGenerator[Line, None]:
        """Every line's result, in order. Raises Missing, Conflicting(`batch_running`), before the first one."""
        batch = await self.get(actor, dialect, batch_id)
        if batch.is_open:
            raise Conflicting("batch_running", f"This batch is {batch.state}.", "Ask again when it has ended.")
        return self._shop.rows.lines(batch)

    @asynccontextmanager
    async def _input(self, batch_id: str) -> AsyncIterator[None]:
        """While a batch's input is put on the disk: without a row, nothing of it stays."""
        self._beginning.add(batch_id)
        try:
            yield
        finally:
            await asyncio.shield(self._drop_unless_known(batch_id))

    async def _drop_unless_known(self, batch_id: str) -> None:
        if await self._shop.rows.find(batch_id) is None:
            await asyncio.to_thread(self._shop.inputs.drop_all, batch_id)
        self._beginning.discard(batch_id)

    async def _begun(self, actor: Actor, dialect: str, endpoint: str) -> Batch:
        await self._gate.require(actor, Action.BATCHES_CREATE, owner_id=actor.person_id)
        require_person(actor)
        now_ms = self._shop.now_ms()
        return Batch(
            new_id(self._forms[dialect].prefix, self._shop.clock),
            actor.person_id,
            actor.kind,
            actor.credential_id,
            dialect,
            endpoint,
            now_ms,
            now_ms + WINDOW_MS,
            workspace_id=actor.workspace,
            purpose_there=actor.purpose or None,
        )

    async def _added(self, actor: Actor, batch: Batch) -> Batch:
        """Its input is on the disk: add it."""
        facts: dict[str, Fact] = {"dialect": batch.dialect, "endpoint": batch.endpoint, **where(actor)}
        async with self._shop.audit.transaction() as (connection, record):
            if await self._shop.rows.count_open(connection, actor.person_id) >= self._shop.config.max_person_open:
                message = f"You have {self._shop.config.max_person_open} unfinished batches."
                raise Refused("too_many_batches", message, "Wait until one has ended, or cancel one.")
            await self._shop.rows.add(connection, batch)
            record(Event.BATCH_CREATED, actor, target=f"batch:{batch.id}", facts=facts)
        self._wake.set()
        return batch

    # the work -------------------------------------------------------------------------------------------------

    async def _dispatch(self) -> None:
        while True:
            self._wake.clear()
            try:
                for batch in await self._shop.rows.open():
                    if self._may_begin(batch):
                        self._begin(batch)
            except IntramuralError as error:
                log.error("the batches cannot be looked up: %s", error.code)
            await self._wake.wait()

    def _may_begin(self, batch: Batch) -> bool:
        if batch.id in self._at_work or batch.id in self._paused or batch.dialect not in self._forms:
            return False
        if batch.state in ("cancelling", "finalizing"):
            return True  # nothing is answered any more
        busy = {other.person_id for other, _, _ in self._at_work.values()}
        return len(self._at_work) < self._shop.config.parallel and batch.person_id not in busy

    def _begin(self, batch: Batch) -> None:
        work = BatchWork(self._shop, self._forms[batch.dialect], batch.id)
        task = asyncio.create_task(work.run(), name=batch.id)
        self._at_work[batch.id] = (batch, work, task)
        task.add_done_callback(self._over(batch, work))

    def _over(self, batch: Batch, work: BatchWork) -> Callable[[asyncio.Task[None]], None]:
        def over(task: asyncio.Task[None]) -> None:
            del self._at_work[batch.id]
            error = None if task.cancelled() else task.exception()
            if isinstance(error, IntramuralError):
                log.error("%s has to wait: %s", batch.id, error.code)
                self._pause(batch.id)
            elif error is not None:  # a fault of ours: it would come again at the same line
                log.error("%s is stopped", batch.id, exc_info=error)
                stopping = asyncio.create_task(work.stop("internal_error", "The service failed at this batch."))
                self._at_work[batch.id] = (batch, work, stopping)
                stopping.add_done_callback(self._stopped(batch.id))
            self._wake.set()

        return over

    def _stopped(self, batch_id: str) -> Callable[[asyncio.Task[None]], None]:
        def stopped(task: asyncio.Task[None]) -> None:
            del self._at_work[batch_id]
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("%s cannot be stopped", batch_id, exc_info=error)
                self._paused.add(batch_id)  # until the next start
            self._wake.set()

        return stopped

    def _pause(self, batch_id: str) -> None:
        def again() -> None:
            self._paused.discard(batch_id)
            self._wake.set()

        self._paused.add(batch_id)
        asyncio.get_running_loop().call_later(_PAUSE_S, again)
