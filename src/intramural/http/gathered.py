"""What is written to a client in one turn of the loop goes out in one piece.

A response begins with its headers, which uvicorn writes by themselves, and frames of a stream often come several at a
time. Each write is a call of the kernel that wakes the client: some 30 µs of processor, more than making a frame.
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: More than this is not held back: uvicorn hears from the transport that a client does not read.
_MOST_BYTES = 16 * 1024


class GatheringProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, on a transport that gathers."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(cast(asyncio.Transport, Gathered(transport)))


class Gathered:
    """A transport that writes what it was given when the present turn of the loop is over."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []
        self._size_bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)  # whatever does not write

    def write(self, data: bytes) -> None:
        """Send `data`, after what was given before."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)
        self._size_bytes += len(data)
        if self._size_bytes > _MOST_BYTES:
            self._flush()

    def close(self) -> None:
        """Send what is left, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        parts, self._parts, self._size_bytes = self._parts, [], 0
        if parts and not self._transport.is_closing():
            self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))
