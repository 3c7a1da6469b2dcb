"""One generation from grant to last event: every choice is read from its own engine request, usage is always known.

The first choice waits its turn in the queue. Further ones (`choices` > 1) run beside it on slots that happen to be
free, else after it on the same slot: a request never holds more slots than the model has, and never queues twice,
but where its answer was paused for somebody else: then it goes on where it stopped (`onward`).
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from types import TracebackType
from typing import Protocol

from msgspec.structs import replace

from intramural.core.chat import ChatEvent, ChatRequest, Finished, Thinking, ToolCallDelta, Usage
from intramural.core.clock import Clock
from intramural.core.errors import IntramuralError, Unavailable
from intramural.core.ids import new_id
from intramural.serving import formatted
from intramural.serving.asking import Way, first_of, is_small, put, ways_of
from intramural.serving.callreaders import FreeReader
from intramural.serving.exchange import Exchange
from intramural.serving.fairness import Begun
from intramural.serving.model import ModelToServe
from intramural.serving.onward import Written
from intramural.serving.remote.fields import translated
from intramural.serving.request import adapter_fields, build, placed, thinking_fields
from intramural.serving.stops import StopReader
from intramural.serving.stream import AnswerReader
from intramural.serving.traits import Asking, with_gap

#: Events of concurrent choices that may wait for the reader; beyond it the engine is held back.
_MERGE_LIMIT = 64


class _Stage(Protocol):
    """Turns events of one choice into those to show; `over`: whatever follows does not matter."""

    over: bool

    def feed(self, event: ChatEvent) -> list[ChatEvent]: ...


class Slots(Protocol):
    """Whoever hands out slots (the pool)."""

    def lease(
        self,
        model: ModelToServe,
        on_wait: Callable[[int], None] | None = None,
        *,
        needs_slot: bool = True,
        spare_only: bool = False,
        alone: bool = False,
        begun: Begun | None = None,
    ) -> AbstractAsyncContextManager[Asking]: ...


class UnderWay:
    """A moment that comes once. What is to be done then is done there and then, and must not fail."""

    def __init__(self) -> None:
        self._is_past = False
        self._then: list[Callable[[], None]] = []

    def then(self, act: Callable[[], None]) -> None:
        """`act` at that moment; now, if it is past."""
        if self._is_past:
            act()
        else:
            self._then.append(act)

    def set(self) -> None:
        """It is here. Later times say nothing."""
        self._is_past = True
        acts, self._then = self._then, []
        for act in acts:
            act()


class Stream(AsyncIterator[ChatEvent]):
    """The events of one request. `usage` holds the engine's counts so far, and the final ones after any ending.

    `waited_ms` is the time from asking until a slot was granted (or until it was given up), and that of its pauses.
    `under_way` is the moment when there is nothing left to do but wait: for the worker, for a turn, or because it is
    over.

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
        self._slots = slots
        self._model = model
        self._on_wait = on_wait
        self.under_way = UnderWay()
        self._clock = clock
        self.waited_ms = 0.0
        self._drive, self._request = put(model, request)
        #: What the answer must fit, as the client said it.
        wanted = request.response_format
        self._schema = (wanted.schema or {}) if wanted.kind == "json_schema" else None
        # What is wrong with a request is said before it waits.
        self._first_ask = build(self._request, 0, adapter_fields(self._model.scales))
        if model.remote is not None:
            translated(model.remote, *self._first_ask)
        self._readers = [self._reader(index, thoughts=request.prompt is None) for index in range(request.choices)]
        self._again: list[AnswerReader] = []  # of answers that had to be put right
        self._written = Written(self._request, self._drive, at_hand=model.remote is None)
        self._paused_stages: list[_Stage] = []  # of an answer that goes on: what they hold back is still held back
        self._left = list(reversed(range(request.choices)))
        self._events = self._one() if request.choices == 1 else self._many()

    @property
    def usage(self) -> Usage:
        """The engine's counts: the prompt once, all choices' completions, and what putting them right took."""
        if len(self._readers) == 1 and not self._again:
            return self._written.with_past(self._readers[0].usage)
        counts = [reader.usage for reader in (*self._readers, *self._again)]
        first = max(counts[: len(self._readers)], key=lambda usage: usage.prompt_tokens)
        return Usage(
            prompt_tokens=first.prompt_tokens,
            completion_tokens=sum(usage.completion_tokens for usage in counts),
            cached_tokens=first.cached_tokens,
            prompt_ms=first.prompt_ms,
            completion_ms=sum(usage.completion_ms for usage in counts),
            reasoning_tokens=sum(usage.reasoning_tokens for usage in counts),
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

    def _turn(self, begun: Begun | None = None) -> "_Turn":
        """The slot we waited for. `begun`: this is to go on."""
        on_wait = self._told_to_wait if begun is None else None
        asked = self._slots.lease(self._model, on_wait, alone=self._request.deterministic, begun=begun)
        return _Turn(asked, self._clock, self._waited)

    def _waited(self, waited_s: float) -> None:
        self.waited_ms += waited_s * 1000

    async def _one(self) -> AsyncGenerator[ChatEvent, None]:
        first_s = self._clock.monotonic_s()
        begun: Begun | None = None
        while True:
            try:
                async with self._turn(begun) as lease, aclosing(self._choice(lease, 0)) as parts:
                    async for events in parts:
                        for event in events:
                            yield event
                break
            except Unavailable as error:
                if error.code == "preempted" and self._written.ended:
                    break  # it was told to make room just when it had: what is missing is no more than the last counts
                if error.code != "preempted" or not self._written.can_pause:
                    raise
            if not self._goes_on():
                for event in _through(self._paused_stages, Finished(0, "length")):
                    yield event
                break
            begun = Begun(first_s, self._written.ahead_s)
        yield self.usage

    def _goes_on(self) -> bool:
        """Make the rest of a paused answer what is asked. False: there is nothing left to ask for."""
        self._written.stopped(self._readers[0].usage)
        self._readers[0] = self._reader(0)
        rest = self._written.rest()
        if rest is not None:
            self._request, self._first_ask = rest, build(rest, 0, adapter_fields(self._model.scales))
        return rest is not None

    async def _many(self) -> AsyncGenerator[ChatEvent, None]:
        merged: asyncio.Queue[ChatEvent | IntramuralError | None] = asyncio.Queue(_MERGE_LIMIT)
        lanes = 1 if self._request.deterministic else min(self._model.plan.slots, len(self._readers))
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

    async def _choices(self, lease: Asking, merged: "asyncio.Queue[ChatEvent | IntramuralError | None]") -> None:
        while self._left:
            async with aclosing(self._choice(lease, self._left.pop())) as parts:
                async for events in parts:
                    for event in events:
                        await merged.put(event)

    def _reader(self, index: int, *, thoughts: bool = False) -> AnswerReader:
        # Elsewhere, how tokens are counted is not ours to know.
        limit_tokens = 0 if self._model.remote is not None else self._model.plan.context_tokens
        top = self._request.sampling.top_logprobs
        return AnswerReader(index, top, thoughts=thoughts, limit_tokens=limit_tokens)

    def _new_call(self) -> str:
        return new_id("call", self._clock)

    def _stages(self, index: int, way: Way) -> "list[_Stage]":
        """What the events of a choice go through, in order."""
        stages: list[_Stage] = []
        if way.drive is not None:
            stages.append(way.drive.reader(index, self._new_call))
        if self._schema is not None:
            held = not way.exact and formatted.needs_mending(self._schema)
            stages.append(formatted.FormattedReader(index, self._schema, held=held))
        if self._request.sampling.stop:
            stages.append(StopReader(self._request.sampling.stop))
        return stages

    async def _opened(self, lease: Asking, index: int) -> tuple[Exchange, Way]:
        """The engine's answer to a choice, in the best way that the loaded model and the engine take."""
        if self._request.deterministic:
            await lease.quiet()  # a client that left may still be computed for

        async def ask(way: Way) -> tuple[Exchange, Way]:
            return await self._begun(lease, way, index), way

        return await first_of(await ways_of(lease, self._drive, self._request, small=is_small(self._model)), ask)

    async def _asked(self, lease: Asking, index: int, way: Way) -> tuple[str, bytes]:
        """The engine's request for a choice, with what depends on the loaded model."""
        request = way.request
        if request.suffix and request.prompt is not None:
            prompt = await with_gap(lease, request.prompt, request.suffix)
            request = replace(request, prompt=prompt, suffix=None)
        elif request.prompt is None and request.thinking != Thinking():
            fields = adapter_fields(self._model.scales) | thinking_fields(request.thinking, await lease.traits())
            return build(request, index, fields, exact=way.exact)
        elif index == 0 and not way.exact and request is self._request:
            return self._first_ask
        return build(request, index, adapter_fields(self._model.scales), exact=way.exact)

    async def _choice(self, lease: Asking, index: int) -> AsyncGenerator[Sequence[ChatEvent], None]:
        """One choice's events, those together that came together. Closes the engine's connection however it ends: that
        is what frees the slot."""
        exchange: Exchange | None = None
        try:
            exchange, way = await self._opened(lease, index)
            stages = self._paused_stages or self._stages(index, way)
            told = False
            while data := await exchange.read():
                read = self._readers[index].feed(data)
                self._written.note(read)
                if read and not told and self._written.can_pause:  # something new was written
                    told, self._paused_stages = True, stages
                    lease.can_pause()
                if not stages:
                    yield read
                for event in read if stages else ():
                    yield _through(stages, event)
                if stages and any(stage.over for stage in stages):
                    return
            self._readers[index].end()
            exchange.close()
            if stages and isinstance(stages[0], FreeReader) and stages[0].finish is not None:
                yield await self._put_right(lease, index, way, stages[0], stages[0].finish)
        except IntramuralError as error:
            if self._drive is not None and error.code == "invalid_schema":
                error.param = "tools"
            raise await lease.blame(error) from error
        finally:
            if exchange is not None:
                exchange.close()

    async def _begun(self, lease: Asking, way: Way, index: int) -> Exchange:
        target, body = await self._asked(lease, index, way)
        place = await lease.place(way.request)
        exchange = await lease.ask("POST", target, placed(body, place.slot, reuse=place.reuse))
        self.under_way.set()
        try:
            status = await exchange.status()
            lease.begun(status)
            if status != 200:
                raise lease.refusal(exchange, status, await exchange.read_all())
        except BaseException:  # also who leaves before there is a status
            exchange.close()
            raise
        return exchange

    async def _put_right(
        self, lease: Asking, index: int, way: Way, free: FreeReader, finish: Finished
    ) -> list[ChatEvent]:
        """The calls of a free answer that did not fit, asked for again, and the answer's end.

        They are forced to fit now. The conversation is in the engine's cache, so that only the calls are computed.
        """
        assert way.drive is not None
        left = way.request.sampling.max_tokens
        left = left if left is None else max(1, left - self._readers[index].usage.completion_tokens)
        again = way.drive.again(free.made, left)
        calls, reader = again.reader(index, self._new_call), self._reader(index, thoughts=True)
        self._again.append(reader)

        async def ask(way: Way) -> Exchange:
            return await self._begun(lease, way, index)

        ways = await ways_of(lease, again, again.request, small=is_small(self._model))
        exchange = await first_of(ways, ask)
        try:
            events: list[ChatEvent] = []
            while data := await exchange.read():
                for event in reader.feed(data):
                    events += calls.feed(event)
            reader.end()
        finally:
            exchange.close()
        wanted = {place for place, (_, arguments) in enumerate(free.made) if arguments is None}
        put_right = [event for event in events if isinstance(event, ToolCallDelta) and event.position in wanted]
        return [*put_right, finish if len(put_right) == len(wanted) else Finished(index, "length")]


class _Turn:
    """A slot, and how long (in seconds) was waited until it was had or given up."""

    __slots__ = ("_asked", "_clock", "_waited")

    def __init__(
        self, asked: AbstractAsyncContextManager[Asking], clock: Clock, waited: Callable[[float], None]
    ) -> None:
        self._asked = asked
        self._clock = clock
        self._waited = waited

    async def __aenter__(self) -> Asking:
        began_s = self._clock.monotonic_s()
        try:
            return await self._asked.__aenter__()
        finally:
            self._waited(self._clock.monotonic_s() - began_s)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._asked.__aexit__(kind, error, trace)


def _through(stages: Sequence[_Stage], event: ChatEvent) -> Sequence[ChatEvent]:
    events: Sequence[ChatEvent] = (event,)
    for stage in stages:
        events = [shown for each in events for shown in stage.feed(each)]
    return events
