"""Breaking the glass on the machine itself: `intramural break-glass list|ask|open|close|refuse|chats|chat`.

Agreeing is not among them: a second person does that with their own name, signed in on the page.
"""

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from intramural.cli.render import plain
from intramural.cli.root import DEFAULT, PAGE, Common, break_glass
from intramural.core.errors import Misasked

if TYPE_CHECKING:
    from intramural.cli.client import Client

_COLUMNS = {
    "id": "ID",
    "state": "STATE",
    "asker": "WHO",
    "whose": "WHOSE",
    "purpose": "FOR",
    "approver": "AGREED",
    "ends": "UNTIL",
}
Owner = Annotated[str | None, Parameter(help="Whose: an identifier, where the opening is of a workspace.")]


@break_glass.command(name="list")
def list_openings(*, common: Common = DEFAULT) -> None:
    """List who asked to read what is another's, and what became of it."""

    async def act(client: "Client") -> None:
        found = (await client.get(f"{PAGE}/break-glass"))["openings"]
        common.out.table([_row(each) for each in found], _COLUMNS)

    common.ask(act)


@break_glass.command(name="ask")
def ask(
    purpose: str,
    *,
    user: Annotated[str | None, Parameter(help="Whose things.")] = None,
    workspace: Annotated[str | None, Parameter(help="Or what is in this workspace; with --user, theirs there.")] = None,
    minutes: Annotated[int | None, Parameter(help="How long it is to last.")] = None,
    common: Common = DEFAULT,
) -> None:
    """Ask to read what is another's, for PURPOSE: emergency, safeguarding, investigation, legal or request.

    The reason is read from standard input, or asked for. On this machine a second person has to agree, on the page.
    """
    body = {"purpose": purpose, "person": user, "workspace": workspace, "minutes": minutes, "reason": _reason()}

    async def act(client: "Client") -> None:
        common.out.record(_row(await client.post(f"{PAGE}/break-glass", body)), main="id")

    common.ask(act)


@break_glass.command(name="open")
def begin(opening: str, *, common: Common = DEFAULT) -> None:
    """Begin to look: its time runs from now on, and the owners are told."""
    _step(opening, "open", common)


@break_glass.command(name="close")
def close(opening: str, *, common: Common = DEFAULT) -> None:
    """End an opening, whoever asked for it."""
    _step(opening, "close", common)


@break_glass.command(name="refuse")
def refuse(opening: str, *, common: Common = DEFAULT) -> None:
    """Say no to what somebody has asked for."""
    _step(opening, "refuse", common)


@break_glass.command(name="owners")
def owners(opening: str, *, common: Common = DEFAULT) -> None:
    """List whose things an opening is about."""

    async def act(client: "Client") -> None:
        found = (await client.get(f"{PAGE}/break-glass/{opening}/owners"))["owners"]
        common.out.table(found, {"id": "ID", "username": "NAME"})

    common.ask(act)


@break_glass.command(name="chats")
def chats(opening: str, *, owner: Owner = None, common: Common = DEFAULT) -> None:
    """List the chats that an opening shows. That it was looked is recorded, and told to their owner."""

    async def act(client: "Client") -> None:
        found = (await client.get(f"{PAGE}/break-glass/{opening}/chats", owner=owner))["chats"]
        rows = [{**each, "used": _time(each["updated_ms"])} for each in found]
        common.out.table(rows, {"id": "ID", "title": "TITLE", "used": "LAST USED"})

    common.ask(act)


@break_glass.command(name="chat")
def chat(opening: str, chat_id: str, *, owner: Owner = None, common: Common = DEFAULT) -> None:
    """Show one chat. That it was read is recorded, and told to its owner."""

    async def act(client: "Client") -> None:
        whole = await client.get(f"{PAGE}/break-glass/{opening}/chats/{chat_id}", owner=owner)
        common.out.json(whole)
        for each in whole["messages"]:
            lines = "\n".join(plain(line) for line in each["content"].split("\n"))
            common.out.text(f"{_time(each['created_ms'])}  {each['role']}\n{lines}\n\n")

    common.ask(act)


def _step(opening: str, step: str, common: Common) -> None:
    async def act(client: "Client") -> None:
        common.out.record(_row(await client.post(f"{PAGE}/break-glass/{opening}/{step}", {})), main="state")

    common.ask(act)


def _row(opening: dict[str, Any]) -> dict[str, Any]:
    whose = " in ".join(each for each in (opening["person"], opening["workspace"]) if each is not None)
    return {**opening, "whose": whose, "ends": _time(opening["ends_ms"])}


def _time(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000).astimezone():%Y-%m-%d %H:%M}"


def _reason() -> str:
    """Never an argument: whoever lists processes would read it."""
    if not sys.stdin.isatty():
        return sys.stdin.read().strip()
    reason = input("Reason: ").strip()
    if not reason:
        raise Misasked("bad_reason", "There is no reason without words.", "Say why it has to be.")
    return reason
