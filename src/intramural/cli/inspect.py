"""`intramural inspect` and `intramural release`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import uvloop
from cyclopts import Parameter

from intramural.cli.root import DEFAULT, PAGE, Common, cli

if TYPE_CHECKING:
    from intramural.cli.client import Client
    from intramural.library import Verdict

#: Exit statuses, the worst first; 1 is for files that could not be looked at.
EXITS = {"refused": 3, "quarantined": 4, "sound": 0}


@cli.command
def inspect(*files: Path, common: Common = DEFAULT) -> None:
    """Say whether the models in FILES (or folders) are sound, in a confined process and without shelving them.

    Needs no service. Exit status 0: all are sound; 3: one is refused; 4: one would be quarantined. See
    docs/inspection.md.
    """
    # Imported here: the program starts quickly, and most commands do not need the whole of it.
    from intramural import app

    found = uvloop.run(app.inspected(files))
    worst = next(verdict for verdict in EXITS if any(each.verdict == verdict for each in found))
    if common.out.mode == "json":
        common.out.json({"verdict": worst, "models": [msgspec.to_builtins(each) for each in found]})
    else:
        columns = {"verdict": "VERDICT", "name": "MODEL", "code": "CODE", "field": "FIELD", "where": "WHERE"}
        columns["message"] = "WHY"
        common.out.table([row for each in found for row in _rows(each)], columns)
    sys.exit(EXITS[worst])


def _rows(found: "Verdict") -> list[dict[str, Any]]:
    """One row, or one for each finding."""
    base = {"name": found.name, "verdict": found.verdict}
    if found.findings:
        return [
            {**base, "code": each.code, "field": each.field, "where": f"line {each.line}", "message": each.message}
            for each in found.findings
        ]
    where = None if found.offset is None else f"byte {found.offset}"
    return [{**base, "code": found.code, "field": found.field, "where": where, "message": found.message}]


@cli.command
def release(
    model: str,
    *,
    reason: Annotated[str, Parameter(help="Why it may be used; kept in the log.")],
    common: Common = DEFAULT,
) -> None:
    """Let a quarantined MODEL be loaded. See docs/inspection.md."""

    async def act(client: "Client") -> None:
        released = await client.post(f"{PAGE}/models/{model}/release", {"reason": reason})
        common.out.record({"model": released["name"], **(released["released"] or {"reason": reason})}, main="model")

    common.ask(act)
