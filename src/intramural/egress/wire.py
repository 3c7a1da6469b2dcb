"""What the service and its broker say to each other: one JSON value a packet, on a pair of Unix sockets.

    →  connect   to a host and port, at addresses that are near as said; `addresses` where the service knows them
    →  cancel    a connect, whose asker has gone
    →  names     which name servers to ask from now on
    ←  ready     it could make a TCP socket (once, at its beginning)
    ←  connected with the descriptor of the connection beside it
    ←  failed    with a code of `FAILURES`

The broker believes the service. The service believes nothing it reads here: see `broker`.
"""

from typing import Literal, get_args

import msgspec

from intramural.egress.rules import Nearness

#: Of one packet. A request is some hundred bytes; a host with a few hundred addresses still fits.
MAX_BYTES = 32 << 10
#: Connects that a broker works on at a time; the service asks for fewer (see `broker`).
MOST_AT_ONCE = 64
MAX_ADDRESSES = 64

Failure = Literal["no_such_name", "no_answer", "address_refused", "refused", "unreachable", "timed_out", "busy"]
FAILURES: tuple[Failure, ...] = get_args(Failure)


class Connect(msgspec.Struct, tag="connect", frozen=True, forbid_unknown_fields=True):
    """`near`: where the addresses may be. `addresses`: in the place of asking name servers. Seconds."""

    id: int
    host: str
    port: int
    near: tuple[Nearness, ...]
    timeout_s: float
    addresses: tuple[str, ...] = ()


class Cancel(msgspec.Struct, tag="cancel", frozen=True, forbid_unknown_fields=True):
    id: int


class Names(msgspec.Struct, tag="names", frozen=True, forbid_unknown_fields=True):
    """Name servers as resolv.conf(5) has them: (address, port) each, and how often and how long each is asked."""

    servers: tuple[tuple[str, int], ...]
    search: tuple[str, ...] = ()
    ndots: int = 1
    timeout_s: float = 5.0
    attempts: int = 2


class Ready(msgspec.Struct, tag="ready", frozen=True, forbid_unknown_fields=True):
    pass


class Connected(msgspec.Struct, tag="connected", frozen=True, forbid_unknown_fields=True):
    id: int
    address: str


class Failed(msgspec.Struct, tag="failed", frozen=True, forbid_unknown_fields=True):
    id: int
    code: Failure
    detail: str = ""


Asked = Connect | Cancel | Names
Said = Ready | Connected | Failed

encode = msgspec.json.Encoder().encode
_asked: "msgspec.json.Decoder[Asked]" = msgspec.json.Decoder(Asked)
_said: "msgspec.json.Decoder[Said]" = msgspec.json.Decoder(Said)


def asked(packet: bytes) -> Asked:
    """What the service asks. Raises ValueError."""
    return _asked.decode(packet)


def said(packet: bytes) -> Said:
    """What a broker says. Raises ValueError for whatever else it sends."""
    try:
        return _said.decode(packet)
    except (UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error
