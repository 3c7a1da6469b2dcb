"""How whoever has to reach another machine gets there: by a connection that is handed to them. Opens nothing."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable

from intramural.core.errors import Refused

#: A TCP connection to (host, port), made within so many seconds. The host is a name, or an address without brackets;
#: the socket does not block, and closing it is its holder's business. Raises Refused where nobody allows it,
#: Unavailable(`egress_unavailable`) where nothing here can make one, and OSError (TimeoutError) as connecting does.
Connect = Callable[[str, int, float], Awaitable[socket.socket]]


async def no_way_out(host: str, port: int, timeout_s: float) -> socket.socket:
    """A `Connect` for who was given none. Raises Refused(`egress_sealed`)."""
    raise Refused("egress_sealed", f"Nothing here may connect to {host}.", "Bring what is needed as a file.")


async def opened(
    made: socket.socket, tls: ssl.SSLContext | None = None, server_name: str | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Streams over a connection, encrypted with `tls` for `server_name`. It is closed where that fails."""
    try:
        return await asyncio.open_connection(sock=made, ssl=tls, server_hostname=server_name if tls else None)
    except BaseException:
        made.close()
        raise
