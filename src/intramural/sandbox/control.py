"""What a process can do toward the network, found out by doing it: runs in a child, under whichever profile.

The half of a positive control that shows an attempt refused is worth nothing without the half that shows it working, so
this is one function for both: what differs is the profile that the child was started with. Nothing of what it connects
to is read by anybody but for the first line of an answer, and nothing is sent but a request for one path.
"""

import errno
import json
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any

#: For `Launch(entry=…)`.
ENTRY = "intramural.sandbox.control:reach"

_TIMEOUT_S = 5.0
_ANSWER_BYTES = 4096
#: Every protocol: what a raw socket takes, and what a packet socket does.
_ICMP, _ALL = 1, 3


def reach(arg: Mapping[str, Any], _files: Mapping[str, int]) -> None:
    """Try each of `ATTEMPTS` and say on the standard output what came of them (JSON): `works`, or the error's name.

    `arg` has `host` (an address), `port` and `path`.
    """
    sys.stdout.write(json.dumps({name: outcome(attempt, arg) for name, attempt in ATTEMPTS.items()}) + "\n")
    sys.stdout.flush()


def outcome(attempt: Callable[[Mapping[str, Any]], object], arg: Mapping[str, Any]) -> str:
    """`works`, or why not."""
    try:
        attempt(arg)
    except OSError as error:
        return "timeout" if isinstance(error, TimeoutError) else errno.errorcode.get(error.errno or 0, "OSError")
    return "works"


def make_tcp(arg: Mapping[str, Any]) -> None:
    """A TCP socket that connects to nobody. Raises OSError."""
    socket.socket(_family(arg), socket.SOCK_STREAM).close()


def _ask_by_tcp(arg: Mapping[str, Any]) -> None:
    with socket.socket(_family(arg), socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT_S)
        connection.connect((arg["host"], arg["port"]))
        connection.sendall(f"GET {arg['path']} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        connection.recv(_ANSWER_BYTES)


def _send_by_udp(arg: Mapping[str, Any]) -> None:
    with socket.socket(_family(arg), socket.SOCK_DGRAM) as datagrams:
        datagrams.connect((arg["host"], arg["port"]))


def _make_raw(arg: Mapping[str, Any]) -> None:
    socket.socket(_family(arg), socket.SOCK_RAW, _ICMP).close()


def _make_packet(_arg: Mapping[str, Any]) -> None:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL)).close()


def _make_vsock(_arg: Mapping[str, Any]) -> None:
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()


def _family(arg: Mapping[str, Any]) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in arg["host"] else socket.AF_INET


#: name → what is tried. Only the first two work for the process that may connect; nobody here may forge packets.
ATTEMPTS: Mapping[str, Callable[[Mapping[str, Any]], object]] = {
    "tcp": _ask_by_tcp,
    "udp": _send_by_udp,
    "raw": _make_raw,
    "packet": _make_packet,
    "vsock": _make_vsock,
}
