"""Breaking the glass on the machine itself: `intramural break-glass list|ask|open|close|refuse|chats|chat|…`.

Agreeing is not among them: a second person does that with their own name, signed in on the page.
"""

import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
Before = Annotated[str | None, Parameter(help="Those older than this one: the last of the page before.")]
Owner = Annotated[str | None, Parameter(help="Whose: an identifier, where the opening is of a workspace.")]


@break_glass.command(name="list", alias="ls")
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


@break_glass.command(name="files")
def files(opening: str, *, owner: Owner = None, before: Before = None, common: Common = DEFAULT) -> None:
    """List the files that an opening shows. Recorded and told, as every look below is."""
    columns = {"id": "ID", "name": "NAME", "purpose": "FOR", "size_bytes": "BYTES", "made": "STORED"}
    _listed(opening, "files", columns, owner, before, common)


@break_glass.command(name="file")
def file(opening: str, file_id: str, *, owner: Owner = None, common: Common = DEFAULT) -> None:
    """Write the bytes of one file to standard output."""
    _written(f"{opening}/files/{file_id}/content", owner, common)


@break_glass.command(name="responses")
def responses(opening: str, *, owner: Owner = None, before: Before = None, common: Common = DEFAULT) -> None:
    """List the kept responses of an owner's programs."""
    _listed(
        opening, "responses", {"id": "ID", "model": "MODEL", "status": "STATUS", "made": "MADE"}, owner, before, common
    )


@break_glass.command(name="response")
def response(opening: str, response_id: str, *, owner: Owner = None, common: Common = DEFAULT) -> None:
    """Show one kept response: what it was made from, and what was answered."""

    async def act(client: "Client") -> None:
        whole = await client.get(f"{PAGE}/break-glass/{opening}/responses/{response_id}", owner=owner)
        common.out.json(whole)
        if whole["previous_id"] is not None:
            common.out.note(f"It goes on from {whole['previous_id']}.")
        _said(whole["input"] + whole["output"], common)

    common.ask(act)


@break_glass.command(name="conversations")
def conversations(opening: str, *, owner: Owner = None, before: Before = None, common: Common = DEFAULT) -> None:
    """List the conversations of an owner's programs."""
    _listed(opening, "conversations", {"id": "ID", "made": "BEGUN"}, owner, before, common)


@break_glass.command(name="conversation")
def conversation(opening: str, conversation_id: str, *, owner: Owner = None, common: Common = DEFAULT) -> None:
    """Show one conversation of a program."""

    async def act(client: "Client") -> None:
        whole = await client.get(f"{PAGE}/break-glass/{opening}/conversations/{conversation_id}", owner=owner)
        common.out.json(whole)
        _said(whole["items"], common)

    common.ask(act)


@break_glass.command(name="batches")
def batches(opening: str, *, owner: Owner = None, before: Before = None, common: Common = DEFAULT) -> None:
    """List an owner's batches."""
    columns = {"id": "ID", "endpoint": "ENDPOINT", "state": "STATE", "total": "LINES", "made": "ASKED"}
    _listed(opening, "batches", columns, owner, before, common)


@break_glass.command(name="batch")
def batch(
    opening: str,
    batch_id: str,
    *,
    what: Annotated[Literal["input", "results"], Parameter(help="What was asked, or what was answered.")] = "results",
    owner: Owner = None,
    common: Common = DEFAULT,
) -> None:
    """Write what a batch was asked or answered to standard output, a line of JSON a request."""
    _written(f"{opening}/batches/{batch_id}/{what}", owner, common)


def _listed(
    opening: str, what: str, columns: dict[str, str], owner: str | None, before: str | None, common: Common
) -> None:
    async def act(client: "Client") -> None:
        found = (await client.get(f"{PAGE}/break-glass/{opening}/{what}", owner=owner, before=before))[what]
        common.out.table([{**each, "made": _time(each["created_ms"])} for each in found], columns)

    common.ask(act)


def _written(path: str, owner: str | None, common: Common) -> None:
    async def act(client: "Client") -> None:
        async for piece in client.raw(f"{PAGE}/break-glass/{path}", owner=owner):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()

    common.ask(act)


def _said(items: list[dict[str, Any]], common: Common) -> None:
    """Items as people read them: a message's words, of anything else what it holds."""
    for item in items:
        content = item.get("content")
        parts = [{"text": content}] if isinstance(content, str) else content
        if isinstance(parts, list):
            text = "\n".join(str(part.get("text", json.dumps(part))) for part in parts)
        else:
            text = json.dumps(item)
        lines = "\n".join(plain(line) for line in text.split("\n"))
        common.out.text(f"{plain(item.get('role') or item.get('type'))}\n{lines}\n\n")


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
