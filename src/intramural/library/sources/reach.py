"""How far a source on the network may reach: which hosts, over which connection, how long it waits. Opens nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from intramural.core.errors import Refused
from intramural.core.outward import Connect, no_way_out

#: Raises Refused when the host (`example.org`, or `example.org:8443` where the port is not the scheme's own) is not
#: to be contacted.
Allow = Callable[[str], None]


def only(*hosts: str) -> Allow:
    """Allows these hosts and no other; `*.example.org` stands for every host below. Raises Refused(`host_refused`)."""
    known = tuple(host.lower() for host in hosts)

    def allow(host: str) -> None:
        if not any(fnmatchcase(host, each) for each in known):
            hint = f"It may contact {', '.join(known)}. An administrator decides which."
            raise Refused("host_refused", f"This source may not contact {host}.", hint)

    return allow


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server may cost us. Times in seconds, sizes in bytes.

    `answer_timeout_s` bounds a small answer, and the header of a large one, as a whole; a large body is given up on
    when nothing came for `stall_timeout_s`, or less than `stall_bytes` in as much waiting. `tries` counts failures
    without progress in between; a server that asks for more than `longest_wait_s` of patience is told to the caller.
    """

    connect_timeout_s: float = 10.0
    answer_timeout_s: float = 60.0
    stall_timeout_s: float = 30.0
    stall_bytes: int = 32 << 10
    small_bytes: int = 4 << 20
    tries: int = 5
    backoff_s: float = 0.5
    longest_wait_s: float = 60.0
    redirects: int = 5


@dataclass(frozen=True, slots=True)
class Reach:
    """What whoever builds a source hands it. `connect`: its way out; there is none unless one is given.

    `ca_file` (PEM) is trusted instead of the system's certificates; there is no way to trust everything. `allow`: None
    leaves it at the hosts which the source itself needs.
    """

    connect: Connect = no_way_out
    ca_file: Path | None = None
    allow: Allow | None = None
    limits: Limits = field(default_factory=Limits)
