"""A crowd that arrives at one moment is let in a few at a time, so that the loop turns in between.

Two hundred people who sign in as the bell rings arrive in one turn of the loop; begun all at once they hold it for as
long as their beginnings take together (half a second on a small machine), and everybody's streams and whoever asks
whether the service lives wait for that. Nothing is refused here, and the order stays.
"""

import asyncio
from collections import deque

from starlette.types import ASGIApp, Receive, Scope, Send

#: A request takes about a millisecond until it first waits for something.
_MOST_A_TURN = 4
#: Asked by whoever restarts a service that is silent; answered in microseconds.
_AT_ONCE = frozenset({"/healthz", "/readyz"})


class Paced:
    """An application that begins at most four requests in one turn of the loop, health questions aside."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._begun = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in _AT_ONCE:
            if self._begun == _MOST_A_TURN:
                await self._turn()
            else:
                self._begin()
        await self._app(scope, receive, send)

    async def _turn(self) -> None:
        mine = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        await mine

    def _begin(self) -> None:
        if not self._begun:
            asyncio.get_running_loop().call_soon(self._turned)
        self._begun += 1

    def _turned(self) -> None:
        self._begun = 0
        while self._waiting and self._begun < _MOST_A_TURN:
            if not (first := self._waiting.popleft()).done():  # else its client has left
                self._begin()
                first.set_result(None)
