"""One batch's life: its lines are checked, answered one after another, and put together. Part of `batches`.

Every step begins from what the database holds, so that it can be begun again after any crash: a line's result and the
counts are one transaction, and lines are answered in their order, so the number of results says where to go on. What
a crash can cost is the answer that was being written when it came; that line is asked again.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from msgspec.structs import replace

from intramural.audit import AuditLog, Event, Fact
from intramural.batches import Batch, Batches, Ending, Line, LineOutcome
from intramural.core.actor import SYSTEM, Actor
from intramural.core.chat import Usage
from intramural.core.clock import Clock
from intramural.core.config import BatchesConfig
from intramural.core.errors import Misasked, Unauthenticated
from intramural.core.work import Work
from intramural.files import Arriving, Disk, Files, Most, StoredFile
from intramural.services.standing import Again

#: A service that is overloaded is asked again so often, waiting longer each time, before its answer is the line's.
_TRIES = 6
_FIRST_WAIT_S = 1.0
_BUSY = frozenset({429, 502, 503, 529})
#: What is wrong with an input is told of so many lines.
_MAX_ERRORS = 100
_SKIPPED_AT_ONCE = 500
_NOTHING = Usage(0, 0)


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the input: its owner's name for it, and the request's JSON."""

    custom_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What a request was answered, as HTTP would have carried it."""

    status: int
    body: bytes
    request_id: str | None
    usage: Usage = _NOTHING


class Form(Protocol):
    """A dialect's way to write a batch."""

    dialect: str
    prefix: str
    #: Whether results become stored files; else they stay as lines.
    writes_files: bool

    def item(self, line: bytes, endpoint: str) -> Item:
        """A line of the input. Raises Misasked with what is wrong with it."""
        ...

    async def ask(self, actor: Actor, endpoint: str, body: bytes) -> Reply:
        """Answer a request as `actor`, in the very way that it would be answered over HTTP."""
        ...

    def result(self, line: Line) -> tuple[bytes | None, bytes | None]:
        """The line of the output file, or of the error file (None: in neither)."""
        ...


@dataclass(frozen=True, slots=True)
class Workshop:
    """What the work needs."""

    rows: Batches
    inputs: Disk
    files: Files
    audit: AuditLog
    again: Again
    clock: Clock
    config: BatchesConfig
    max_line_bytes: int

    def now_ms(self) -> int:
        return int(self.clock.now_s() * 1000)


class BatchWork:
    """The work on one batch. `run` it; set `cancelled` when its owner asked for that."""

    def __init__(self, shop: Workshop, form: Form, batch_id: str) -> None:
        self._shop = shop
        self._form = form
        self._id = batch_id
        self.cancelled = asyncio.Event()

    async def run(self) -> None:
        """Go on from wherever it is, until it has ended. Raises IntramuralError where the disk or the log fails."""
        batch = await self._shop.rows.find(self._id)
        if batch is not None and batch.state == "validating":
            batch = await self._check(batch)
        if batch is not None and batch.state == "in_progress":
            batch = await self._answer(batch)
        if batch is not None and batch.state == "cancelling":
            batch = await self._put_together(batch, "cancelled")
        if batch is not None and batch.state == "finalizing":
            await self._finish(batch)

    async def stop(self, code: str, message: str) -> None:
        """End it for a fault of our own: what was answered is put together."""
        batch = await self._shop.rows.find(self._id)
        if batch is not None and batch.is_open:
            await self._finish(await self._put_together(batch, "cancelled", code, message) or batch)

    # checking -------------------------------------------------------------------------------------------------

    async def _check(self, batch: Batch) -> Batch | None:
        errors, total = await self._faults(batch)
        now_ms = self._shop.now_ms()
        if errors:
            facts: dict[str, Fact] = {"state": "failed", "total": total, "errors": len(errors)}
            async with self._shop.audit.transaction() as (connection, record):
                changed = await self._shop.rows.change(
                    connection, batch.id, state="failed", errors=errors, total=total, ended_ms=now_ms
                )
                record(Event.BATCH_ENDED, SYSTEM, target=f"batch:{batch.id}", outcome="failed", facts=facts)
            await asyncio.to_thread(self._shop.inputs.drop, batch.id)
            return changed
        return await self._change_unless_cancelled(state="in_progress", total=total, begun_ms=now_ms)

    async def _faults(self, batch: Batch) -> tuple[list[dict[str, Any]], int]:
        """What is wrong with the input, and how many requests it holds."""
        seen: dict[str, int] = {}
        errors: list[dict[str, Any]] = []
        total = 0
        async with aclosing(self._lines(batch.person_id)) as lines:
            async for number, line in lines:
                total += 1
                try:
                    if total > self._shop.config.max_requests:
                        most = self._shop.config.max_requests
                        raise Misasked("too_many_requests_in_batch", f"A batch holds at most {most} requests.")
                    custom_id = self._form.item(line, batch.endpoint).custom_id
                    if custom_id in seen:
                        message = f"{custom_id!r} is line {seen[custom_id]} already."
                        raise Misasked("duplicate_custom_id", message, param="custom_id")
                    seen[custom_id] = number
                except Misasked as error:
                    errors.append({"code": error.code, "line": number, "message": str(error), "param": error.param})
                    if len(errors) == _MAX_ERRORS or error.code == "too_many_requests_in_batch":
                        break
        if not total:
            errors.append({"code": "empty_file", "line": None, "message": "The input holds no request.", "param": None})
        return errors, total

    async def _lines(self, person_id: str) -> AsyncGenerator[tuple[int, bytes], None]:
        """Number (from 1, as an editor counts) and bytes of every line that is not blank; one that is too long is cut,
        and so no JSON any more."""
        opened = await asyncio.to_thread(self._shop.inputs.open, person_id, self._id)
        number = 0
        most = self._shop.max_line_bytes
        with opened:
            while line := await asyncio.to_thread(opened.readline, most):
                number += 1
                whole = line
                while len(line) == most and not line.endswith(b"\n"):
                    line = await asyncio.to_thread(opened.readline, most)
                if whole.strip():
                    yield number, whole

    # answering ------------------------------------------------------------------------------------------------

    async def _answer(self, batch: Batch) -> Batch | None:
        """Answer the lines that have no result, as long as there is time and the owner may."""
        position = -1
        async with aclosing(self._lines(batch.person_id)) as lines:
            async for _, line in lines:
                position += 1
                if position < batch.recorded:
                    continue
                if self.cancelled.is_set():
                    return await self._shop.rows.find(batch.id)
                if self._shop.now_ms() >= batch.expires_ms:
                    return await self._put_together(batch, "expired")
                try:
                    actor = await self._shop.again(
                        batch.actor_kind,
                        batch.person_id,
                        batch.credential_id,
                        batch.workspace_id,
                        batch.purpose_there or "",
                    )
                except Unauthenticated as error:
                    return await self._put_together(batch, "cancelled", error.code, error.message)
                item = self._form.item(line, batch.endpoint)
                actor = replace(actor, work=Work.BATCH, repeatable=True)  # whoever waits for an answer goes first
                reply = await self._unless_cancelled(self._reply(actor, batch.endpoint, item.body))
                if reply is None:
                    return await self._shop.rows.find(batch.id)
                await self._record(batch.id, _line(position, item.custom_id, reply), reply.usage)
        return await self._put_together(batch, "completed")

    async def _unless_cancelled(self, asking: Awaitable[Reply]) -> Reply | None:
        """What `asking` gives; None when the owner cancels before, or the batch is gone."""
        task, stop = asyncio.ensure_future(asking), asyncio.ensure_future(self.cancelled.wait())
        try:
            await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            stop.cancel()
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _reply(self, actor: Actor, endpoint: str, body: bytes) -> Reply:
        wait_s = _FIRST_WAIT_S
        for _ in range(_TRIES):
            reply = await self._form.ask(actor, endpoint, body)
            if reply.status not in _BUSY:
                break
            await asyncio.sleep(wait_s)
            wait_s *= 2
        return reply

    async def _record(self, batch_id: str, line: Line, usage: Usage) -> None:
        """The line's result and the counts, in one transaction. A batch that is gone takes nothing."""
        async with self._shop.rows.writing() as connection:
            batch = await self._shop.rows.find(batch_id, connection)
            if batch is None:
                self.cancelled.set()
                return
            await self._shop.rows.record(connection, batch, [line])
            good = line.outcome == "succeeded"
            await self._shop.rows.change(
                connection,
                batch_id,
                completed=batch.completed + good,
                failed=batch.failed + (not good),
                prompt_tokens=batch.prompt_tokens + usage.prompt_tokens,
                cached_tokens=batch.cached_tokens + usage.cached_tokens,
                completion_tokens=batch.completion_tokens + usage.completion_tokens,
                reasoning_tokens=batch.reasoning_tokens + usage.reasoning_tokens,
            )

    # putting together -----------------------------------------------------------------------------------------

    async def _put_together(self, batch: Batch, ending: Ending, code: str = "", message: str = "") -> Batch | None:
        """No line is answered any more."""
        errors = [{"code": code, "line": None, "message": message, "param": None}] if code else []
        values = {"state": "finalizing", "ending": ending, "finalizing_ms": self._shop.now_ms(), "errors": errors}
        if ending == "cancelled":
            return await self._changed(**values)
        return await self._change_unless_cancelled(**values)

    async def _change_unless_cancelled(self, **values: Any) -> Batch | None:
        async with self._shop.rows.writing() as connection:
            now = await self._shop.rows.find(self._id, connection)
            if now is None or now.state == "cancelling":
                return now
            return await self._shop.rows.change(connection, self._id, **values)

    async def _changed(self, **values: Any) -> Batch | None:
        async with self._shop.rows.writing() as connection:
            return await self._shop.rows.change(connection, self._id, **values)

    async def _finish(self, batch: Batch) -> None:
        ending: Ending = batch.ending or "cancelled"
        await self._skip_the_rest(batch, "expired" if ending == "expired" else "canceled")
        arrived: list[Arriving | None] = [None, None]
        try:
            if self._form.writes_files:
                arrived = await self._written(batch)
            await self._end(batch, ending, arrived)
        finally:
            for each in arrived:
                if each is not None:
                    await self._shop.files.settled(batch.whose, each, counted=False)
        await asyncio.to_thread(self._shop.inputs.drop, batch.id)

    async def _skip_the_rest(self, batch: Batch, outcome: LineOutcome) -> None:
        """Lines that were never answered get a result that says so. (One that was never checked has a total of 0.)"""
        if batch.recorded >= batch.total:
            return
        position, pending = -1, []
        async with aclosing(self._lines(batch.person_id)) as lines:
            async for _, line in lines:
                position += 1
                if position < batch.recorded:
                    continue
                pending.append(Line(position, self._form.item(line, batch.endpoint).custom_id, outcome))
                if len(pending) == _SKIPPED_AT_ONCE:
                    await self._skip(pending)
                    pending = []
        await self._skip(pending)

    async def _skip(self, lines: list[Line]) -> None:
        if not lines:
            return
        async with self._shop.rows.writing() as connection:
            batch = await self._shop.rows.find(self._id, connection)
            if batch is not None:
                await self._shop.rows.record(connection, batch, lines)
                await self._shop.rows.change(connection, self._id, skipped=batch.skipped + len(lines))

    async def _written(self, batch: Batch) -> "list[Arriving | None]":
        """Output and error file on the disk; None for one that would be empty."""
        arrived: list[Arriving | None] = [None, None]
        try:
            async with aclosing(self._shop.rows.lines(batch)) as lines:
                async for line in lines:
                    for which, text in enumerate(self._form.result(line)):
                        if text is None:
                            continue
                        arriving = arrived[which]
                        if arriving is None:
                            arriving = arrived[which] = await self._shop.files.arriving(batch.whose, counted=False)
                        await arriving.write(text + b"\n")
            for arriving in arrived:
                if arriving is not None:
                    await arriving.finish()
        except BaseException:
            for arriving in arrived:
                if arriving is not None:
                    await self._shop.files.settled(batch.whose, arriving, counted=False)
            raise
        return arrived

    async def _end(self, batch: Batch, ending: Ending, arrived: "list[Arriving | None]") -> None:
        """The files and the batch's end, in one transaction. A batch that is gone meanwhile has no files."""
        shop, now_ms = self._shop, self._shop.now_ms()
        async with shop.audit.transaction() as (connection, record):
            found = await shop.rows.find(batch.id, connection)
            files: list[StoredFile | None] = [None, None]
            for which, arriving in enumerate(arrived):
                if arriving is not None and found is not None:
                    kind = ("output", "error")[which]
                    expires_ms = now_ms + batch.output_expires_s * 1000 if batch.output_expires_s else None
                    files[which] = await shop.files.keep(
                        connection,
                        batch.whose,
                        arriving,
                        name=f"{batch.id}_{kind}.jsonl",
                        purpose="batch_output",
                        expires_ms=expires_ms,
                        counted=False,
                        most=Most(key_id=batch.credential_id if batch.actor_kind == "key" else None),
                    )
            for file in files:
                if file is not None:
                    facts: dict[str, Fact] = {"purpose": file.purpose, "size_bytes": file.size_bytes, "batch": batch.id}
                    record(Event.FILE_STORED, SYSTEM, target=f"file:{file.id}", facts=facts)
            output, errors = (None if file is None else file.id for file in files)
            if self._form.writes_files:
                await shop.rows.drop_lines(connection, batch.id)
            ended = await shop.rows.change(
                connection, batch.id, state=ending, ended_ms=now_ms, output_file_id=output, error_file_id=errors
            )
            record(Event.BATCH_ENDED, SYSTEM, target=f"batch:{batch.id}", outcome="finished", facts=_facts(ended))


def _line(position: int, custom_id: str, reply: Reply) -> Line:
    outcome: LineOutcome = "succeeded" if 200 <= reply.status < 300 else "errored"
    body = reply.body.decode("utf-8", "replace")
    return Line(position, custom_id, outcome, reply.status, reply.request_id, body)


def _facts(batch: Batch | None) -> Mapping[str, Fact]:
    if batch is None:
        return {"state": "removed"}
    names = ("state", "total", "completed", "failed", "skipped", "prompt_tokens", "completion_tokens")
    return {name: getattr(batch, name) for name in names}
