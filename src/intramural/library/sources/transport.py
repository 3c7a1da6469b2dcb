"""httpx over connections that are handed to it: nothing of it opens a socket, or resolves a name.

Encryption begins here, on the connection to the address that was checked, and ends at the server.
"""

import asyncio
import ssl
import typing
from collections.abc import Iterable

import httpcore2
import httpx2
from anyio.abc import SocketStream
from httpcore2._backends.anyio import AnyIOStream  # reading, writing and TLS over it; there is no public name for it

from intramural.core.outward import Connect

#: Where the caller sets none.
_TIMEOUT_S = 60.0


class OverConnections(httpx2.AsyncHTTPTransport):
    """The usual transport, whose connections come from `connect`. What `connect` refuses is raised as it is."""

    def __init__(self, connect: Connect, context: ssl.SSLContext) -> None:
        self._pool = httpcore2.AsyncConnectionPool(ssl_context=context, network_backend=_Backend(connect))


class _Backend(httpcore2.AsyncNetworkBackend):
    def __init__(self, connect: Connect) -> None:
        self._connect = connect

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[typing.Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        try:
            made = await self._connect(host, port, _TIMEOUT_S if timeout is None else timeout)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore2.ConnectError(error.strerror or str(error)) from error
        return AnyIOStream(await SocketStream.from_socket(made))

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[typing.Any] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        raise httpcore2.UnsupportedProtocol("nothing is fetched from a Unix socket")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
