"""A signed account of this installation, for somebody outside: `intramural attest …`."""

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from intramural.cli.root import DEFAULT, PAGE, Common, attest

if TYPE_CHECKING:
    from intramural.cli.client import Client

_FINDINGS = {"colour": "COLOUR", "code": "ABOUT", "says": "WHAT"}
_LIST = {"id": "ID", "time": "TIME", "colour": "COLOUR", "reds": "RED", "ambers": "AMBER", "nonce": "NONCE"}
_RED_STATUS = 1

_Out = Annotated[Path | None, Parameter(help="Write the signed file here (JSON).")]
_Page = Annotated[Path | None, Parameter(name="--page", help="Write a page to read and print here (HTML).")]


@attest.default
def make(
    *,
    nonce: Annotated[str | None, Parameter(help="Signed with it: a number that whoever asks has chosen.")] = None,
    out: _Out = None,
    page: _Page = None,
    common: Common = DEFAULT,
) -> None:
    """Read everything anew, sign it, and keep it. Exit status 1 if something is missing, was lowered or was not seen.

    The running service is asked. What it looked at is in the file; check that elsewhere with `verify_intramural.py`.
    """
    colour = ""

    async def act(client: "Client") -> None:
        nonlocal colour
        found = await client.post(f"{PAGE}/attestations", {"nonce": nonce})
        colour = found["statement"]["colour"]
        await _show(client, found["statement"], out, page, common)

    common.ask(act)
    if colour == "red":
        sys.exit(_RED_STATUS)


@attest.command(name="list", alias="ls")
def list_kept(*, common: Common = DEFAULT) -> None:
    """Show those that are kept, the newest first."""

    async def act(client: "Client") -> None:
        found = (await client.get(f"{PAGE}/attestations"))["attestations"]
        common.out.table([each | {"time": _time(each["time_ms"])} for each in found], _LIST)

    common.ask(act)


@attest.command(name="show")
def show(attestation_id: str, *, out: _Out = None, page: _Page = None, common: Common = DEFAULT) -> None:
    """Show one that is kept, or write it into files."""

    async def act(client: "Client") -> None:
        found = await client.get(f"{PAGE}/attestations/{attestation_id}")
        await _show(client, found["statement"], out, page, common)

    common.ask(act)


async def _show(
    client: "Client", statement: dict[str, Any], out: Path | None, page: Path | None, common: Common
) -> None:
    """Byte for byte as it was kept, where it is written down; and its sentences, the worst first."""
    path = f"{PAGE}/attestations/{statement['id']}"
    if out is not None:
        out.write_text(await client.text(path), "ascii", newline="")
    if page is not None:
        page.write_text(await client.text(f"{path}/page"), "utf-8")
    if common.out.mode == "json":
        common.out.json(statement)
        return
    worst = {"red": 0, "amber": 1}
    common.out.table(sorted(statement["findings"], key=lambda each: worst.get(each["colour"], 2)), _FINDINGS)
    common.out.note(f"{statement['colour']}: {statement['id']}, of {_time(statement['time_ms'])}.")


def _time(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000).astimezone():%Y-%m-%d %H:%M:%S}"
