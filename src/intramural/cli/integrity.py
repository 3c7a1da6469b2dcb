"""Whether what people keep is as it was left: `intramural vault check|accept`."""

import sys
from typing import TYPE_CHECKING

from intramural.cli.organisation import found_person
from intramural.cli.root import DEFAULT, PAGE, Common, vault

if TYPE_CHECKING:
    from intramural.cli.client import Client


@vault.command(name="check")
def check(*, common: Common = DEFAULT) -> None:
    """Hold all that is kept against what it comes to, and against what the log was told of it. Shows no content.

    Ends with status 1 where something is not as it was left.
    """
    wrong: list[object] = []

    async def act(client: "Client") -> None:
        found = await client.post(f"{PAGE}/vault/check", {})
        wrong.extend(found["wrong"])
        if common.json:
            common.out.json(found)
        elif wrong:
            common.out.table(found["wrong"], {"id": "ID", "kind": "KIND", "person_id": "PERSON", "code": "WHAT"})
        else:
            common.out.record({"people": found["people"], "wrong": 0}, main="wrong")

    common.ask(act)
    if wrong:
        sys.exit(1)


@vault.command(name="accept")
def accept(name: str, *, common: Common = DEFAULT) -> None:
    """Take what a person keeps as it lies here, after something was wrong with it. That it was stays in the log."""

    async def act(client: "Client") -> None:
        found = await client.post(f"{PAGE}/people/{(await found_person(client, name))['id']}/kept/accept", {})
        common.out.record(found, main="things")

    common.ask(act)
