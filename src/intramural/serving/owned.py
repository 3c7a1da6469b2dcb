"""Slots asked for in somebody's name: what stands between a generation and the pool, so that neither need know.

And generations that may be stopped for others and begun again, because nobody sees them before they are whole.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Protocol

from msgspec.structs import replace

from intramural.core.chat import ChatEvent, ChatRequest, Usage
from intramural.core.errors import Unavailable
from intramural.serving.answer import Stream, UnderWay
from intramural.serving.fairness import Begun, Owner, cost_of
from intramural.serving.model import ModelToServe
from intramural.serving.traits import Asking

#: Told the place in the queue (1 is next) and about how many seconds it will be.
WaitNote = Callable[[int, float], None]
#: Called when a slot is had.
BeginNote = Callable[[], None]
#: Bytes of text a token stands for, about; only until the engine has counted.
_BYTES_PER_TOKEN = 4
#: What was stopped so often is left in peace: else it would never come to its end beside people who never stop.
_MOST_STOPS = 3


class _Costing(Asking, Protocol):
    cost: float | None


class _Slots(Protocol):
    def lease(
        self,
        model: ModelToServe,
        on_wait: WaitNote | None = None,
        *,
        needs_slot: bool = True,
        spare_only: bool = False,
        alone: bool = False,
        owner: Owner,
        read_tokens: float = 0.0,
        begun: Begun | None = None,
    ) -> AbstractAsyncContextManager[_Costing]: ...


class Owned:
    """`answer.Slots` for one request of `owner`. `usage` tells the counts so far; each slot is charged what was added
    while it was held (several at a time: whoever ends first pays for all so far, the owner being the same)."""

    def __init__(self, slots: _Slots, owner: Owner, read_tokens: float, note: WaitNote | None) -> None:
        self._slots = slots
        self._owner = owner
        self._read_tokens = read_tokens
        self._note = note
        self._charged = 0.0
        self.usage: Callable[[], Usage] = lambda: Usage(0, 0)

    def lease(
        self,
        model: ModelToServe,
        on_wait: Callable[[int], None] | None = None,
        *,
        needs_slot: bool = True,
        spare_only: bool = False,
        alone: bool = False,
        begun: Begun | None = None,
    ) -> AbstractAsyncContextManager[Asking]:
        def told(position: int, wait_s: float) -> None:
            if on_wait is not None:
                on_wait(position)
            if self._note is not None and begun is None:  # what has begun does not tell of waiting
                self._note(position, wait_s)

        asked = self._slots.lease(
            model,
            told,
            needs_slot=needs_slot,
            spare_only=spare_only,
            alone=alone,
            owner=self._owner if begun is None else replace(self._owner, repeatable=False),  # it is to get somewhere
            read_tokens=self._read_tokens,
            begun=begun,
        )
        return _Charged(asked, self._cost)

    def _cost(self) -> float:
        """What was added since somebody last paid."""
        usage, before = self.usage(), self._charged
        cost = cost_of(usage.prompt_tokens - usage.cached_tokens, usage.completion_tokens)
        self._charged = max(cost, before)
        return max(0.0, cost - before)


class _Charged:
    """A slot, for which is paid when it is given back."""

    __slots__ = ("_asked", "_cost", "_lease")

    def __init__(self, asked: AbstractAsyncContextManager[_Costing], cost: Callable[[], float]) -> None:
        self._asked = asked
        self._cost = cost

    async def __aenter__(self) -> Asking:
        self._lease = await self._asked.__aenter__()
        return self._lease

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lease.cost = self._cost()
        await self._asked.__aexit__(kind, error, trace)


class Repeated(AsyncIterator[ChatEvent]):
    """As `Stream`, but begun again whenever it had to make room; the events come all at once, when it is whole.

    `usage` is that of the last beginning: what was thrown away is charged to the owner's turn, not to their meter.
    """

    def __init__(self, begun: Callable[[Owner], Stream], owner: Owner) -> None:
        self._begun = begun
        self._owner = owner
        self._stream = begun(owner)
        self._events = self._all()
        self._waited_ms = 0.0
        self.under_way: UnderWay = self._stream.under_way

    @property
    def usage(self) -> Usage:
        """See `Stream.usage`."""
        return self._stream.usage

    @property
    def waited_ms(self) -> float:
        """All the waiting, before every beginning."""
        return self._waited_ms + self._stream.waited_ms

    def __aiter__(self) -> "Repeated":
        return self

    def __anext__(self) -> Awaitable[ChatEvent]:
        return self._events.__anext__()

    async def aclose(self) -> None:
        """Stop. Safe at any time, also after the end."""
        await self._events.aclose()
        await self._stream.aclose()

    async def _all(self) -> AsyncGenerator[ChatEvent, None]:
        for event in await self._whole():
            yield event

    async def _whole(self) -> list[ChatEvent]:
        stops = 0
        while True:
            try:
                return [event async for event in self._stream]
            except Unavailable as error:
                if error.code != "preempted":
                    raise
            await self._stream.aclose()
            stops += 1
            self._waited_ms += self._stream.waited_ms
            self._stream = self._begun(replace(self._owner, repeatable=stops < _MOST_STOPS))


def length_of(request: ChatRequest) -> float:
    """About how many tokens the prompt of `request` has."""
    if isinstance(request.prompt, tuple):
        return float(len(request.prompt))
    size = len(request.prompt or "") + sum(len(message.content) for message in request.messages)
    return size / _BYTES_PER_TOKEN
