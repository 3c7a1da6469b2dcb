"""Holding checkpoints outside: `intramural log anchor …`, and `intramural witness` for another machine."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import uvloop
from cyclopts import Parameter

from intramural.cli.root import DEFAULT, PAGE, Common, cli, log

if TYPE_CHECKING:
    from intramural.cli.client import Client


@log.command
def anchor(*, common: Common = DEFAULT) -> None:
    """Put the newest checkpoint into every anchor that the settings name. Exit status 1 if one did not take it."""
    failed = False

    async def act(client: "Client") -> None:
        nonlocal failed
        rows = (await client.post(f"{PAGE}/audit/anchors"))["anchored"]
        failed = not rows or any(each["error"] for each in rows)
        common.out.table(rows, {"anchor": "ANCHOR", "size": "ENTRIES", "error": "ERROR", "message": "WHAT"})

    common.ask(act)
    if failed:
        sys.exit(1)


@log.command
def anchors(*, common: Common = DEFAULT) -> None:
    """Say which anchors there are, and how long ago a checkpoint was put in one."""

    async def act(client: "Client") -> None:
        common.out.record(await client.get(f"{PAGE}/audit/anchors"), main="colour")

    common.ask(act)


@log.command
def paper(out: Path, *, common: Common = DEFAULT) -> None:
    """Write the newest checkpoint into the file OUT as a picture to print (SVG): text, and a QR code of it."""

    async def act(client: "Client") -> None:
        out.write_text(await client.text(f"{PAGE}/audit/paper"), "utf-8")
        common.out.record({"written": str(out)}, main="written")

    common.ask(act)


@cli.command
def witness(
    folder: Path,
    name: str,
    *logs: str,
    host: str = "127.0.0.1",
    port: int = 8790,
    key: Annotated[bool, Parameter(negative="", help="Print the public keys and end.")] = False,
    common: Common = DEFAULT,
) -> None:
    """Watch the logs of other installations, and sign what goes on from what was signed before (c2sp.org/tlog-witness).

    FOLDER holds the keys and the last checkpoints, NAME is how this witness is called (`school.example/witness`), LOGS
    are the public keys of the logs (`intramural audit key`).

    Parameters
    ----------
    host
        Address to answer on.
    port
        Port to answer on.
    """
    from intramural import app

    keys = app.witness_keys(folder, name)
    common.out.record({"name": name, "public_keys": keys, "address": f"http://{host}:{port}"}, main="public_keys")
    sys.stdout.flush()
    if not key:
        uvloop.run(app.witness(folder, name, logs, host, port))
