"""Ages, consents, notices and declared uses: `intramural age|consent|notice|use …`."""

import csv
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from intramural.cli.organisation import found_group, found_person, found_workspace
from intramural.cli.root import DEFAULT, PAGE, Common, age, consent, notice, use
from intramural.core.errors import Misasked

if TYPE_CHECKING:
    from intramural.cli.client import Client

Band = Literal["unknown", "under-13", "13-15", "16-17", "adult"]
Feature = Literal["use", "keep", "files", "audio"]
Group = Annotated[str | None, Parameter(help="All who are in this group or within, but those who manage it.")]
List = Annotated[Path | None, Parameter(name="--csv", help="A file with a line for each, and headings.")]
#: Half a spreadsheet of a large school.
_MOST_BYTES = 4 * 2**20


# ages -----------------------------------------------------------------------------------------------------------------


@age.command(name="set")
def set_age(
    band: Band | None = None,
    *people: str,
    group: Group = None,
    file: List = None,
    common: Common = DEFAULT,
) -> None:
    """Write down the age band of PEOPLE, of a group, or of a list with the headings `username` and `age` or
    `birth_year` (of which only the band is kept). All of them, or nothing.
    """

    async def act(client: "Client") -> None:
        rows: list[dict[str, Any]] = [{"username": name} for name in people]
        for row in _rows(file, {"username", "age", "birth_year"}):
            birth_year = row.pop("birth_year", "")
            rows.append(row | ({"birth_year": _number(birth_year)} if birth_year else {}))
        body = {"people": rows, "age": band, "group_id": await _group(client, group)}
        common.out.record(await client.post(f"{PAGE}/ages", body), main="changed")

    common.ask(act)


@age.command(name="ls")
def list_ages(
    *,
    lacking: Annotated[bool, Parameter(negative="", help="Those alone who lack a consent.")] = False,
    group: Annotated[str | None, Parameter(help="Those in this group or within.")] = None,
    common: Common = DEFAULT,
) -> None:
    """List the people with their age bands, what needs consent at that age, and what is consented to."""

    async def act(client: "Client") -> None:
        query = {"lacking": "true" if lacking else None, "group_id": await _group(client, group)}
        people = (await client.get(f"{PAGE}/ages", **query))["people"]
        columns = {"username": "NAME", "age": "AGE", "needed": "NEEDS CONSENT", "consents": "CONSENTED"}
        common.out.table(people, columns)

    common.ask(act)


# consents -------------------------------------------------------------------------------------------------------------


@consent.command(name="give")
def give(
    *people: str,
    to: Annotated[list[Feature] | None, Parameter(help="What is consented to; `use` alone, if not said.")] = None,
    how: Annotated[Literal["paper", "portal", "email", "in person"], Parameter(help="How it was given.")] = "paper",
    by: Annotated[Literal["guardian", "school"], Parameter(help="Who consents.")] = "guardian",
    group: Group = None,
    file: List = None,
    on: Annotated[str | None, Parameter(help="The day it was given, as 2026-09-01; today, if not said.")] = None,
    until: Annotated[str | None, Parameter(help="The day it ends; never, if not said.")] = None,
    reference: Annotated[str, Parameter(help="Where the form is.")] = "",
    common: Common = DEFAULT,
) -> None:
    """Record a guardian's consent for PEOPLE, a group, or a list with the headings `username` and, if wanted,
    `reference` and `until`. All of them, or nothing.
    """

    async def act(client: "Client") -> None:
        rows: list[dict[str, Any]] = [{"username": name} for name in people]
        for row in _rows(file, {"username", "reference", "until"}):
            ends = row.pop("until", "")
            rows.append(row | ({"until_ms": _day_ms(ends)} if ends else {}))
        body: dict[str, Any] = {
            "people": rows,
            "group_id": await _group(client, group),
            "features": to or ["use"],
            "how": how,
            "given_by": by,
            "given_ms": None if on is None else _day_ms(on),
            "until_ms": None if until is None else _day_ms(until),
            "reference": reference,
        }
        done = (await client.post(f"{PAGE}/consents", body))["recorded"]
        common.out.record({"recorded": len(done), "ids": done if len(done) < 10 else f"{len(done)}"}, main="recorded")

    common.ask(act)


@consent.command(name="ls")
def list_consents(person: str, *, common: Common = DEFAULT) -> None:
    """List the consents of PERSON, also those that were withdrawn. That they were shown is recorded."""

    async def act(client: "Client") -> None:
        person_id = (await found_person(client, person))["id"]
        found = (await client.get(f"{PAGE}/people/{person_id}/consents"))["consents"]
        rows = [
            {**each, **{name: _moment(each[name]) for name in ("given_ms", "until_ms", "withdrawn_ms")}}
            for each in found
        ]
        columns = {
            "id": "ID",
            "features": "TO",
            "given_by": "BY",
            "how": "HOW",
            "given_ms": "GIVEN",
            "until_ms": "UNTIL",
        }
        common.out.table(rows, {**columns, "withdrawn_ms": "WITHDRAWN", "reference": "REFERENCE"})

    common.ask(act)


@consent.command(name="withdraw")
def withdraw(consent_id: str, *, common: Common = DEFAULT) -> None:
    """Withdraw a consent: what it allowed is refused at once, and what runs ends within seconds."""

    async def act(client: "Client") -> None:
        common.out.record(await client.delete(f"{PAGE}/consents/{consent_id}"), main="id")

    common.ask(act)


# notices --------------------------------------------------------------------------------------------------------------


#: Audiences that are named by their names.
_AUDIENCES = {"group": found_group, "workspace": found_workspace}


@notice.command(name="set")
def set_notice(
    title: str,
    text: Annotated[Path, Parameter(help="A file with the text, in Markdown.")],
    *,
    audience: Annotated[
        str, Parameter(help="everyone, role:NAME, group:NAME, workspace:NAME or age:BAND.")
    ] = "everyone",
    blocking: Annotated[bool, Parameter(negative="", help="Models answer only who has read it.")] = False,
    notice_id: Annotated[str | None, Parameter(name="--id", help="Of the notice to change.")] = None,
    common: Common = DEFAULT,
) -> None:
    """Make a notice that people read on the page, or change one: with another text everybody has to read it again."""
    words = _text(text)

    async def act(client: "Client") -> None:
        path = f"{PAGE}/notices"
        kind, _, named = audience.partition(":")
        whose = f"{kind}:{(await _AUDIENCES[kind](client, named))['id']}" if kind in _AUDIENCES else audience
        body = {"title": title, "text": words, "audience": whose, "blocking": blocking}
        made = await (client.post(path, body) if notice_id is None else client.put(f"{path}/{notice_id}", body))
        common.out.record(made, main="id")

    common.ask(act)


@notice.command(name="ls")
def list_notices(*, common: Common = DEFAULT) -> None:
    """List the notices."""

    async def act(client: "Client") -> None:
        found = (await client.get(f"{PAGE}/notices/all"))["notices"]
        columns = {"id": "ID", "title": "TITLE", "audience": "FOR", "blocking": "BLOCKING"}
        common.out.table(found, {**columns, "readers": "READ BY", "unread": "NOT YET"})

    common.ask(act)


@notice.command(name="readers")
def list_readers(notice_id: str, *, common: Common = DEFAULT) -> None:
    """List who has read a notice as it is now, and how."""

    async def act(client: "Client") -> None:
        names = {each["id"]: each["username"] for each in (await client.get(f"{PAGE}/people"))["people"]}
        found = (await client.get(f"{PAGE}/notices/{notice_id}/readers"))["readers"]
        rows = [
            {**each, "username": names.get(each["person_id"], ""), "when": _moment(each["time_ms"])} for each in found
        ]
        common.out.table(rows, {"username": "NAME", "how": "HOW", "when": "WHEN"})

    common.ask(act)


@notice.command(name="signed")
def signed(notice_id: str, person: str, *, common: Common = DEFAULT) -> None:
    """Write down that PERSON has signed on paper that they read a notice."""

    async def act(client: "Client") -> None:
        person_id = (await found_person(client, person))["id"]
        common.out.record(await client.put(f"{PAGE}/notices/{notice_id}/readers/{person_id}", {}), main="new")

    common.ask(act)


@notice.command(name="rm")
def end_notice(notice_id: str, *, common: Common = DEFAULT) -> None:
    """Show a notice to nobody any more; who read it stays recorded."""

    async def act(client: "Client") -> None:
        await client.delete(f"{PAGE}/notices/{notice_id}")
        common.out.record({"ended": notice_id}, main="ended")

    common.ask(act)


# declared uses --------------------------------------------------------------------------------------------------------


@use.command(name="ls")
def list_uses(*, common: Common = DEFAULT) -> None:
    """List what workspaces are declared for and who oversees that."""

    async def act(client: "Client") -> None:
        names = {each["id"]: each["username"] for each in (await client.get(f"{PAGE}/people"))["people"]}
        spaces = {each["id"]: each["name"] for each in (await client.get(f"{PAGE}/workspaces/all"))["workspaces"]}
        rows = [
            {
                "workspace": spaces.get(each["workspace_id"], each["workspace_id"]),
                "uses": [one["use"] for one in each["uses"]],
                "overseers": [names.get(one, one) for one in each["overseers"]],
            }
            for each in (await client.get(f"{PAGE}/uses"))["workspaces"]
        ]
        common.out.table(rows, {"workspace": "WORKSPACE", "uses": "HIGH RISK", "overseers": "OVERSEEN BY"})

    common.ask(act)


@use.command(name="words")
def list_words(*, common: Common = DEFAULT) -> None:
    """List the uses of high risk that may be declared, and what the law prohibits."""

    async def act(client: "Client") -> None:
        found = await client.get(f"{PAGE}/uses")
        rows = [{"use": name, "kind": "high risk", "what": what} for name, what in found["high_risk"].items()]
        rows += [{"use": name, "kind": "prohibited", "what": what} for name, what in found["prohibited"].items()]
        common.out.table(rows, {"use": "USE", "kind": "KIND", "what": "WHAT"})

    common.ask(act)


@use.command(name="declare")
def declare(workspace: str, what: str, *, common: Common = DEFAULT) -> None:
    """Declare WORKSPACE for a use of high risk: its notice, purpose and oversight are on from now on."""

    async def act(client: "Client") -> None:
        workspace_id = (await found_workspace(client, workspace))["id"]
        common.out.record(await client.put(f"{PAGE}/workspaces/{workspace_id}/uses/{what}", {}), main="use")

    common.ask(act)


@use.command(name="withdraw")
def withdraw_use(workspace: str, what: str, *, common: Common = DEFAULT) -> None:
    """Say that WORKSPACE is not used so any more."""

    async def act(client: "Client") -> None:
        workspace_id = (await found_workspace(client, workspace))["id"]
        await client.delete(f"{PAGE}/workspaces/{workspace_id}/uses/{what}")
        common.out.record({"workspace": workspace, "withdrawn": what}, main="withdrawn")

    common.ask(act)


@use.command(name="oversee")
def oversee(workspace: str, person: str, *, common: Common = DEFAULT) -> None:
    """Name PERSON to oversee what WORKSPACE is declared for."""

    async def act(client: "Client") -> None:
        workspace_id = (await found_workspace(client, workspace))["id"]
        person_id = (await found_person(client, person))["id"]
        await client.put(f"{PAGE}/workspaces/{workspace_id}/overseers/{person_id}", {})
        common.out.record({"workspace": workspace, "overseer": person}, main="overseer")

    common.ask(act)


@use.command(name="relieve")
def relieve(workspace: str, person: str, *, common: Common = DEFAULT) -> None:
    """Let PERSON oversee WORKSPACE no more."""

    async def act(client: "Client") -> None:
        workspace_id = (await found_workspace(client, workspace))["id"]
        person_id = (await found_person(client, person))["id"]
        await client.delete(f"{PAGE}/workspaces/{workspace_id}/overseers/{person_id}")
        common.out.record({"workspace": workspace, "relieved": person}, main="relieved")

    common.ask(act)


# files and days -------------------------------------------------------------------------------------------------------


def _rows(file: Path | None, known: set[str]) -> list[dict[str, str]]:
    """The lines of a list, without what is empty. Raises Misasked(`bad_list`)."""
    if file is None:
        return []
    lines = csv.DictReader(_text(file).splitlines())
    headings = [heading.strip().casefold() for heading in lines.fieldnames or ()]
    if "username" not in headings or (unknown := sorted(set(headings) - known)):
        what = "no heading `username`" if "username" not in headings else f"the heading {unknown[0]!r}"
        raise Misasked("bad_list", f"{file} has {what}.", f"Headings: {', '.join(sorted(known))}.")
    lines.fieldnames = headings
    found = []
    for number, row in enumerate(lines, 2):
        values = {name: text.strip() for name, text in row.items() if name in known and text and text.strip()}
        if None in row or "username" not in values:
            raise Misasked("bad_list", f"Line {number} of {file} is not whole.", "Mend it; nothing was written down.")
        found.append(values)
    return found


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise Misasked("bad_list", f"{file} is larger than {_MOST_BYTES} bytes.", "Send it in parts.")
        return file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Misasked("bad_list", f"{file} cannot be read: {error}.", "Save it as UTF-8.") from error


def _number(text: str) -> int:
    if not text.isdecimal():
        raise Misasked("bad_birth_year", f"{text!r:.40} is no year of birth.", "Write a year with four digits.")
    return int(text)


def _day_ms(text: str) -> int:
    """The beginning of a day, UTC. Raises Misasked(`bad_day`)."""
    try:
        return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        raise Misasked("bad_day", f"{text!r:.40} is no day.", "Write it as 2026-09-01.") from None


def _moment(time_ms: int | None) -> str:
    return "" if time_ms is None else datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d")


async def _group(client: "Client", name: str | None) -> str | None:
    return None if name is None else str((await found_group(client, name))["id"])
