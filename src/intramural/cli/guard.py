"""`intramural guard`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intramural.cli.root import DEFAULT, PAGE, Common, guard
from intramural.core.errors import Misasked

if TYPE_CHECKING:
    from intramural.cli.client import Client


@guard.command
def check(file: str | None = None, *, label: str | None = None, common: Common = DEFAULT) -> None:
    """Show what the guard would find in FILE (without: in standard input), and what would become of it.

    Places are shown, values are not; `--json` has the redacted text too. Nothing of it is kept.

    Parameters
    ----------
    label
        As under this label: public, internal, confidential, phi or education.
    """
    text = _read(file)

    async def act(client: "Client") -> None:
        found = await client.post(f"{PAGE}/guard/check", {"text": text, "label": label})
        if common.out.mode == "json":
            common.out.json(found)
            return
        rows = [_row(text, each) for each in found["found"]]
        common.out.table(
            rows,
            {
                "line": "LINE",
                "columns": "COLUMNS",
                "called": "LOOKS LIKE",
                "action": "ACTION",
                "recogniser": "FOUND BY",
            },
        )
        common.out.note(
            f"Label {found['label']}: {len(rows)} found. {found['claim']}: see docs/guard.md for what it misses."
        )
        if found["not_looked_for"]:
            common.out.note(f"Not looked for: {', '.join(found['not_looked_for'])}.")

    common.ask(act)


def _read(file: str | None) -> str:
    try:
        return sys.stdin.read() if file is None else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{file} cannot be read as text: {error}."
        raise Misasked("bad_file", message, "Name a text file in UTF-8.") from None


def _row(text: str, found: dict[str, Any]) -> dict[str, Any]:
    start = text.rfind("\n", 0, found["start"]) + 1
    columns = f"{found['start'] - start + 1}-{found['end'] - start}"
    return {**found, "line": text.count("\n", 0, found["start"]) + 1, "columns": columns}
