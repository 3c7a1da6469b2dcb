"""What hostile code in the broker can do: connect, for that is what it is there for, and nothing else."""

import asyncio
import socket
from pathlib import Path

from tests.sandbox.matrix import ALONE, TOGETHER, delivered, has_ipv6, results_of, staged

from intramural.sandbox import Launch, spawn

#: (Datagrams go to a socket that was connected, not to an address.) Neither Landlock nor seccomp hides `stat`.
ALLOWED = {"TCP to the host, IPv4", "TCP to the host, IPv6", "see that a file exists, and its size"}


async def attempts(names: list[str]) -> dict[str, str]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with staged() as stage, Path(stage["model"]).open("rb") as model, ours, theirs:
        arg = {"stage": stage, "names": names}
        files = {"model": model.fileno()}
        child = await spawn(Launch("broker", "tests.sandbox.attempts:report", arg, files, channel=theirs.fileno()))
        async with asyncio.timeout(60):
            status = await child.wait()
        return delivered(results_of(status, child.log_tail(), names), stage["sibling"])


async def test_it_can_connect_and_nothing_else() -> None:
    found = await attempts(TOGETHER)
    for name in ALONE:
        found |= await attempts([name])
    worked = {name for name, result in found.items() if result == "works"}
    assert worked == ALLOWED - (set() if has_ipv6() else {"TCP to the host, IPv6"})
