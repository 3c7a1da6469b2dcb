"""What an outsider checks: `intramural log …`."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from intramural.cli.root import DEFAULT, PAGE, Common, log
from intramural.core.errors import Misasked

if TYPE_CHECKING:
    from intramural.cli.client import Client


@log.command
def export(
    out: Path,
    *,
    start: Annotated[str | None, Parameter(name="--from", help="From this day on (2026-01-31).")] = None,
    end: Annotated[str | None, Parameter(name="--to", help="Up to this day (2026-02-01).")] = None,
    common: Common = DEFAULT,
) -> None:
    """Write the log into the file OUT as `verify_intramural.py log` checks it: its own bytes, with checkpoints."""

    async def act(client: "Client") -> None:
        query = [(name, str(_ms(text))) for name, text in (("from_ms", start), ("to_ms", end)) if text is not None]
        text = await client.text(f"{PAGE}/audit/log", query)
        out.write_text(text, "utf-8")
        common.out.record({"written": str(out), "lines": text.count("\n")}, main="lines")

    common.ask(act)


@log.command
def prove(position: int, out: Path, *, common: Common = DEFAULT) -> None:
    """Write entry POSITION with its proof into the file OUT, as `verify_intramural.py proof` checks it."""

    async def act(client: "Client") -> None:
        out.write_text(await client.text(f"{PAGE}/audit/proof", [("position", str(position))]), "utf-8")
        common.out.record({"written": str(out)}, main="written")

    common.ask(act)


@log.command
def since(old: int, out: Path, *, common: Common = DEFAULT) -> None:
    """Write the newest checkpoint into the file OUT, with the proof that the first OLD entries are as they were."""

    async def act(client: "Client") -> None:
        out.write_text(await client.text(f"{PAGE}/audit/consistency", [("old", str(old))]), "utf-8")
        common.out.record({"written": str(out)}, main="written")

    common.ask(act)


@log.command
def verifier(out: Path | None = None, *, common: Common = DEFAULT) -> None:
    """Print the SHA-256 of the verifier that this version hands out, and write the verifier into the file OUT.

    Needs no service. Compare the SHA-256 with what you have from elsewhere: a verifier that comes from whoever is
    checked proves little.
    """
    from intramural.audit import VERIFIER, verifier_file

    found = verifier_file()
    if out is not None:
        out.write_bytes(found.data)
    record = {"name": VERIFIER, "sha256": found.sha256, "size_bytes": len(found.data)}
    common.out.record(record | ({} if out is None else {"written": str(out)}), main="sha256")


def _ms(text: str) -> int:
    """In this machine's time zone."""
    try:
        return int(datetime.fromisoformat(text).astimezone().timestamp() * 1000)
    except ValueError as error:
        raise Misasked("bad_period", f"That is no day: {error}.", "Write it as 2026-01-31.") from None
