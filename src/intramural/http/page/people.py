"""People and keys."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request

from intramural.access import Key, Person, Sought
from intramural.http.doors import Doors
from intramural.http.page import shapes
from intramural.http.page.routing import routes

Id = Annotated[str, Path(max_length=64)]
_DAY_MS = 86_400_000


def router(doors: Doors) -> APIRouter:
    """`/people…` and `/keys…`."""
    api = routes("people and keys")
    people, keys = doors.services.people, doors.services.keys

    @api.get("/people")
    async def list_people(
        request: Request,
        query: Annotated[str, Query(max_length=100)] = "",
        kind: Literal["person", "service"] | None = None,
        role: Annotated[str | None, Query(max_length=40)] = None,
        ids: Annotated[list[Annotated[str, Query(max_length=64)]] | None, Query(alias="id", max_length=100)] = None,
        after: Annotated[str, Query(max_length=200)] = "",
        limit: Annotated[int | None, Query(ge=1, le=500)] = None,
        waiting: bool = False,
    ) -> shapes.PeopleOut:
        """Everybody by name; for a manager, the people of their groups. `query` is in the name; `id` may be repeated.

        With `limit`, so many; `next` in the answer is the `after` with which to go on. With `waiting` only those who
        cannot sign in yet: they have no password, no passkey, and no account at a provider.
        """
        caller = await doors.identify(request)
        found = await people.page(caller.actor, Sought(query.strip(), kind, role, ids, after, limit, waiting))
        return shapes.PeopleOut(people=[_person(each) for each in found.people], total=found.total, next=found.after)

    @api.post("/people", status_code=201)
    async def create_person(given: shapes.PersonIn, request: Request) -> shapes.PersonOut:
        """Add a person, or without a password a service account."""
        caller = await doors.identify(request)
        return _person(await people.create(caller.actor, given.username, given.password, given.role))

    @api.patch("/people/{person_id}")
    async def change_person(person_id: Id, given: shapes.PersonChange, request: Request) -> shapes.PersonOut:
        """Change role, enabled state or password."""
        caller = await doors.identify(request)
        changed = await people.change(
            caller.actor, person_id, role=given.role, disabled=given.disabled, password=given.password
        )
        return _person(changed)

    @api.delete("/people/{person_id}")
    async def erase_person(person_id: Id, request: Request) -> shapes.ErasureOut:
        """Erase a person: their keys are destroyed, and all that is kept of them is deleted. The certificate."""
        caller = await doors.identify(request)
        return shapes.ErasureOut(**await doors.services.personal.erase(caller.actor, person_id))

    @api.get("/erasures/{person_id}")
    async def read_erasure(person_id: Id, request: Request) -> shapes.ErasureOut:
        """The certificate of an erasure."""
        caller = await doors.identify(request)
        return shapes.ErasureOut(**await doors.services.personal.certificate(caller.actor, person_id))

    @api.post("/vault/key")
    async def change_vault_key(request: Request) -> shapes.KeysChanged:
        """Change the installation's key: everybody's data keys are wrapped anew, and the old one opens nothing."""
        caller = await doors.identify(request)
        return shapes.KeysChanged(changed=await doors.services.vault.change_key(caller.actor))

    @api.post("/people/{person_id}/data-key")
    async def change_data_key(person_id: Id, request: Request) -> shapes.KeysChanged:
        """Give a person a new data key; all that is kept of them is sealed with it, and the old one is destroyed."""
        caller = await doors.identify(request)
        return shapes.KeysChanged(changed=await doors.services.vault.change_data_key(caller.actor, person_id))

    @api.get("/keys")
    async def list_keys(
        request: Request, everyone: Annotated[bool, Query(alias="all")] = False
    ) -> dict[str, list[shapes.KeyOut]]:
        """One's own keys; with `all`, everybody's."""
        caller = await doors.identify(request)
        return {"keys": [_key(each) for each in await keys.list(caller.actor, everyone=everyone)]}

    @api.post("/keys", status_code=201)
    async def create_key(given: shapes.KeyIn, request: Request) -> shapes.NewKey:
        """A new key: one's own, or a service account's (the console may say anybody's). `secret` is shown this once."""
        caller = await doors.identify(request)
        days = given.expires_in_days
        expires_ms = None if days is None else int(doors.clock.now_s() * 1000) + days * _DAY_MS
        key, secret = await keys.create(
            caller.actor,
            given.person_id or caller.actor.person_id,
            name=given.name,
            scopes=given.scopes,
            models=given.models,
            expires_ms=expires_ms,
            workspace=given.workspace,
        )
        return shapes.NewKey(key=_key(key), secret=secret)

    @api.delete("/keys/{key_id}", status_code=204)
    async def revoke_key(key_id: Id, request: Request) -> None:
        """Revoke a key at once."""
        caller = await doors.identify(request)
        await keys.revoke(caller.actor, key_id)

    return api


def _person(person: Person) -> shapes.PersonOut:
    return shapes.PersonOut(
        id=person.id,
        username=person.username,
        role=person.role,
        kind=person.kind,
        created_ms=person.created_ms,
        disabled_ms=person.disabled_ms,
    )


def _key(key: Key) -> shapes.KeyOut:
    return shapes.KeyOut(
        id=key.id,
        name=key.name,
        hint=key.hint,
        person_id=key.person_id,
        username=key.username,
        scopes=sorted(key.scopes),
        models=None if key.models is None else sorted(key.models),
        created_ms=key.created_ms,
        expires_ms=key.expires_ms,
        revoked_ms=key.revoked_ms,
        last_used_ms=key.last_used_ms,
        workspace_id=key.workspace_id,
    )
