"""In a network of its own: reads the packet filter, gives it rules over netlink, reads it again; prints both (JSON).

`unshare --user --map-root-user --net python filtering.py`; the first argument `strange` gives it no network of its own.
"""

import json
import socket
import struct
import sys
from dataclasses import asdict

from intramural.sandbox import packetfilter

_CREATE = 0x001 | 0x004 | 0x400  # NLM_F_REQUEST, NLM_F_ACK, NLM_F_CREATE
_INET, _OUTPUT, _DROP = 1, 3, 0


def attribute(type_: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), type_) + data + b"\0" * (-len(data) % 4)


def message(type_: int, flags: int, family: int, body: bytes, number: int = 10 << 8, resource: int = 0) -> bytes:
    about = struct.pack("=BB", family, 0) + struct.pack(">H", resource)
    return struct.pack("=IHHII", 16 + len(about) + len(body), number | type_, flags, 1, 0) + about + body


def put(*changes: bytes) -> None:
    """All of them, or none: as one batch."""
    batch = message(0x10, 1, 0, b"", 0, 10) + b"".join(changes) + message(0x11, 1, 0, b"", 0, 10)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as kernel:
        kernel.sendto(batch, (0, 0))
        for _ in changes:
            for type_, _, body in packetfilter.messages(kernel.recv(65536)):
                assert type_ != 2 or struct.unpack_from("=i", body)[0] == 0, struct.unpack_from("=i", body)


def main() -> None:
    before = packetfilter.read(1)
    table, chain = attribute(1, b"wall\0"), attribute(3, b"out\0")
    hook = attribute(4, attribute(1, struct.pack(">i", _OUTPUT)) + attribute(2, struct.pack(">i", -5)))
    counter = attribute(1, attribute(1, b"counter\0") + attribute(2, b""))
    put(
        message(0, _CREATE, _INET, table),
        message(
            3, _CREATE, _INET, table + chain + hook + attribute(5, struct.pack(">i", _DROP)) + attribute(7, b"filter\0")
        ),
        message(6, _CREATE | 0x800, _INET, table + attribute(2, b"out\0") + attribute(4, counter)),
    )
    print(json.dumps({"before": asdict(before), "after": asdict(packetfilter.read(2))}))


if __name__ == "__main__":
    if sys.argv[1:] == ["strange"]:
        packetfilter.read(1)
    else:
        main()
