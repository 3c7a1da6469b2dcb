"""Groups, workspaces, roles, and what the policy says."""

import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from intramural.cli.root import DEFAULT, PAGE, Common, group, policy, role, workspace
from intramural.core.errors import Conflicting, Missing

if TYPE_CHECKING:
    from intramural.cli.client import Client

Label = Literal["public", "internal", "confidential", "phi", "education"]


# groups ---------------------------------------------------------------------------------------------------------------


@group.command(name="add")
def add_group(
    name: str, *, within: str | None = None, external_id: str | None = None, common: Common = DEFAULT
) -> None:
    """Make a group NAME, within another one if that is given.

    Parameters
    ----------
    within
        The other group's name or identifier.
    external_id
        What a list or directory elsewhere calls it.
    """

    async def act(client: "Client") -> None:
        parent = None if within is None else (await found_group(client, within))["id"]
        body = {"name": name, "parent_id": parent, "external_id": external_id}
        common.out.record(await client.post(f"{PAGE}/groups", body), main="id")

    common.ask(act)


@group.command(name="ls")
def list_groups(*, common: Common = DEFAULT) -> None:
    """List the groups."""

    async def act(client: "Client") -> None:
        groups = (await client.get(f"{PAGE}/groups"))["groups"]
        names = {each["id"]: each["name"] for each in groups}
        rows = [{**each, "within": names.get(each["parent_id"], "")} for each in groups]
        common.out.table(rows, {"name": "NAME", "within": "WITHIN", "external_id": "EXTERNAL", "id": "ID"})

    common.ask(act)


@group.command(name="move")
def move_group(name: str, *, within: str | None = None, common: Common = DEFAULT) -> None:
    """Put group NAME with all that is within into another one; without WITHIN, into none.

    Parameters
    ----------
    within
        The other group's name or identifier.
    """

    async def act(client: "Client") -> None:
        parent = None if within is None else (await found_group(client, within))["id"]
        moved = await found_group(client, name)
        common.out.record(await client.patch(f"{PAGE}/groups/{moved['id']}", {"parent_id": parent}), main="id")

    common.ask(act)


@group.command(name="rm")
def remove_group(name: str, *, common: Common = DEFAULT) -> None:
    """Remove group NAME; its people stay."""

    async def act(client: "Client") -> None:
        await client.delete(f"{PAGE}/groups/{(await found_group(client, name))['id']}")
        common.out.record({"removed": name}, main="removed")

    common.ask(act)


@group.command(name="members")
def list_members(name: str, *, common: Common = DEFAULT) -> None:
    """List whoever was put into group NAME."""

    async def act(client: "Client") -> None:
        group_id = (await found_group(client, name))["id"]
        members = (await client.get(f"{PAGE}/groups/{group_id}/members"))["members"]
        common.out.table(members, {"username": "NAME", "manager": "MANAGER", "person_id": "ID"})

    common.ask(act)


@group.command(name="put")
def put_member(
    name: str, person: str, *, manager: Annotated[bool, Parameter(negative="")] = False, common: Common = DEFAULT
) -> None:
    """Put PERSON into group NAME, as its manager if you say so.

    Parameters
    ----------
    manager
        They manage it: a teacher of a class, a ward lead.
    """

    async def act(client: "Client") -> None:
        group_id, person_id = (await found_group(client, name))["id"], (await found_person(client, person))["id"]
        await client.put(f"{PAGE}/groups/{group_id}/members/{person_id}", {"manager": manager})
        common.out.record({"group": name, "person": person, "manager": manager}, main="person")

    common.ask(act)


@group.command(name="take")
def take_member(name: str, person: str, *, common: Common = DEFAULT) -> None:
    """Take PERSON out of group NAME."""

    async def act(client: "Client") -> None:
        group_id, person_id = (await found_group(client, name))["id"], (await found_person(client, person))["id"]
        await client.delete(f"{PAGE}/groups/{group_id}/members/{person_id}")
        common.out.record({"group": name, "taken": person}, main="taken")

    common.ask(act)


# roles ----------------------------------------------------------------------------------------------------------------


@role.command(name="set")
def set_role(name: str, permissions: list[str], *, common: Common = DEFAULT) -> None:
    """Make a role NAME with PERMISSIONS, or give it these (see docs/policy.md)."""

    async def act(client: "Client") -> None:
        common.out.record(await client.put(f"{PAGE}/roles/{name}", {"permissions": permissions}), main="name")

    common.ask(act)


@role.command(name="ls")
def list_roles(*, common: Common = DEFAULT) -> None:
    """List the roles of the institution's own."""

    async def act(client: "Client") -> None:
        common.out.table((await client.get(f"{PAGE}/roles"))["roles"], {"name": "NAME", "permissions": "PERMISSIONS"})

    common.ask(act)


@role.command(name="rm")
def remove_role(name: str, *, common: Common = DEFAULT) -> None:
    """Remove a role that nobody has."""

    async def act(client: "Client") -> None:
        await client.delete(f"{PAGE}/roles/{name}")
        common.out.record({"removed": name}, main="removed")

    common.ask(act)


# workspaces -----------------------------------------------------------------------------------------------------------


@workspace.command(name="set")
def set_workspace(
    name: str,
    *,
    label: Label | None = None,
    model: list[str] | None = None,
    any_model: Annotated[bool, Parameter(negative="")] = False,
    purpose: list[str] | None = None,
    keep: list[str] | None = None,
    common: Common = DEFAULT,
) -> None:
    """Make a workspace NAME, or change what is given of one there is.

    Parameters
    ----------
    label
        What kind of data is in it; of a new one `internal`, if not said.
    model
        A model that may answer there; once each.
    any_model
        Any model may, also if only some could before.
    purpose
        What people may ask for there, as `care`; once each.
    keep
        A class and for how many days it is kept, as `chat=365`; once each.
    """

    async def act(client: "Client") -> None:
        spaces = await _workspaces(client)
        there = next((each for each in spaces if name in (each["id"], each["name"])), None)
        fields = ("name", "label", "models", "purposes", "retention_days")
        body: dict[str, Any] = {"name": name, "label": label or "internal"}
        if there is not None:
            body = {each: there[each] for each in fields} | ({"label": label} if label else {})
        if model or any_model:
            body["models"] = None if any_model else model
        if purpose is not None:
            body["purposes"] = purpose
        if keep is not None:
            days = (each.partition("=") for each in keep)
            body["retention_days"] = {each: int(number) if number.isdecimal() else 0 for each, _, number in days}
        made = (
            await client.post(f"{PAGE}/workspaces", body)
            if there is None
            else await client.put(f"{PAGE}/workspaces/{there['id']}", body)
        )
        common.out.record(made, main="id")

    common.ask(act)


@workspace.command(name="ls")
def list_workspaces(*, common: Common = DEFAULT) -> None:
    """List the workspaces."""

    async def act(client: "Client") -> None:
        rows = [{**each, "members": len(each["people"]) + len(each["groups"])} for each in await _workspaces(client)]
        columns = {"name": "NAME", "label": "LABEL", "models": "MODELS", "purposes": "PURPOSES"}
        common.out.table(rows, {**columns, "members": "MEMBERS", "id": "ID"})

    common.ask(act)


@workspace.command(name="rm")
def remove_workspace(name: str, *, common: Common = DEFAULT) -> None:
    """Remove a workspace that nothing is of."""

    async def act(client: "Client") -> None:
        await client.delete(f"{PAGE}/workspaces/{(await found_workspace(client, name))['id']}")
        common.out.record({"removed": name}, main="removed")

    common.ask(act)


@workspace.command(name="close")
def close_workspace(name: str, *, common: Common = DEFAULT) -> None:
    """Close workspace NAME: nobody enters it, its keys open nothing, what is of it is out of reach."""

    async def act(client: "Client") -> None:
        await client.post(f"{PAGE}/workspaces/{(await found_workspace(client, name))['id']}/close", {})
        common.out.record({"closed": name}, main="closed")

    common.ask(act)


@workspace.command(name="open")
def open_workspace(name: str, *, common: Common = DEFAULT) -> None:
    """Open the closed workspace NAME again, as it was."""

    async def act(client: "Client") -> None:
        await client.post(f"{PAGE}/workspaces/{(await found_workspace(client, name))['id']}/open", {})
        common.out.record({"opened": name}, main="opened")

    common.ask(act)


@workspace.command(name="admit")
def admit(name: str, member: str, *, common: Common = DEFAULT) -> None:
    """Make MEMBER (a person's name, or a group's) a member of workspace NAME."""

    async def act(client: "Client") -> None:
        workspace_id, member_id = (await found_workspace(client, name))["id"], await _member(client, member)
        await client.put(f"{PAGE}/workspaces/{workspace_id}/members/{member_id}", {})
        common.out.record({"workspace": name, "member": member}, main="member")

    common.ask(act)


@workspace.command(name="dismiss")
def dismiss(name: str, member: str, *, common: Common = DEFAULT) -> None:
    """End MEMBER's membership of workspace NAME."""

    async def act(client: "Client") -> None:
        workspace_id, member_id = (await found_workspace(client, name))["id"], await _member(client, member)
        await client.delete(f"{PAGE}/workspaces/{workspace_id}/members/{member_id}")
        common.out.record({"workspace": name, "dismissed": member}, main="dismissed")

    common.ask(act)


# policy ---------------------------------------------------------------------------------------------------------------


@policy.command(name="explain")
def explain(
    person: str,
    action: str,
    thing: str = "",
    *,
    workspace: str = "",
    purpose: str = "",
    common: Common = DEFAULT,
) -> None:
    """Say whether PERSON may do ACTION (as `model.use`) to THING, which rule decides, why, and what to ask for.

    THING is own (the default), all, model:NAME, person:NAME, group:ID, workspace:NAME or key:ID. Exit status 1 if they
    may not.

    Parameters
    ----------
    workspace
        Where it is asked.
    purpose
        What it is asked for.
    """
    said: list[dict[str, Any]] = []

    async def act(client: "Client") -> None:
        asked = {"person": person, "action": action, "thing": thing, "workspace": workspace, "purpose": purpose}
        said.append(await client.get(f"{PAGE}/policy/explain", **asked))
        common.out.record(said[0], main="allowed")

    common.ask(act)
    if not said[0]["allowed"]:
        sys.exit(1)


# finding --------------------------------------------------------------------------------------------------------------


async def found_person(client: "Client", name: str) -> dict[str, Any]:
    """The person of this name. Raises Missing(`person_not_found`)."""
    people: list[dict[str, Any]] = (await client.get(f"{PAGE}/people"))["people"]
    found = next((each for each in people if each["username"].casefold() == name.casefold()), None)
    if found is None:
        raise Missing("person_not_found", f"There is nobody named {name!r}.", "See `intramural user ls`.")
    return found


async def found_group(client: "Client", name: str) -> dict[str, Any]:
    """The group of this identifier or name. Raises Missing(`group_not_found`), Conflicting(`which_group`)."""
    groups: list[dict[str, Any]] = (await client.get(f"{PAGE}/groups"))["groups"]
    found = [each for each in groups if each["id"] == name] or [each for each in groups if each["name"] == name]
    if not found:
        raise Missing("group_not_found", f"There is no group {name!r}.", "See `intramural group ls`.")
    if len(found) > 1:
        message = f"There are {len(found)} groups named {name!r}."
        raise Conflicting("which_group", message, "Use the identifier that `intramural group ls` shows.")
    return found[0]


async def _member(client: "Client", name: str) -> str:
    try:
        return str((await found_person(client, name))["id"])
    except Missing:
        return str((await found_group(client, name))["id"])


async def _workspaces(client: "Client") -> list[dict[str, Any]]:
    spaces: list[dict[str, Any]] = (await client.get(f"{PAGE}/workspaces/all"))["workspaces"]
    return spaces


async def found_workspace(client: "Client", name: str) -> dict[str, Any]:
    """The workspace of this identifier or name. Raises Missing(`workspace_not_found`)."""
    spaces = await _workspaces(client)
    found = next((each for each in spaces if name in (each["id"], each["name"])), None)
    if found is None:
        raise Missing("workspace_not_found", f"There is no workspace {name!r}.", "See `intramural workspace ls`.")
    return found
