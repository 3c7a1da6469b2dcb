"""What may leave this machine, and what did: `intramural egress …`."""

import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from intramural.cli.root import DEFAULT, PAGE, Common, egress
from intramural.core.errors import Misasked

if TYPE_CHECKING:
    from intramural.cli.client import Client

_LIST = {
    "id": "ID", "verdict": "VERDICT", "purpose": "PURPOSE", "destination": "DESTINATION", "until": "UNTIL",
    "by": "BY", "about": "ABOUT",
}  # fmt: skip
_LEDGER = {
    "time": "TIME", "what": "WHAT", "purpose": "PURPOSE", "destination": "DESTINATION", "address": "ADDRESS",
    "out": "OUT", "in": "IN", "by": "BY", "who": "WHO",
}  # fmt: skip
_SECONDS = {"m": 60, "h": 3_600, "d": 86_400}
_DESTINATION = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?")

_Host = Annotated[str, Parameter(help="`HOST`, `HOST:PORT` or `[ADDRESS]:PORT`.")]
_Purpose = Annotated[
    str, Parameter(help="`pull`, `push`, `media`, `sign-in`, `directory`, `traces`, `engine` or `anchor`.")
]


@egress.command(name="list", alias="ls")
def list_entries(*, common: Common = DEFAULT) -> None:
    """Show the mode, what settings allow by naming it, what was decided, and what administrators are asked."""

    async def act(client: "Client") -> None:
        found = await client.get(f"{PAGE}/egress")
        if common.out.mode == "json":
            common.out.json(found)
            return
        rows: list[dict[str, Any]] = [
            each | {"destination": _shown(each), "until": _until(each), "by": each["decided_by"] or each["asked_by"]}
            for each in found["entries"]
        ]
        rows += [
            each | {"id": "", "verdict": "allow", "destination": _shown(each), "until": "", "by": each["setting"]}
            for each in found["settings"]
        ]
        common.out.note(f"Mode: {found['mode']}.")
        common.out.table(rows, _LIST)

    common.ask(act)


@egress.command(name="allow")
def allow(
    host: _Host,
    *,
    purpose: _Purpose,
    inside: Annotated[bool, Parameter(negative="", help="The name may be in a private network.")] = False,
    once: Annotated[bool, Parameter(negative="", help="For the next pull, push or the like alone.")] = False,
    for_: Annotated[str | None, Parameter(name="--for", help="For so long: `90m`, `12h`, `7d`.")] = None,
    common: Common = DEFAULT,
) -> None:
    """Let the service connect to HOST for a purpose. Without a port it is 443."""
    name, port = _parted(host, 443)
    body = {"host": name, "port": port, "purpose": purpose, "verdict": "allow", "inside": inside, "once": once}
    for_s = None if for_ is None else _seconds(for_)

    async def act(client: "Client") -> None:
        common.out.record(await client.post(f"{PAGE}/egress/entries", body | {"for_s": for_s}), main="id")

    common.ask(act)


@egress.command(name="deny")
def deny(host: _Host, *, purpose: _Purpose, common: Common = DEFAULT) -> None:
    """Keep the service from connecting to HOST for a purpose, whatever else allows it. Without a port it is any."""
    name, port = _parted(host, 0)
    body = {"host": name, "port": port, "purpose": purpose, "verdict": "deny"}

    async def act(client: "Client") -> None:
        common.out.record(await client.post(f"{PAGE}/egress/entries", body), main="id")

    common.ask(act)


@egress.command(name="forget")
def forget(entry_id: str, *, common: Common = DEFAULT) -> None:
    """Take a decision, or a question, off the list."""

    async def act(client: "Client") -> None:
        common.out.record(await client.delete(f"{PAGE}/egress/entries/{entry_id}"), main="id")

    common.ask(act)


@egress.command(name="ledger")
def ledger(
    *,
    limit: Annotated[int, Parameter(help="How many entries, at most 500.")] = 50,
    host: Annotated[str | None, Parameter(help="Of hosts that begin so.")] = None,
    purpose: Annotated[str | None, Parameter(help="For this purpose.")] = None,
    refused: Annotated[bool, Parameter(negative="", help="Only what was refused.")] = False,
    common: Common = DEFAULT,
) -> None:
    """Show every connection, refusal, question and decision, the newest first."""

    async def act(client: "Client") -> None:
        asked = {"limit": limit, "host": host, "purpose": purpose, "outcome": "refused" if refused else None}
        found = await client.get(f"{PAGE}/egress/ledger", **asked)
        if common.out.mode == "json":
            common.out.json(found)
            return
        common.out.table([_line(each) for each in found["entries"]], _LEDGER)

    common.ask(act)


def _line(entry: dict[str, Any]) -> dict[str, Any]:
    facts = entry["facts"]
    return {
        "time": _time(entry["time_ms"]),
        "what": entry["event"].removeprefix("egress."),
        "purpose": facts.get("purpose"),
        "destination": entry["target"].removeprefix("host:"),
        "address": facts.get("address"),
        "out": facts.get("sent_bytes"),
        "in": facts.get("received_bytes"),
        "by": facts.get("code") or facts.get("by"),
        "who": entry["actor"]["username"],
    }


def _parted(text: str, port: int) -> tuple[str, int]:
    """Raises Misasked(`bad_destination`)."""
    match = _DESTINATION.fullmatch(text)
    if match is None:
        raise Misasked("bad_destination", f"{text!r} is no host.", "Write HOST, HOST:PORT or [ADDRESS]:PORT.")
    return match["v6"] or match["host"], int(match["port"] or port)


def _seconds(text: str) -> int:
    """Raises Misasked(`bad_time`)."""
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit()) or unit not in _SECONDS:
        raise Misasked("bad_time", f"{text!r} is no time.", "Write it as 90m, 12h or 7d.")
    return int(number) * _SECONDS[unit]


def _shown(each: dict[str, Any]) -> str:
    host = f"[{each['host']}]" if ":" in each["host"] else each["host"]
    return f"{host}:{each['port'] or '*'}"


def _until(each: dict[str, Any]) -> str:
    if each["once"]:
        return "used once"
    return "" if each["expires_ms"] is None else _time(each["expires_ms"])


def _time(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000).astimezone():%Y-%m-%d %H:%M:%S}"
