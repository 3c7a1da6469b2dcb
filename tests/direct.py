"""Connections made on the spot, for tests of what is done with them. The service itself never connects so."""

import asyncio
import socket

from intramural.library import Outside, Reach, Registries

__all__ = ["OUTSIDE", "REACH", "REGISTRIES", "direct"]


async def direct(host: str, port: int, timeout_s: float) -> socket.socket:
    """As `core.outward.Connect` has it: to whatever address the machine says the name has."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout_s):
        last: OSError = OSError("no address")
        for family, kind, _, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            made = socket.socket(family, kind)
            made.setblocking(False)
            try:
                await loop.sock_connect(made, address)
            except OSError as error:
                made.close()
                last = error
            except BaseException:
                made.close()
                raise
            else:
                return made
        raise last


REACH = Reach(direct)
REGISTRIES = Registries(reach=REACH)
OUTSIDE = Outside().through(direct)
