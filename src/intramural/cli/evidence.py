"""Evidence packs: `intramural evidence …`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from intramural.cli.root import DEFAULT, PAGE, Common, evidence

if TYPE_CHECKING:
    from intramural.cli.client import Client

_COLUMNS = {"control": "CONTROL", "outcome": "OUTCOME", "seen": "SEEN", "packs": "PACKS"}
_Out = Annotated[
    Path | None, Parameter(help="File for the signed statement; the page to read and print goes beside it, as .html.")
]


@evidence.command(name="ls")
def controls(*, common: Common = DEFAULT) -> None:
    """List every control with what it came to when somebody looked last."""
    common.ask(lambda client: _list(client, common, "ls"))


@evidence.command
def look(*, common: Common = DEFAULT) -> None:
    """Look at every control now; the whole log is verified."""
    common.ask(lambda client: _list(client, common, "look"))


@evidence.command
def hipaa(out: _Out = None, *, common: Common = DEFAULT) -> None:
    """Make the pack for the HIPAA Security Rule (45 CFR 164.308 to 164.312), from a look of now."""
    _make("hipaa", out, common)


@evidence.command
def ferpa(out: _Out = None, *, common: Common = DEFAULT) -> None:
    """Make the pack for FERPA (34 CFR part 99), from a look of now."""
    _make("ferpa", out, common)


@evidence.command
def gdpr(out: _Out = None, *, common: Common = DEFAULT) -> None:
    """Make the pack for the GDPR, with the record of processing (article 30), from a look of now."""
    _make("gdpr", out, common)


@evidence.command(name="ai-act")
def ai_act(out: _Out = None, *, common: Common = DEFAULT) -> None:
    """Make the pack for the EU AI Act (articles 12, 19 and 26), from a look of now."""
    _make("ai-act", out, common)


@evidence.command
def rehearsed(
    backup: str,
    *,
    note: Annotated[str, Parameter(help="What was tried and seen; of it the log keeps a commitment.")] = "",
    common: Common = DEFAULT,
) -> None:
    """Say that you restored BACKUP (its name) elsewhere, and that it works."""

    async def act(client: "Client") -> None:
        given = {"backup": backup, "note": note}
        common.out.record(await client.post(f"{PAGE}/evidence/rehearsals", given), main="position")

    common.ask(act)


async def _list(client: "Client", common: Common, how: str) -> None:
    found = await (client.post(f"{PAGE}/evidence/look", {}) if how == "look" else client.get(f"{PAGE}/evidence"))
    rows: list[dict[str, Any]] = found["controls"]
    common.out.table(rows, _COLUMNS)
    if failed := [each for each in rows if each["outcome"] == "failed"]:
        common.out.note(f"{len(failed)} failed. What to do:")
        for each in failed:
            common.out.note(f"  {each['control']}: {each['mend']}")


def _make(law: str, out: Path | None, common: Common) -> None:
    async def act(client: "Client") -> None:
        made = await client.get(f"{PAGE}/evidence/packs/{law}")
        said = made["pack"]["statement"]
        record = {"law": law, **said["sums"]}
        record["failing"] = [each["control"] for each in said["controls"] if each["outcome"] == "failed"]
        if out is not None:
            beside = out.with_suffix(".html")
            out.write_text(json.dumps(made["pack"], indent=1) + "\n", "utf-8")
            beside.write_text(made["page"], "utf-8")
            record |= {"written": str(out), "page": str(beside)}
        common.out.record(record, main="failed")

    common.ask(act)
