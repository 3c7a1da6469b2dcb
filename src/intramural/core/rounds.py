"""What is done every so often, beside everything else, for as long as the service runs."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from intramural.core.errors import IntramuralError

_log = logging.getLogger(__name__)

#: A round that took its cancellation for the end of something it waited for (`asyncio.wait_for` of Python 3.11 does,
#: where both come at once) is told again.
_AGAIN_S = 0.5


class Rounds:
    """Does something again and again, one round after the other, from `open` until `close`.

    A round that fails ends neither the others nor the service: a disk or a database that is away comes back, and
    whoever looks must still be there then. It is told in the service's own log, of several that fail alike the first.
    """

    def __init__(self, name: str, do: Callable[[], Awaitable[object]], every_s: float, *, first_s: float = 0.0) -> None:
        """`every_s`: from the end of a round to the next; `first_s`: from the opening to the first. Both are of a
        clock that stands still while the machine sleeps: what is to happen at a time asks `core.clock.is_due`.
        """
        self._name = name
        self._do = do
        self._every_s = every_s
        self._first_s = first_s
        self._wanted = asyncio.Event()
        self._failing: str | None = None
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def close(self) -> None:
        """Stop, also in the middle of a round; what a transaction had not committed is undone."""
        task, self._task = self._task, None
        while task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=_AGAIN_S)

    def now(self) -> None:
        """Do not wait for the next round, or the first: it begins at once, or after the one that is under way."""
        self._wanted.set()

    async def _run(self) -> None:
        await self._pause(self._first_s)
        while True:
            self._wanted.clear()  # before the round: what is wanted during it may be what it has passed already
            await self._round()
            await self._pause(self._every_s)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wanted.wait()

    async def _round(self) -> None:
        try:
            await self._do()
        except Exception as error:  # noqa: BLE001 (as said)
            kind = error.code if isinstance(error, IntramuralError) else type(error).__name__
            if kind != self._failing:
                is_expected = isinstance(error, IntramuralError | OSError)
                _log.warning("%s failed, and is tried again: %s", self._name, error, exc_info=not is_expected)
            self._failing = kind
        else:
            self._failing = None
