"""A connection that was handed over, and what the kernel has counted on it when it ends."""

import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

#: Where they lie in struct tcp_info (linux/tcp.h): bytes received, and from Linux 4.19 bytes sent and sent again.
_RECEIVED_AT, _SENT_AT, _AGAIN_AT, _SIZE = 128, 200, 208, 216


@dataclass(frozen=True, slots=True)
class Counted:
    """Bytes of the stream, as they were on the wire (with encryption, without headers); None: the kernel does not
    say."""

    sent: int | None
    received: int | None


class Passage(socket.socket):
    """A socket that tells when it is closed, whoever closes it: this process's code, or an event loop that owns it.

    A second descriptor of the same connection is kept for counting, and closed with the first: the other side sees the
    end when it comes.
    """

    def watch(self, ended: Callable[[Counted], None]) -> None:
        """Call `ended` once, when this is closed."""
        self._own = os.dup(self.fileno())
        self._ended: Callable[[Counted], None] | None = ended

    def close(self) -> None:
        super().close()
        self._end()

    def detach(self) -> int:
        """As event loops do when they have closed the descriptor themselves."""
        number = super().detach()
        self._end()
        return number

    def __del__(self) -> None:
        self.close()

    def _end(self) -> None:
        ended = getattr(self, "_ended", None)
        if ended is None:
            return
        self._ended = None
        with socket.socket(fileno=self._own) as own:
            counted = count(own)
        ended(counted)


def count(connection: socket.socket) -> Counted:
    """What has passed so far."""
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)
    except OSError:
        return Counted(None, None)
    received = struct.unpack_from("=Q", info, _RECEIVED_AT)[0] if len(info) >= _RECEIVED_AT + 8 else None
    if len(info) < _SIZE:
        return Counted(None, received)
    sent, again = (struct.unpack_from("=Q", info, at)[0] for at in (_SENT_AT, _AGAIN_AT))
    return Counted(sent - again, received)
