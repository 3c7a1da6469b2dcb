"""Blocking work in a thread which never outlives the call that asked for it.

`asyncio.to_thread` returns at once when cancelled while its thread goes on: a descriptor closed then may already be
somebody else's when the thread next uses the number. Here the caller is held until the thread has ended.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


async def in_thread(work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """What `work` returns or raises. A cancellation is raised once the thread is done: keep the work short."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):  # cancelled again: it is being obeyed already
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # looked at, so that it is not reported as forgotten: the cancellation is what counts
        raise
