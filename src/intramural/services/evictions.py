"""Whoever is not let in any more, or not into a workspace, has nothing running there, however that came about.

Keys and sessions are read anew for every request, so they end at once. What was begun before goes on by itself: it is
looked at every second, as the database has it, so that it does not matter who changed that, and how.
"""

import asyncio
import logging

from sqlalchemy.exc import DBAPIError

from intramural.services.inference import Inference
from intramural.services.standing import Again

INTERVAL_S = 1.0

_log = logging.getLogger(__name__)


class Evictions:
    """The one who looks. `open` it once; `close` it before what it looks at."""

    def __init__(self, inference: Inference, again: Again) -> None:
        self._inference = inference
        self._again = again
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._forever())

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _forever(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                count = await self._inference.shut_out(self._again)
            except DBAPIError as error:  # a database that is away comes back; whoever looks must still be there then
                _log.warning("could not look whether whoever has something running is still let in: %s", error)
                continue
            if count:
                _log.info("ended what ran for %d who are not let in any more", count)
