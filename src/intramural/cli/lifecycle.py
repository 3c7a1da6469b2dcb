"""What is kept how long, and what may not be deleted: `intramural retention …`, `intramural hold …`."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from intramural.cli.organisation import found_group, found_person, found_workspace
from intramural.cli.root import DEFAULT, PAGE, Common, hold, retention
from intramural.core.errors import Misasked

if TYPE_CHECKING:
    from intramural.cli.client import Client

_KEPT = {
    "data_class": "CLASS",
    "what": "WHAT",
    "workspace": "WORKSPACE",
    "age": "AGE",
    "keeps": "DAYS",
    "number": "KEPT",
    "held": "HELD",
    "due": "DUE NOW",
    "due_in_7_days": "IN A WEEK",
    "due_in_30_days": "IN 30 DAYS",
    "next": "NEXT",
}
_HOLDS = {"id": "ID", "on": "ON", "people": "PEOPLE", "put": "SINCE", "lifted": "LIFTED", "reason": "REASON"}
_Reason = Annotated[str, Parameter(help="The matter, and who asked for it. It is kept sealed.")]


# retention ------------------------------------------------------------------------------------------------------------


@retention.command(name="preview")
def preview(*, common: Common = DEFAULT) -> None:
    """Show what is kept of every class in every place, and how much of it is deleted when. Deletes nothing."""

    async def act(client: "Client") -> None:
        found = await client.get(f"{PAGE}/retention")
        rows = [
            {**each, "keeps": "for ever" if each["days"] is None else each["days"], "next": _day(each["next_ms"])}
            for each in found["kept"]
        ]
        none = {"what": "nothing of this class is kept here", "workspace": None, "number": 0}
        rows += [{**none, "data_class": name} for name in found["nothing_kept"]]
        common.out.table(rows, _KEPT)

    common.ask(act)


@retention.command(name="status")
def status(*, common: Common = DEFAULT) -> None:
    """Show how far the round of deleting is, or how the last one went."""

    async def act(client: "Client") -> None:
        common.out.record((await client.get(f"{PAGE}/retention"))["round"], main="running")

    common.ask(act)


@retention.command(name="run")
def run(*, common: Common = DEFAULT) -> None:
    """Have the running service delete what is due now, without waiting for the hour."""

    async def act(client: "Client") -> None:
        common.out.record(await client.post(f"{PAGE}/retention/run", {}), main="running")

    common.ask(act, running=True)


@retention.command(name="stop")
def stop(*, common: Common = DEFAULT) -> None:
    """End the round of deleting that is under way; the next one is within the hour."""

    async def act(client: "Client") -> None:
        common.out.record(await client.delete(f"{PAGE}/retention/run"), main="stopping")

    common.ask(act, running=True)


# holds ----------------------------------------------------------------------------------------------------------------


@hold.command(name="put")
def put(
    *,
    reason: _Reason,
    user: Annotated[str | None, Parameter(help="A person's name.")] = None,
    group: Annotated[str | None, Parameter(help="A group's name or identifier.")] = None,
    workspace: Annotated[str | None, Parameter(help="A workspace's name or identifier.")] = None,
    common: Common = DEFAULT,
) -> None:
    """Keep all that is kept of a person, of a group's people or in a workspace, until the hold is lifted."""
    named = {"person": user, "group": group, "workspace": workspace}
    given = [(kind, name) for kind, name in named.items() if name is not None]
    if len(given) != 1:
        raise Misasked("bad_subject", "A hold is on one subject.", "Give one of --user, --group, --workspace.")

    async def act(client: "Client") -> None:
        ((subject, name),) = given
        find = {"person": found_person, "group": found_group, "workspace": found_workspace}[subject]
        body = {"subject": subject, "subject_id": (await find(client, name))["id"], "reason": reason}
        common.out.record(await client.post(f"{PAGE}/legal-holds", body), main="id")

    common.ask(act)


@hold.command(name="ls")
def list_holds(*, common: Common = DEFAULT) -> None:
    """List every hold there was, the newest first."""

    async def act(client: "Client") -> None:
        rows: list[dict[str, Any]] = [
            {**each, "on": f"{each['subject']}:{each['subject_id']}", "put": _day(each["put_ms"])}
            | {"lifted": _day(each["lifted_ms"])}
            for each in (await client.get(f"{PAGE}/legal-holds"))["holds"]
        ]
        common.out.table(rows, _HOLDS)

    common.ask(act)


@hold.command(name="lift")
def lift(hold_id: str, *, reason: _Reason, common: Common = DEFAULT) -> None:
    """End a hold; what is due is deleted within the hour."""

    async def act(client: "Client") -> None:
        common.out.record(await client.post(f"{PAGE}/legal-holds/{hold_id}/lift", {"reason": reason}), main="id")

    common.ask(act)


def _day(time_ms: int | None) -> str:
    return "" if time_ms is None else f"{datetime.fromtimestamp(time_ms / 1000).astimezone():%Y-%m-%d %H:%M}"
