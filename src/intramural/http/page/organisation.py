"""Groups, roles, workspaces, and why the policy says what it says."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from intramural.access import KEEP, Charter, Group, Workspace
from intramural.access.policy import grantable
from intramural.core.actor import Place
from intramural.http.doors import Doors
from intramural.http.page import shapes
from intramural.http.page.routing import routes
from intramural.services.explain import Asked

Id = Annotated[str, Path(max_length=64)]
Words = Annotated[str, Query(max_length=300)]


def router(doors: Doors) -> APIRouter:
    """`/groups…`, `/roles…`, `/workspaces…` and `/policy/explain`."""
    api = APIRouter()
    for part in (_groups, _roles, _workspaces, _policy):
        api.routes.extend(part(doors).routes)
    return api


def _groups(doors: Doors) -> APIRouter:
    api = routes("groups")
    groups = doors.services.groups

    @api.get("/groups")
    async def list_groups(request: Request) -> dict[str, list[shapes.GroupListed]]:
        """Every group; for a manager, theirs and all within."""
        caller = await doors.identify(request)
        found, sizes = await groups.list(caller.actor), await groups.sizes(caller.actor)
        return {
            "groups": [shapes.GroupListed(**_group(each).model_dump(), people=sizes.get(each.id, 0)) for each in found]
        }

    @api.post("/groups", status_code=201)
    async def create_group(given: shapes.GroupIn, request: Request) -> shapes.GroupOut:
        """Make a group, within another one if `parent_id` says so."""
        caller = await doors.identify(request)
        return _group(await groups.create(caller.actor, given.name, given.parent_id, given.external_id))

    @api.patch("/groups/{group_id}")
    async def change_group(group_id: Id, given: shapes.GroupChange, request: Request) -> shapes.GroupOut:
        """Rename a group, or put it with all that is within into another one."""
        caller = await doors.identify(request)
        sent = given.model_fields_set
        changed = await groups.change(
            caller.actor,
            group_id,
            name=given.name,
            parent_id=given.parent_id if "parent_id" in sent else KEEP,
            external_id=given.external_id if "external_id" in sent else KEEP,
        )
        return _group(changed)

    @api.delete("/groups/{group_id}", status_code=204)
    async def remove_group(group_id: Id, request: Request) -> None:
        """Remove a group that has no groups within; its people stay."""
        caller = await doors.identify(request)
        await groups.remove(caller.actor, group_id)

    @api.get("/groups/{group_id}/members")
    async def list_members(group_id: Id, request: Request) -> dict[str, list[shapes.MemberOut]]:
        """Whoever was put into this group itself."""
        caller = await doors.identify(request)
        found = await groups.members(caller.actor, group_id)
        return {
            "members": [
                shapes.MemberOut(person_id=each.person_id, username=each.username, manager=each.manager)
                for each in found
            ]
        }

    @api.put("/groups/{group_id}/members/{person_id}", status_code=204)
    async def put_member(group_id: Id, person_id: Id, given: shapes.MemberIn, request: Request) -> None:
        """Put a person into a group, or change whether they manage it."""
        caller = await doors.identify(request)
        await groups.put(caller.actor, group_id, person_id, manager=given.manager)

    @api.delete("/groups/{group_id}/members/{person_id}", status_code=204)
    async def take_member(group_id: Id, person_id: Id, request: Request) -> None:
        """Take a person out of a group."""
        caller = await doors.identify(request)
        await groups.take_out(caller.actor, group_id, person_id)

    return api


def _roles(doors: Doors) -> APIRouter:
    api = routes("roles")
    roles = doors.services.roles

    @api.get("/roles")
    async def list_roles(request: Request) -> shapes.RolesOut:
        """The roles of the institution's own, and what such a role may be given."""
        caller = await doors.identify(request)
        found = await roles.list(caller.actor)
        return shapes.RolesOut(
            roles=[shapes.RoleOut(name=each.name, permissions=sorted(each.permissions)) for each in found],
            grantable=sorted(grantable()),
        )

    @api.put("/roles/{name}")
    async def put_role(name: Id, given: shapes.RoleIn, request: Request) -> shapes.RoleOut:
        """Make a role, or give one other permissions."""
        caller = await doors.identify(request)
        role = await roles.put(caller.actor, name, given.permissions)
        return shapes.RoleOut(name=role.name, permissions=sorted(role.permissions))

    @api.delete("/roles/{name}", status_code=204)
    async def remove_role(name: Id, request: Request) -> None:
        """Remove a role that nobody has."""
        caller = await doors.identify(request)
        await roles.remove(caller.actor, name)

    return api


def _workspaces(doors: Doors) -> APIRouter:
    api = routes("workspaces")
    workspaces = doors.services.workspaces

    @api.get("/workspaces")
    async def list_own(request: Request) -> dict[str, list[shapes.PlaceOut]]:
        """The workspaces that one is a member of."""
        caller = await doors.identify(request)
        return {"workspaces": [_place(each) for each in await workspaces.of(caller.actor)]}

    @api.get("/workspaces/all")
    async def list_all(request: Request) -> dict[str, list[shapes.WorkspaceOut]]:
        """Every workspace with its members."""
        caller = await doors.identify(request)
        return {"workspaces": [_workspace(each) for each in await workspaces.list(caller.actor)]}

    @api.post("/workspaces", status_code=201)
    async def create_workspace(given: shapes.WorkspaceIn, request: Request) -> shapes.WorkspaceOut:
        """Make a workspace."""
        caller = await doors.identify(request)
        return _workspace(await workspaces.create(caller.actor, _charter(given)))

    @api.put("/workspaces/{workspace_id}")
    async def change_workspace(workspace_id: Id, given: shapes.WorkspaceIn, request: Request) -> shapes.WorkspaceOut:
        """Give a workspace other rules as a whole; its members stay."""
        caller = await doors.identify(request)
        return _workspace(await workspaces.change(caller.actor, workspace_id, _charter(given)))

    @api.delete("/workspaces/{workspace_id}", status_code=204)
    async def remove_workspace(workspace_id: Id, request: Request) -> None:
        """Remove a workspace that nothing is of."""
        caller = await doors.identify(request)
        await workspaces.remove(caller.actor, workspace_id)

    @api.post("/workspaces/{workspace_id}/close")
    async def close_workspace(workspace_id: Id, request: Request) -> shapes.WorkspaceOut:
        """Close a workspace: nobody enters it, its keys open nothing, and what is of it is out of reach."""
        caller = await doors.identify(request)
        return _workspace(await workspaces.close(caller.actor, workspace_id, closed=True))

    @api.post("/workspaces/{workspace_id}/open")
    async def open_workspace(workspace_id: Id, request: Request) -> shapes.WorkspaceOut:
        """Open a workspace again, as it was."""
        caller = await doors.identify(request)
        return _workspace(await workspaces.close(caller.actor, workspace_id, closed=False))

    @api.put("/workspaces/{workspace_id}/members/{member_id}", status_code=204)
    async def admit(workspace_id: Id, member_id: Id, request: Request) -> None:
        """Make a person or a group a member."""
        caller = await doors.identify(request)
        await workspaces.admit(caller.actor, workspace_id, member_id)

    @api.delete("/workspaces/{workspace_id}/members/{member_id}", status_code=204)
    async def dismiss(workspace_id: Id, member_id: Id, request: Request) -> None:
        """End a membership."""
        caller = await doors.identify(request)
        await workspaces.dismiss(caller.actor, workspace_id, member_id)

    return api


def _policy(doors: Doors) -> APIRouter:
    api = routes("policy")

    @api.get("/policy/explain")
    async def explain(
        request: Request,
        action: Words,
        thing: Words = "",
        person: Words = "",
        workspace: Words = "",
        purpose: Words = "",
    ) -> shapes.ExplainedOut:
        """Whether one may do an action to a thing (or `person` may), which rule says so, why, and what to ask for."""
        caller = await doors.identify(request)
        found = await doors.services.policy.explain(
            caller.actor, person or None, Asked(action, thing, workspace, purpose)
        )
        about, decision = found.about, found.decision
        return shapes.ExplainedOut(
            allowed=decision.allowed,
            rule=decision.rule,
            reason=decision.reason,
            hint=decision.hint,
            action=action,
            person=about.username,
            role=about.role,
            groups=list(about.groups),
            group_names=list(found.group_names),
            workspace=about.place.name if about.place else None,
        )

    return api


def _group(group: Group) -> shapes.GroupOut:
    return shapes.GroupOut(
        id=group.id,
        name=group.name,
        parent_id=group.parent_id,
        external_id=group.external_id,
        created_ms=group.created_ms,
    )


def _charter(given: shapes.WorkspaceIn) -> Charter:
    return Charter(given.name, given.label, given.models, given.purposes, given.retention_days)


def _place(place: Place) -> shapes.PlaceOut:
    return shapes.PlaceOut(
        id=place.id,
        name=place.name,
        label=place.label,
        models=None if place.models is None else sorted(place.models),
        purposes=list(place.purposes),
    )


def _workspace(workspace: Workspace) -> shapes.WorkspaceOut:
    return shapes.WorkspaceOut(
        **_place(workspace.place).model_dump(),
        retention_days={**workspace.retention_days},
        people=list(workspace.people),
        groups=list(workspace.groups),
        created_ms=workspace.created_ms,
        closed_ms=workspace.closed_ms,
    )
