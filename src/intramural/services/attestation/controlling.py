"""The positive control: the same attempt to connect, confined as a worker is, and as the broker may.

Both go to the address that the service itself answers on, each with a token of its own, so that the service sees which
of them came in and need not believe the one that tried.
"""

import asyncio
import json
from collections.abc import Mapping
from ipaddress import ip_address

from intramural.core.clock import Clock
from intramural.core.errors import IntramuralError
from intramural.sandbox import Launch, Limits, spawn
from intramural.sandbox.control import ATTEMPTS, ENTRY, make_tcp, outcome
from intramural.sandbox.seccomp import Profile
from intramural.services.attestation.facts import Attempt, Control, NotSeen, Tried

#: An attempt takes milliseconds, a start a tenth of a second.
_TIMEOUT_S = 20.0
_LIMITS = Limits(cpu_s=10)
_TOKEN_BYTES = 16
PATH = "/intramural/v1/attestations/control/"


class Controls:
    """Makes the control, and is told by the door what came in."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._arrived: dict[str, bool] = {}

    def arrive(self, token: str) -> bool:
        """A request with this token came in; whether it is one that is waited for."""
        if token not in self._arrived:
            return False
        self._arrived[token] = True
        return True

    async def make(self, address: tuple[str, int], without: frozenset[str]) -> Control:
        """Try both ways. `address` is what the service listens on; `without`: layers that workers do without."""
        host, port = reachable(address[0]), address[1]
        confined = await self._tried("engine", host, port, without)
        allowed = await self._tried("broker", host, port, without)
        own = Attempt("tcp", outcome(make_tcp, {"host": host}))
        return Control(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", confined, allowed, (own,))

    async def _tried(self, profile: Profile, host: str, port: int, without: frozenset[str]) -> Tried | NotSeen:
        token = self._clock.token_bytes(_TOKEN_BYTES).hex()
        self._arrived[token] = False
        arg = {"host": host, "port": port, "path": PATH + token}
        try:
            child = await spawn(Launch(profile, ENTRY, arg, limits=_LIMITS, without=without))
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    await child.wait()
            except TimeoutError:
                return NotSeen(f"the process did not end within {_TIMEOUT_S:g} seconds")
            finally:
                if child.returncode is None:
                    child.kill()
            said = _said(child.log_tail())
            if said is None:
                return NotSeen(f"the process ended with {child.returncode} and did not say what it had tried")
            return Tried(child.layers, said, self._arrived[token])
        except IntramuralError as error:
            return NotSeen(error.message)
        finally:
            del self._arrived[token]


def reachable(host: str) -> str:
    """Where one connects to reach what listens on `host`: itself, or this machine where that is every address."""
    address = ip_address(host)
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "::1"
    return host


def _said(text: str) -> tuple[Attempt, ...] | None:
    """What the process printed; None: it is not that."""
    try:
        said = json.loads(text)
    except ValueError:
        return None
    if not isinstance(said, Mapping) or said.keys() != ATTEMPTS.keys():
        return None
    return tuple(Attempt(name, str(result)[:32]) for name, result in said.items())
