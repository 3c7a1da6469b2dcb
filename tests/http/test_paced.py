"""A crowd is let in a few at a time, in order; who asks whether the service lives does not stand behind it."""

import asyncio
from typing import Any

from starlette.types import Receive, Scope, Send

from intramural.http.paced import Paced


class Noted:
    """An application that writes down who came, and in which turn of the loop."""

    def __init__(self) -> None:
        self.came: list[tuple[str, int]] = []
        self.turn = 0
        self._counting = True
        asyncio.get_running_loop().call_soon(self._next)

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        self.came.append((scope["path"], self.turn))

    def _next(self) -> None:
        self.turn += 1
        if self._counting:
            asyncio.get_running_loop().call_soon(self._next)

    def stop(self) -> None:
        self._counting = False


def asked(paced: Paced, path: str) -> "asyncio.Task[None]":
    nothing: Any = None
    return asyncio.ensure_future(paced({"type": "http", "path": path}, nothing, nothing))


async def test_a_crowd_comes_in_order_and_health_before_it() -> None:
    noted = Noted()
    paced = Paced(noted)
    crowd = [asked(paced, f"/{number}") for number in range(200)]
    healths = [asked(paced, "/healthz"), asked(paced, "/readyz")]
    await asyncio.gather(*crowd, *healths)
    noted.stop()
    paths = [path for path, _ in noted.came]
    assert [path for path in paths if path not in ("/healthz", "/readyz")] == [f"/{number}" for number in range(200)]
    assert set(paths[:10]) >= {"/healthz", "/readyz"}
    turns = [turn for path, turn in noted.came if path not in ("/healthz", "/readyz")]
    assert max(turns.count(turn) for turn in turns) <= 8, "some turn began a crowd"
    assert turns[-1] - turns[0] >= 200 / 8


async def test_who_leaves_while_it_waits_takes_nobodys_place() -> None:
    noted = Noted()
    paced = Paced(noted)
    crowd = [asked(paced, f"/{number}") for number in range(12)]
    await asyncio.sleep(0)
    for each in crowd[4:9]:
        each.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
    assert [path for path, _ in noted.came] == ["/0", "/1", "/2", "/3", "/9", "/10", "/11"]
    await asked(paced, "/later")
    noted.stop()
    assert noted.came[-1][0] == "/later"
