"""`/scim/v2/…`: the routes of a directory."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from intramural.core.actor import Actor
from intramural.core.errors import Misasked, Missing
from intramural.http import identity
from intramural.http.bodies import decode
from intramural.http.doors import Doors
from intramural.http.operations import Operation
from intramural.http.scim import about, filters, parse, patch, write
from intramural.http.scim.names import BASE, MEDIA_TYPE
from intramural.http.scim.write import Shown
from intramural.services.provisioning import Membership, Provided, ProvidedGroup

_USER_FILTERS = ("userName", "externalId", "id", "active")
_GROUP_FILTERS = ("displayName", "externalId", "id")
_LISTING = ("filter", "startIndex", "count", "attributes", "excludedAttributes")
_SHOWING = ("attributes", "excludedAttributes")
_encode = msgspec.json.Encoder().encode


def operations(doors: Doors) -> list[Operation]:
    """Users, groups, and what the service says of itself."""
    users, groups = _Users(doors), _Groups(doors)
    search = _Search(doors, users, groups)
    return [
        Operation("GET", f"{BASE}/Users", "People whom the directory keeps.", users.found, query=_LISTING),
        Operation("POST", f"{BASE}/Users", "Add a person.", users.add, body=dict[str, Any]),
        Operation("GET", f"{BASE}/Users/{{person_id}}", "One person.", users.one, query=_SHOWING),
        Operation("PUT", f"{BASE}/Users/{{person_id}}", "A person, whole.", users.replace, body=dict[str, Any]),
        Operation("PATCH", f"{BASE}/Users/{{person_id}}", "Change a person.", users.patch, body=dict[str, Any]),
        Operation("DELETE", f"{BASE}/Users/{{person_id}}", "Shut a person out who is gone there.", users.remove),
        Operation("GET", f"{BASE}/Groups", "Groups that the directory keeps.", groups.found, query=_LISTING),
        Operation("POST", f"{BASE}/Groups", "Add a group.", groups.add, body=dict[str, Any]),
        Operation("GET", f"{BASE}/Groups/{{group_id}}", "One group.", groups.one, query=_SHOWING),
        Operation("PUT", f"{BASE}/Groups/{{group_id}}", "A group, whole.", groups.replace, body=dict[str, Any]),
        Operation("PATCH", f"{BASE}/Groups/{{group_id}}", "Change a group.", groups.patch, body=dict[str, Any]),
        Operation("DELETE", f"{BASE}/Groups/{{group_id}}", "Remove a group; its people stay.", groups.remove),
        Operation("POST", f"{BASE}/.search", "People and groups.", search.found, body=dict[str, Any]),
        *_About(doors).operations(),
    ]


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which resources, and what of them; `start` counts from 1."""

    filter: str
    start: int
    count: int
    shown: Shown

    @classmethod
    def of(cls, origin: str, given: Mapping[str, Any]) -> "_Asked":
        """From a query, or from the body of a search (with lists where a query has commas)."""
        only, but = (_joined(given.get(each, "")) for each in _SHOWING)
        start, count = _number(given, "startIndex", 1), _number(given, "count", about.MAX_RESULTS)
        shown = Shown.of(origin, only, but)
        return cls(str(given.get("filter", "")), max(1, start), min(max(0, count), about.MAX_RESULTS), shown)


class _Door:
    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._desk = doors.services.provisioning

    async def _caller(self, request: Request) -> Actor:
        actor = (await self._doors.identify(request)).actor
        await self._desk.admit(actor)  # before anything of the body is looked at
        return actor

    async def _body(self, request: Request) -> dict[str, Any]:
        return decode(await self._doors.body(request), dict[str, Any])

    def _asked(self, request: Request, body: Mapping[str, Any] | None = None) -> _Asked:
        origin = identity.origin(request, https=self._doors.config.https)
        return _Asked.of(origin, request.query_params if body is None else body)

    def _shown(self, request: Request) -> Shown:
        return self._asked(request).shown


class _Users(_Door):
    async def found(self, request: Request) -> Response:
        actor, asked = await self._caller(request), self._asked(request)
        total, people = await self.search(actor, asked)
        return _answer(write.listed(total, asked.start, write.all_of(people, asked.shown, write.user)))

    async def search(self, actor: Actor, asked: _Asked) -> tuple[int, list[Provided]]:
        """How many there are, and the wanted part of them."""
        if not asked.filter:
            total, people = await self._desk.users(actor, start=asked.start - 1, count=asked.count)
        else:
            wanted = filters.clauses(asked.filter, _USER_FILTERS)
            active = wanted.pop("active", None)
            names = {each: _text(each, value) for each, value in wanted.items()}
            if not names:
                raise Misasked("bad_filter", "Nobody is looked for by `active` alone.", "Name them, too.")
            people = await self._desk.users_called(
                actor, username=names.get("userName"), external_id=names.get("externalId"), person_id=names.get("id")
            )
            people = [each for each in people if active is None or (each.person.disabled_ms is None) == active]
            total, people = len(people), people[asked.start - 1 : asked.start - 1 + asked.count]
        return total, people

    async def add(self, request: Request) -> Response:
        actor = await self._caller(request)
        made = await self._desk.add_user(actor, parse.wanted(await self._body(request)))
        return self._one(request, made, 201)

    async def one(self, request: Request) -> Response:
        return self._one(request, await self._desk.user(await self._caller(request), _id(request, "person_id")))

    async def replace(self, request: Request) -> Response:
        actor, person_id = await self._caller(request), _id(request, "person_id")
        await self._desk.user(actor, person_id)
        return self._one(request, await self._desk.set_user(actor, person_id, parse.wanted(await self._body(request))))

    async def patch(self, request: Request) -> Response:
        actor, person_id = await self._caller(request), _id(request, "person_id")
        before = await self._desk.user(actor, person_id)
        changes = patch.operations(await self._body(request))
        resource = write.user(before, Shown(""))
        if before.link is not None:  # what the directory said, and not what people here made of it
            resource["active"] = before.link.active
        wanted = parse.wanted(patch.patched_user(resource, changes))
        return self._one(request, await self._desk.set_user(actor, person_id, wanted))

    async def remove(self, request: Request) -> Response:
        await self._desk.remove_user(await self._caller(request), _id(request, "person_id"))
        return Response(status_code=204)

    def _one(self, request: Request, person: Provided, status: int = 200) -> Response:
        return _answer(write.user(person, self._shown(request)), status)


class _Groups(_Door):
    async def found(self, request: Request) -> Response:
        actor, asked = await self._caller(request), self._asked(request)
        total, groups = await self.search(actor, asked)
        return _answer(write.listed(total, asked.start, write.all_of(groups, asked.shown, write.group)))

    async def search(self, actor: Actor, asked: _Asked) -> tuple[int, list[ProvidedGroup]]:
        """How many there are, and the wanted part of them."""
        wanted = filters.clauses(asked.filter, _GROUP_FILTERS) if asked.filter else {}
        names = {each: _text(each, value) for each, value in wanted.items()}
        return await self._desk.groups(
            actor,
            name=names.get("displayName"),
            external_id=names.get("externalId"),
            group_id=names.get("id"),
            start=asked.start - 1,
            count=asked.count,
            with_members=asked.shown.has("members"),
        )

    async def add(self, request: Request) -> Response:
        actor = await self._caller(request)
        name, external_id, members = parse.wanted_group(await self._body(request))
        return self._one(request, await self._desk.add_group(actor, name, external_id, members), 201)

    async def one(self, request: Request) -> Response:
        return self._one(request, await self._desk.group(await self._caller(request), _id(request, "group_id")))

    async def replace(self, request: Request) -> Response:
        actor, group_id = await self._caller(request), _id(request, "group_id")
        await self._desk.group(actor, group_id)
        name, external_id, members = parse.wanted_group(await self._body(request))
        whole = await self._desk.set_group(actor, group_id, name, external_id, Membership(members))
        return self._one(request, whole)

    async def patch(self, request: Request) -> Response:
        actor, group_id = await self._caller(request), _id(request, "group_id")
        before = await self._desk.group(actor, group_id)
        changes = patch.operations(await self._body(request))
        resource, members = patch.patched_group(write.group(before, Shown("")), changes)
        name, external_id, _ = parse.wanted_group(resource)
        return self._one(request, await self._desk.set_group(actor, group_id, name, external_id, members))

    async def remove(self, request: Request) -> Response:
        await self._desk.remove_group(await self._caller(request), _id(request, "group_id"))
        return Response(status_code=204)

    def _one(self, request: Request, group: ProvidedGroup, status: int = 200) -> Response:
        return _answer(write.group(group, self._shown(request)), status)


class _Search(_Door):
    """Over everything: people first, then groups (RFC 7644 3.4.3)."""

    def __init__(self, doors: Doors, users: _Users, groups: _Groups) -> None:
        super().__init__(doors)
        self._users = users
        self._groups = groups

    async def found(self, request: Request) -> Response:
        actor = await self._caller(request)
        asked = self._asked(request, await self._body(request))
        looked_for = filters.clauses(asked.filter, {*_USER_FILTERS, *_GROUP_FILTERS}) if asked.filter else {}
        people_total, groups_total = 0, 0
        people: list[Provided] = []
        groups: list[ProvidedGroup] = []
        if looked_for.keys() <= set(_USER_FILTERS):
            people_total, people = await self._users.search(actor, asked)
        rest = replace(asked, start=max(1, asked.start - people_total), count=asked.count - len(people))
        if looked_for.keys() <= set(_GROUP_FILTERS):
            groups_total, groups = await self._groups.search(actor, rest)
        resources = write.all_of(people, asked.shown, write.user) + write.all_of(groups, asked.shown, write.group)
        return _answer(write.listed(people_total + groups_total, asked.start, resources))


class _About(_Door):
    def operations(self) -> list[Operation]:
        return [
            Operation("GET", f"{BASE}/ServiceProviderConfig", "What this service can do.", self._config),
            Operation("GET", f"{BASE}/ResourceTypes", "Which resources there are.", self._types),
            Operation("GET", f"{BASE}/ResourceTypes/{{name}}", "One kind of resource.", self._type),
            Operation("GET", f"{BASE}/Schemas", "Which attributes they have.", self._schemas),
            Operation("GET", f"{BASE}/Schemas/{{name}}", "The attributes of one kind of resource.", self._schema),
        ]

    async def _config(self, request: Request) -> Response:
        await self._caller(request)
        return _answer(about.config(self._shown(request).origin))

    async def _types(self, request: Request) -> Response:
        await self._caller(request)
        found = about.resource_types(self._shown(request).origin)
        return _answer(write.listed(len(found), 1, found))

    async def _type(self, request: Request) -> Response:
        await self._caller(request)
        return _answer(_named(about.resource_types(self._shown(request).origin), _id(request, "name")))

    async def _schemas(self, request: Request) -> Response:
        await self._caller(request)
        found = about.schemas(self._shown(request).origin)
        return _answer(write.listed(len(found), 1, found))

    async def _schema(self, request: Request) -> Response:
        await self._caller(request)
        return _answer(_named(about.schemas(self._shown(request).origin), _id(request, "name")))


def _named(found: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for each in found:
        if each["id"] == name:
            return each
    raise Missing("no_such_route", f"There is no {name[:80]!r}.", "See the list.")


def _answer(resource: dict[str, Any], status: int = 200) -> Response:
    headers = {"Location": resource["meta"]["location"]} if status == 201 else {}
    return Response(_encode(resource), status, headers, MEDIA_TYPE)


def _number(given: Mapping[str, Any], name: str, usual: int) -> int:
    value = given.get(name)
    if value in (None, ""):
        return usual
    try:
        return max(-1, min(int(str(value)), 2**31))
    except ValueError:
        raise Misasked("bad_value", f"{name} is a whole number.", "Mend it.", param=name) from None


def _joined(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _id(request: Request, name: str) -> str:
    return str(request.path_params[name])[:200]


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise Misasked("bad_filter", f"{name} is compared with a text.", f'As `{name} eq "x"`.')
    return value
