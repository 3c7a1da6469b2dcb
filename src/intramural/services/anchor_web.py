"""How a witness or a time-stamping authority is asked: that host and no other, bounded, by the same door as models."""

import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from intramural.core.errors import Refused
from intramural.core.outward import Connect

#: Sends a body of some media type to an address; gives status and body. Raises IntramuralError.
Post = Callable[[str, bytes, str], Awaitable["Replied"]]

_TIMEOUT_S = 20.0
_MAX_BYTES = 128 << 10
#: What a witness or an authority answers with a meaning (c2sp.org/tlog-witness).
_STATUSES = (200, 400, 403, 404, 409, 422)


@dataclass(frozen=True, slots=True)
class Replied:
    """An answer, complete."""

    status: int
    body: bytes


def posting(connect: Connect, *, allow_network: bool, ca_file: Path | None) -> Post:
    """Asks the host of the address that it is given, by the way out `connect`. Redirects are not followed. `ca_file`
    (PEM) is trusted instead of the system's certificates. Without `allow_network`, only this machine is asked.

    Raises Refused(`network_off`) and what `library.sources.web` raises.
    """

    async def post(url: str, body: bytes, media_type: str) -> Replied:
        # these load a client of HTTP, which takes a while: only who has such an anchor waits for it
        from intramural.library.sources.reach import Limits, Reach, only
        from intramural.library.sources.web import Web, host_of

        if not allow_network and not _is_here(urlsplit(url).hostname or ""):
            hint = "Set library.allow_network, or anchor into folders."
            raise Refused("network_off", "This service is set to ask no other machine.", hint)
        limits = Limits(connect_timeout_s=_TIMEOUT_S / 2, answer_timeout_s=_TIMEOUT_S, tries=1, redirects=0)
        web = Web(only(host_of(url)), Reach(connect, ca_file, limits=limits))
        answer = await web.ask(
            url,
            method="POST",
            headers={"Content-Type": media_type},
            body=body,
            max_bytes=_MAX_BYTES,
            statuses=_STATUSES,
            follow=False,
        )
        return Replied(answer.status, answer.body)

    return post


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
