"""One generation from grant to last event: every choice is read from its own engine request, usage is always known.

The first choice waits its turn in the queue. Further ones (`choices` > 1) run beside it on slots that happen to be
free, else after it on the same slot: a request never holds more slots than the model has, and never queues twice.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import replace
from typing import Protocol

from intramural.core.chat import ChatEvent, ChatRequest, Usage
from intramural.core.clock import Clock
from intramural.core.errors import IntramuralError, Misasked, Unavailable
from intramural.core.ids import new_id
from intramural.serving.exchange import Exchange
from intramural.serving.model import ModelToServe
from intramural.serving.request import MAX_CHOICES, build
from intramural.serving.schema import Bounds
from intramural.serving.stream import AnswerReader, refusal
from intramural.serving.tools import Drive, drive, plain

#: Models below this plan are taken for small ones, which ramble where a schema leaves room.
_SMALL_BYTES = 2 * 2**30
_SMALL_BOUNDS = Bounds(string_chars=256, items=8, calls=2)
_BOUNDS = Bounds(string_chars=16384, items=256, calls=16)
#: Events of concurrent choices that may wait for the reader; beyond it the engine is held back.
_MERGE_LIMIT = 64


class Lease(Protocol):
    """A slot of a ready worker, held until its context ends."""

    async def ask(self, method: str, target: str, body: bytes) -> Exchange:
        """One request. Raises Broken if the worker is gone."""
        ...

    async def blame(self, error: IntramuralError) -> IntramuralError:
        """What to tell the client when `error` came up: why the worker was ended, if it was."""
        ...


class Slots(Protocol):
    """Whoever hands out slots (the pool)."""

    def lease(
        self,
        model: ModelToServe,
        on_wait: Callable[[int], None] | None = None,
        *,
        needs_slot: bool = True,
        spare_only: bool = False,
    ) -> AbstractAsyncContextManager[Lease]: ...


class Stream(AsyncIterator[ChatEvent]):
    """The events of one request. `usage` holds the engine's counts so far, and the final ones after any ending.

    `waited_ms` is the time from asking until a slot was granted (or until it was given up). `under_way` is set as soon
    as there is nothing left to do but wait: for the worker, for a turn, or because it is over.

    Closing it (`aclose`) or cancelling its reader is the client leaving: the worker's slot is let go at once.
    """

    def __init__(
        self,
        slots: Slots,
        model: ModelToServe,
        request: ChatRequest,
        on_wait: Callable[[int], None] | None,
        clock: Clock,
    ) -> None:
        if not 1 <= request.choices <= MAX_CHOICES:
            raise Misasked("value_out_of_range", f"n must be from 1 to {MAX_CHOICES}.", param="n")
        small = model.plan.memory_bytes < _SMALL_BYTES
        self._slots = slots
        self._model = model
        self._on_wait = on_wait
        self.under_way = asyncio.Event()
        self._clock = clock
        self.waited_ms = 0.0
        self._drive: Drive | None = drive(request, _SMALL_BOUNDS if small else _BOUNDS)
        self._request = self._drive.request if self._drive else request
        if self._drive is None and any(m.tool_calls or m.role == "tool" for m in request.messages):
            self._request = replace(request, messages=plain(request.messages))
        self._first_ask = build(self._request, 0)  # what is wrong with a request is said before it waits
        self._readers = [AnswerReader(index, request.sampling.top_logprobs) for index in range(request.choices)]
        self._left = list(reversed(range(request.choices)))
        self._events = self._one() if request.choices == 1 else self._many()

    @property
    def usage(self) -> Usage:
        """The engine's counts: the prompt once, all choices' completions."""
        if len(self._readers) == 1:
            return self._readers[0].usage
        counts = [reader.usage for reader in self._readers]
        first = max(counts, key=lambda usage: usage.prompt_tokens)
        return Usage(
            prompt_tokens=first.prompt_tokens,
            completion_tokens=sum(usage.completion_tokens for usage in counts),
            cached_tokens=first.cached_tokens,
            prompt_ms=first.prompt_ms,
            completion_ms=sum(usage.completion_ms for usage in counts),
        )

    def __aiter__(self) -> "Stream":
        return self

    def __anext__(self) -> Awaitable[ChatEvent]:
        # The generator's own awaitable, without a coroutine of ours around it: this runs once a token.
        return self._events.__anext__()

    async def aclose(self) -> None:
        """Stop. Safe at any time, also after the end."""
        self.under_way.set()
        await self._events.aclose()

    def _told_to_wait(self, position: int) -> None:
        self.under_way.set()
        if self._on_wait is not None:
            self._on_wait(position)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[Lease]:
        """The slot we waited for."""
        began_s = self._clock.monotonic_s()
        try:
            async with self._slots.lease(self._model, self._told_to_wait) as lease:
                self.waited_ms = (self._clock.monotonic_s() - began_s) * 1000
                began_s = -1.0
                yield lease
        finally:
            if began_s >= 0:
                self.waited_ms = (self._clock.monotonic_s() - began_s) * 1000

    async def _one(self) -> AsyncGenerator[ChatEvent, None]:
        async with self._turn() as lease, aclosing(self._choice(lease, 0)) as events:
            async for event in events:
                yield event
        yield self.usage

    async def _many(self) -> AsyncGenerator[ChatEvent, None]:
        merged: asyncio.Queue[ChatEvent | IntramuralError | None] = asyncio.Queue(_MERGE_LIMIT)
        lanes = min(self._model.plan.slots, len(self._readers))
        running: set[asyncio.Task[None]] = set()
        try:
            running.add(asyncio.create_task(self._lane(merged, running, lanes - 1)))
            while (event := await merged.get()) is not None:
                if isinstance(event, IntramuralError):
                    raise event
                yield event
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        yield self.usage

    async def _lane(
        self,
        merged: "asyncio.Queue[ChatEvent | IntramuralError | None]",
        running: "set[asyncio.Task[None]]",
        helpers: int,
    ) -> None:
        """The first lane: waits for its turn, brings in helpers on spare slots, and writes the end."""
        try:
            async with self._turn() as lease:
                spare = [asyncio.create_task(self._spare_lane(merged)) for _ in range(helpers)]
                running.update(spare)
                await self._choices(lease, merged)
            await asyncio.gather(*spare)
            await merged.put(None)
        except IntramuralError as error:
            await merged.put(error)

    async def _spare_lane(self, merged: "asyncio.Queue[ChatEvent | IntramuralError | None]") -> None:
        try:
            async with self._slots.lease(self._model, spare_only=True) as lease:
                await self._choices(lease, merged)
        except Unavailable as error:
            if error.code != "no_spare_slot":
                raise

    async def _choices(self, lease: Lease, merged: "asyncio.Queue[ChatEvent | IntramuralError | None]") -> None:
        while self._left:
            async with aclosing(self._choice(lease, self._left.pop())) as events:
                async for event in events:
                    await merged.put(event)

    async def _choice(self, lease: Lease, index: int) -> AsyncGenerator[ChatEvent, None]:
        """One choice's events. Closes the engine's connection however it ends: that is what frees the slot."""
        reader = self._readers[index]
        calls = self._drive.reader(index, lambda: new_id("call", self._clock)) if self._drive else None
        exchange: Exchange | None = None
        try:
            target, body = self._first_ask if index == 0 else build(self._request, index)
            exchange = await lease.ask("POST", target, body)
            self.under_way.set()
            if (status := await exchange.status()) != 200:
                raise refusal(status, await exchange.read_all())
            while data := await exchange.read():
                for event in reader.feed(data):
                    for shown in calls.feed(event) if calls else (event,):
                        yield shown
                if calls is not None and calls.over:
                    return
            reader.end()
        except IntramuralError as error:
            if self._drive is not None and error.code == "invalid_schema":
                error.param = "tools"
            raise await lease.blame(error) from error
        finally:
            if exchange is not None:
                exchange.close()
