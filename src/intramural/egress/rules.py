"""Whether something may go out: one pure function over a list that is empty until somebody fills it.

    sealed                                          refused   egress_sealed
    an entry denies it                              refused   egress_denied
    a setting or an entry that counts allows it     allowed   by that
    who asked for it may decide about it            allowed   `asked_for`: naming it was the decision
    open                                            allowed   `open`
    an entry allowed it, and its time is over       ask       egress_expired
    else                                            ask       egress_unknown

A destination is a host, a port and a purpose: what was allowed for one is not for another. Which addresses a name may
turn out to have is part of what is allowed (`near`), so a name that suddenly points inside leads nowhere.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, get_args

from intramural.core.errors import Misasked, Refused

#: `sealed`: nothing leaves, and there is no broker. `supervised`: what nobody allowed is asked about. `open`: what
#: nobody denied is allowed.
Mode = Literal["sealed", "supervised", "open"]
MODES: tuple[Mode, ...] = get_args(Mode)
#: What a connection is for. `database` is named, but made by the database's own client (docs/egress.md).
Purpose = Literal["pull", "push", "media", "sign-in", "directory", "database", "traces", "engine", "anchor"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
#: Where an address is: this machine, a private network, or beyond. What is `never` is connected to by nobody here:
#: link-local addresses (where clouds keep credentials), multicast, and those that mean no machine.
Nearness = Literal["here", "inside", "outside", "never"]
Verdict = Literal["allow", "deny"]

#: In the place of a rule's name: the destination was in the request of somebody who may decide about it.
ASKED_FOR = "asked_for"
OPEN = "open"
_BEYOND: frozenset[Nearness] = frozenset({"inside", "outside"})

_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
#: Where an IPv6 address carries the IPv4 address that is meant (RFC 6052).
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
_SITE_LOCAL = ipaddress.IPv6Network("fec0::/10")
#: Where clouds keep credentials besides link-local addresses (AWS, Alibaba).
_METADATA = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200")))


def parse_mode(text: str) -> Mode:
    """Raises Misasked(`bad_setting`)."""
    for mode in MODES:
        if text == mode:
            return mode
    raise Misasked("bad_setting", f"egress.mode is {text!r}.", f"It is one of: {', '.join(MODES)}.")


@dataclass(frozen=True, slots=True)
class Destination:
    """A host (lower case, no brackets, no dot at its end) and a port."""

    host: str
    port: int

    @classmethod
    def of(cls, host: str, port: int) -> "Destination":
        """Raises Misasked(`bad_destination`)."""
        host = host.strip("[]").rstrip(".").lower()
        if not host or len(host) > 253 or not host.isascii() or not all(c.isalnum() or c in "-._:" for c in host):
            raise Misasked("bad_destination", f"{host[:80]!r} is no host.", "Write a name or an address.", param="host")
        if not 0 < port < 65536:
            raise Misasked("bad_destination", f"{port} is no port.", "Ports are 1 to 65535.", param="port")
        return cls(host, port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the list. `id`: an entry's, or `setting:` with the setting's name. `host` may begin with `*.` for
    every host below; `port` None: whichever. `expires_ms` None: for good. `once`: for the next errand alone."""

    id: str
    purpose: Purpose
    host: str
    port: int | None
    verdict: Verdict = "allow"
    near: frozenset[Nearness] = _BEYOND
    approver: str = "settings"
    expires_ms: int | None = None
    once: bool = False

    def covers(self, to: Destination, purpose: Purpose) -> bool:
        """Whether it is about this destination for this purpose, expired or not."""
        return (
            self.purpose == purpose
            and self.port in (None, to.port)
            and (self.host == to.host or ("*" in self.host and fnmatchcase(to.host, self.host)))
        )

    def counts(self, now_ms: int) -> bool:
        """Whether its time is not over."""
        return self.expires_ms is None or now_ms < self.expires_ms


@dataclass(frozen=True, slots=True)
class Decision:
    """`by`: the rule's name, or the code of the refusal. `near`: where its addresses may be, if it is allowed."""

    verdict: Literal["allowed", "ask", "refused"]
    by: str
    rule: Rule | None = None
    near: frozenset[Nearness] = frozenset()


def decide(
    mode: Mode, rules: Iterable[Rule], to: Destination, purpose: Purpose, now_ms: int, *, by_approver: bool
) -> Decision:
    """Whether to connect. `by_approver`: who asked for what needs it may decide about such things themself."""
    if mode == "sealed":
        return Decision("refused", "egress_sealed")
    about = [rule for rule in rules if rule.covers(to, purpose)]
    counting = [rule for rule in about if rule.counts(now_ms)]
    if denying := next((rule for rule in counting if rule.verdict == "deny"), None):
        return Decision("refused", "egress_denied", denying)
    allowing = [rule for rule in counting if rule.verdict == "allow"]
    if allowing:
        # one that lasts before one that is used up by it
        first = min(allowing, key=lambda rule: rule.once)
        return Decision("allowed", first.id, first, first.near)
    if by_approver or mode == "open":
        return Decision("allowed", ASKED_FOR if by_approver else OPEN, None, near_of(to.host, inside=True))
    expired = next((rule for rule in about if rule.verdict == "allow"), None)
    return Decision("ask", "egress_expired" if expired else "egress_unknown", expired)


def refusal(decision: Decision, to: Destination, purpose: Purpose) -> Refused:
    """What whoever asked is told: the rule, and what to do about it."""
    allow = f"`intramural egress allow {to} --purpose {purpose}`"
    match decision.by:
        case "egress_sealed":
            message = f"This service is sealed: nothing may connect to {to}."
            hint = "Bring what is needed as a file or a bundle. An administrator can set egress.mode."
        case "egress_denied":
            rule = decision.rule.id if decision.rule else ""
            message = f"An administrator denied connections to {to} for this purpose ({purpose})."
            hint = (
                f"If it is meant after all, an administrator takes the entry away: `intramural egress forget {rule}`."
            )
        case "egress_expired":
            message = f"That this service may connect to {to} ({purpose}) was allowed for a time, which is over."
            hint = f"An administrator was asked. They allow it with {allow}; then ask again."
        case _:
            message = f"Nobody has allowed that this service connects to {to} ({purpose})."
            hint = f"An administrator was asked. They allow it with {allow}; then ask again."
    return Refused(decision.by, message, hint)


def address_refused(to: Destination, detail: str) -> Refused:
    """The name was allowed; no address it has is where it may be."""
    return Refused(
        "egress_address_refused",
        f"{to} is at {detail}, where this service may not connect for it.",
        "If that is meant, an administrator allows it with `--inside`, or names the address itself.",
    )


def near_of(host: str, *, inside: bool) -> frozenset[Nearness]:
    """Where a host that somebody named may turn out to be. An address means itself, and `localhost` this machine; a
    name means what is beyond, and with `inside` private networks too. Never this machine: nobody named that."""
    if is_here(host):
        return frozenset({"here"})
    if (ip := _ip(host)) is not None:
        return frozenset({nearness(ip)})
    return _BEYOND if inside else frozenset({"outside"})


def is_here(host: str) -> bool:
    """Whether the host as it is written means this machine."""
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761
        return True
    ip = _ip(host)
    return ip is not None and nearness(ip) == "here"


def nearness(address: _Ip | str) -> Nearness:
    """Where an address is. One that carries another (IPv4 within IPv6) is where that is."""
    ip = ipaddress.ip_address(address.partition("%")[0]) if isinstance(address, str) else address
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _TRANSLATED:
            ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        elif (within := ip.ipv4_mapped or ip.sixtofour) is not None:
            ip = within
        elif ip.teredo is not None or ip in _SITE_LOCAL:
            return "never"
    if ip.is_loopback:
        return "here"
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved or ip in _METADATA:
        return "never"
    if isinstance(ip, ipaddress.IPv4Address) and ip in ipaddress.IPv4Network("0.0.0.0/8"):
        return "never"  # Linux takes them for this machine
    return "outside" if ip.is_global else "inside"


def _ip(host: str) -> _Ip | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
