"""`intramural people`: lists of people from elsewhere."""

import io
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from intramural.cli.organisation import found_person
from intramural.cli.root import DEFAULT, PAGE, Common, people
from intramural.core.errors import Conflicting, Missing

if TYPE_CHECKING:
    from intramural.cli.client import Client

Flag = Annotated[bool, Parameter(negative="")]
#: Changes that are shown one by one; `--json` has more.
_SHOWN = 40
#: The role of directories' accounts, and all that it may.
_ROLE, _PERMISSION = "directory", "people.provision"
_SCIM = "/scim/v2"


@people.command(name="import")
def take_in(
    path: Path,
    *,
    source: str = "roster",
    dry_run: Flag = False,
    disable_missing: Flag = False,
    adopt: Flag = False,
    yes: Flag = False,
    role: list[str] | None = None,
    common: Common = DEFAULT,
) -> None:
    """Take in a list of people: a CSV file, or OneRoster 1.1 or 1.2 as a zip file or a folder (docs/provisioning.md).

    Parameters
    ----------
    source
        What the list is called: the same name the next time.
    dry_run
        Only say what would change.
    disable_missing
        Shut out who is not on it any more.
    adopt
        Who has the name of somebody on the list is that person.
    yes
        Even if very many would be shut out.
    role
        A role of the list and what it is here, as `parent=member`; once each.
    """
    data = _zipped(path) if path.is_dir() else _read(path)
    flags = {"dry_run": dry_run, "disable_missing": disable_missing, "adopt": adopt, "yes": yes}
    query = [("source", source), ("file", path.name[:200]), *((name, "true") for name, on in flags.items() if on)]
    query += [("role", each) for each in role or []]

    async def act(client: "Client") -> None:
        plan: dict[str, Any] = {}
        with common.out.steps() as bar:
            task = bar.add_task("reading", total=None)
            async for state in client.sent(f"{PAGE}/people/import", data, query):
                if state["state"] == "planned":
                    plan = state
                else:
                    bar.update(task, description="changing", completed=state["done"], total=state["total"])
                    plan["state"] = state["state"]
        _told(plan, common, dry_run=dry_run)

    common.ask(act)


@people.command
def imports(*, common: Common = DEFAULT) -> None:
    """List what was done with lists of people before, on the page too, the newest first."""

    async def act(client: "Client") -> None:
        found = (await client.get(f"{PAGE}/people/imports"))["imports"]
        rows = [{**each, "when": _minute(each["time_ms"]), "changes": sum(each["counts"].values())} for each in found]
        columns = {"when": "WHEN", "source": "LIST", "outcome": "OUTCOME", "changes": "CHANGES", "done": "MADE"}
        common.out.table(rows, {**columns, "missing": "MISSING"})

    common.ask(act)


@people.command
def directory(name: str, *, common: Common = DEFAULT) -> None:
    """Make the key with which a directory (Entra ID, Okta, …) keeps the people here by SCIM. It is shown this once.

    NAME is what the directory is called here, as `entra`: a service account, which can do nothing else. The same again
    makes another key; revoke the old one when the new one is in its place.
    """

    async def act(client: "Client") -> None:
        await client.put(f"{PAGE}/roles/{_ROLE}", {"permissions": [_PERMISSION]})
        try:
            account = await found_person(client, name)
        except Missing:
            account = await client.post(f"{PAGE}/people", {"username": name, "role": _ROLE})
        if account["kind"] != "service" or account["role"] != _ROLE:
            message = f"{name!r} is somebody else already."
            raise Conflicting("username_taken", message, "Choose another name for the directory.")
        body = {"name": f"SCIM for {name}", "scopes": ["provision"], "person_id": account["id"]}
        made = await client.post(f"{PAGE}/keys", body)
        told = {"address": f"https://YOUR-HOST{_SCIM}", "secret": made["secret"], "key": made["key"]["id"]}
        common.out.record({"directory": name, **told}, main="secret")

    common.ask(act)


def _told(plan: dict[str, Any], common: Common, *, dry_run: bool) -> None:
    if common.json:
        common.out.json(plan)
        return
    if dry_run:
        rows = plan["steps"][:_SHOWN]
        common.out.table(rows, {"what": "WOULD BE", "name": "WHOM", "line": "LINE"})
        if len(plan["steps"]) > _SHOWN:
            common.out.note(f"and {sum(plan['changes'].values()) - _SHOWN} more; --json shows them")
        if plan["too_many"]:
            common.out.warn(plan["too_many"], "It is not done unless you say --yes.")
    for warning in plan["warnings"]:
        common.out.warn(warning, "")
    changed = sum(plan["changes"].values())
    counts = {each.replace(".", " "): number for each, number in plan["changes"].items()}
    listed = {"people on the list": plan["people"], "groups on the list": plan["groups"]}
    common.out.record({**listed, "changes": changed, **counts}, main="changes")


def _minute(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise Missing("file_not_found", f"There is no file {str(path)!r}.", "Check the path.")
    return path.read_bytes()


def _zipped(folder: Path) -> bytes:
    """The CSV files of a folder, as they would come in a zip file."""
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise Conflicting("no_list", f"There is no CSV file in {str(folder)!r}.", "Name the folder with users.csv.")
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            archive.write(file, file.name)
    return sink.getvalue()
