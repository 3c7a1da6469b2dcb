"""Whoever is not let in any more, or not into a workspace, has nothing running there, however that came about.

Keys and sessions are read anew for every request, so they end at once. What was begun before goes on by itself: it is
looked at every second, as the database has it, so that it does not matter who changed that, and how.
"""

import logging

from intramural.core.rounds import Rounds
from intramural.services.inference import Inference
from intramural.services.standing import Again

INTERVAL_S = 1.0

_log = logging.getLogger(__name__)


class Evictions:
    """The one who looks. `open` it once; `close` it before what it looks at."""

    def __init__(self, inference: Inference, again: Again) -> None:
        self._inference = inference
        self._again = again
        self._rounds = Rounds("evictions", self._look, INTERVAL_S, first_s=INTERVAL_S)

    def open(self) -> None:
        """Begin."""
        self._rounds.open()

    async def close(self) -> None:
        """Stop."""
        await self._rounds.close()

    async def _look(self) -> None:
        if count := await self._inference.shut_out(self._again):
            _log.info("ended what ran for %d who are not let in any more", count)
