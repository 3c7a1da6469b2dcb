"""Quotas: `intramural quota list|show|set|remove`."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from intramural.cli.organisation import found_group, found_person, found_workspace
from intramural.cli.root import DEFAULT, PAGE, Common, quota
from intramural.core.errors import Misasked

if TYPE_CHECKING:
    from intramural.cli.client import Client

#: Subjects that are named by their names.
_FOUND = {"person": found_person, "group": found_group, "workspace": found_workspace}
_COLUMNS = {"id": "ID", "words": "ALLOWS", "used": "USED", "held": "HELD", "left": "LEFT", "renews": "RENEWS"}


@quota.command(name="list", alias="ls")
def list_quotas(*, common: Common = DEFAULT) -> None:
    """List every limit, with the balances of those who used most of it."""

    async def act(client: "Client") -> None:
        names = await _names(client)
        rows = []
        for each in (await client.get(f"{PAGE}/quotas/all"))["quotas"]:
            said = {"id": each["id"], "words": each["words"]}
            if each["subject"] == "person":
                said["words"] = each["words"].replace("for you", f"for {names.get(each['subject_id'], '?')}")
            balances = each["balances"] or [None]
            rows += [said | ({} if one is None else _balance(one, names)) for one in balances]
        common.out.table(rows, {**_COLUMNS, "who": "WHO"})

    common.ask(act)


@quota.command(name="show")
def show_quotas(*, model: str | None = None, common: Common = DEFAULT) -> None:
    """Show how everything that limits you stands; with MODEL, only what limits the use of that.

    Parameters
    ----------
    model
        Name of a model.
    """

    async def act(client: "Client") -> None:
        found = (await client.get(f"{PAGE}/quotas", model=model))["quotas"]
        common.out.table([{**each, **_balance(each, {})} for each in found], _COLUMNS)

    common.ask(act)


@quota.command(name="set")
def set_quota(
    limit: str,
    *,
    user: Annotated[str | None, Parameter(help="A person's name.")] = None,
    group: Annotated[str | None, Parameter(help="A group's name or identifier.")] = None,
    key: Annotated[str | None, Parameter(help="A key's identifier.")] = None,
    workspace: Annotated[str | None, Parameter(help="A workspace's name or identifier.")] = None,
    each: Annotated[bool, Parameter(negative="", help="For each person by themselves, not for all together.")] = False,
    model: Annotated[str | None, Parameter(help="Only for this model.")] = None,
    common: Common = DEFAULT,
) -> None:
    """Limit what may be used: `10000 tokens/day`, `60 requests/minute`, `20 money/month`, `2 streams`.

    Without USER, GROUP, KEY or WORKSPACE it is for everyone. Setting the same again changes its amount.
    """
    body = {**_parsed(limit), "each": each, "model": model}
    named = {"person": user, "group": group, "key": key, "workspace": workspace}
    given = {kind: name for kind, name in named.items() if name is not None}
    if len(given) > 1:
        raise Misasked("bad_quota", "A quota is for one subject.", "Give one of --user, --group, --key, --workspace.")

    async def act(client: "Client") -> None:
        subject, subject_id = next(iter(given.items()), ("everyone", ""))
        if subject in _FOUND:
            subject_id = str((await _FOUND[subject](client, subject_id))["id"])
        made = await client.post(f"{PAGE}/quotas", {**body, "subject": subject, "subject_id": subject_id})
        common.out.record({"id": made["id"], "allows": made["words"]}, main="id")

    common.ask(act)


@quota.command(name="remove", alias="rm")
def remove_quota(quota_id: str, *, common: Common = DEFAULT) -> None:
    """Take a limit away, with its balances."""

    async def act(client: "Client") -> None:
        await client.delete(f"{PAGE}/quotas/{quota_id}")
        common.out.record({"removed": quota_id}, main="removed")

    common.ask(act)


def _parsed(text: str) -> dict[str, Any]:
    number, _, kind = text.strip().partition(" ")
    measure, _, period = kind.strip().partition("/")
    try:
        amount = float(number.replace(",", "").replace("_", ""))
    except ValueError:
        hint = "Write an amount, what it counts and in which period: `10000 tokens/day`, `2 streams`."
        raise Misasked("bad_quota", f"{text!r} is no limit.", hint) from None
    return {"limit": amount, "measure": measure.strip(), "period": period.strip() or "now"}


def _balance(each: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    renews = each["renews_ms"]
    return {
        "used": f"{each['used']:g}",
        "held": f"{each['held']:g}",
        "left": f"{each['remaining']:g}",
        "renews": "" if renews is None else f"{datetime.fromtimestamp(renews / 1000).astimezone():%Y-%m-%d %H:%M}",
        "who": names.get(each.get("who", ""), each.get("who", "")),
    }


async def _names(client: "Client") -> dict[str, str]:
    return {each["id"]: each["username"] for each in (await client.get(f"{PAGE}/people"))["people"]}
