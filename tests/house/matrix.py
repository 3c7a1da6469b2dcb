"""A house without models, somebody of every role in it, and things of theirs and of others to try the routes on."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import text
from tests import databases

from intramural.access import Charter, Feature, Given, Openings, Person, Proven
from intramural.app import House, opened
from intramural.chats import Chats, KeptResponse, KeptResponses
from intramural.core.actor import Whose
from intramural.core.clock import SystemClock
from intramural.core.config import load
from intramural.core.ids import new_id
from intramural.http.browsers import HEADERS
from intramural.storage import Database

NOBODY_S = "0" * 26
ROLES = ("administrator", "auditor", "manager", "member", "service")
LETTERS = dict(zip("AUGMS", ROLES, strict=True))
#: Whose a thing is, for whoever asks.
RELATIONS = ("own", "own elsewhere", "same group", "other", "other workspace", "deleted")
#: What of a workspace is reached in that workspace alone; "own elsewhere" is one's own, of another than one asks in.
KEPT = {"file", "batch", "message batch", "response", "conversation"}


@dataclass
class Someone:
    """A person, and a client that asks as them: in a session, or with a key where they have none."""

    person: Person
    client: httpx.AsyncClient


async def _tells_browsers(response: httpx.Response) -> None:
    """Of every answer to anybody: no browser is to take it for what it is not, or to load anything for it."""
    for name, _ in HEADERS:
        assert len(response.headers.get_list(name.decode())) == 1, f"{response.request.url}: {name.decode()}"
    assert "default-src" in response.headers["content-security-policy"]
    assert "html" not in response.headers.get("content-type", "") or response.request.url.path == "/"


@dataclass
class World:
    """`who`: somebody of every role, all in one group, which the manager manages. `friend` is in the group as well,
    `stranger` in none, and `insider` in a workspace that nobody else is in."""

    house: House
    db: Database
    chats: Chats
    responses: KeptResponses
    who: dict[str, Someone] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    others: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)

    async def act(self, method: Callable[..., Awaitable[Any]], *args: Any, **more: Any) -> Any:
        """One changing method of a room, in a transaction of its own."""
        async with self.db.writing() as connection:
            return await method(connection, *args, **more)

    def client(self, **headers: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.house.application, raise_app_exceptions=False)
        hooks = {"response": [_tells_browsers]}
        return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers, event_hooks=hooks)

    def owner(self, role: str, relation: str) -> Someone:
        """Whose thing it is that somebody of `role` asks for."""
        names = {"same group": "friend", "other": "stranger", "other workspace": "insider"}
        return self.who[names.get(relation, role)]

    async def thing(self, kind: str, role: str, relation: str, *, lasting: bool) -> dict[str, str]:
        """A thing that stands in this relation to somebody of `role`, for a path. A `lasting` one has to outlast all
        that is tried on it: it is made once.
        """
        if not lasting:
            return await thing(self, kind, self.owner(role, relation), relation)
        at = (kind, relation if relation != "own elsewhere" else f"{relation} {role}")
        if at not in self.others:
            self.others[at] = await thing(self, kind, self.owner(role, relation), relation)
        return self.others[at]

    def inside(self, relation: str) -> dict[str, str]:
        """The header with which a thing in this relation was made."""
        places = {"other workspace": "Shut", "own elsewhere": "Shared"}
        name = next((place for prefix, place in places.items() if relation.startswith(prefix)), None)
        return {} if name is None else {"x-intramural-workspace": name}


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    """Everything opened; closed at the end."""
    async with AsyncExitStack() as stack:
        # an administrator's pull goes nowhere
        settings = {"INTRAMURAL_LIBRARY_ALLOW_NETWORK": "false", **databases.settings(folder / "intramural.db")}
        house = await stack.enter_async_context(opened(load(settings, data_dir=folder)))
        db = await databases.opened(folder / "intramural.db")
        stack.push_async_callback(db.close)
        clock = SystemClock()
        vault = house.services.vault._vault  # two of them would not know of each other's keys
        made = World(house, db, Chats(db, vault, clock), KeptResponses(db, vault, clock, 30))
        await _populate(made)
        for someone in made.who.values():
            await vault.prepare(someone.person.id)
        for someone in made.who.values():
            stack.push_async_callback(someone.client.aclose)
        yield made


async def _populate(world: World) -> None:
    access = world.house.access
    hashed = await access.people.hash_new("nobody", "a sentence nobody guesses")
    group = await world.act(access.groups.create, "Ward")
    outer = await world.act(access.groups.create, "Elsewhere")
    shut = await world.act(access.workspaces.create, Charter("Shut", "phi"))
    shared = await world.act(access.workspaces.create, Charter("Shared", "public"))
    await world.act(access.roles.put, "helpdesk", ["people.read"])
    for name in (*ROLES, "friend", "stranger", "insider"):
        role = name if name in ROLES else "member"
        person = await world.act(access.people.create, name, None if role == "service" else hashed, role)
        if role == "service":
            scopes = ["inference"]
            _, secret = await world.act(access.keys.create, person.id, "a program", scopes)
            client = world.client(authorization=f"Bearer {secret}")
        else:
            token, session = await world.act(access.sessions.open, Proven(person, hashed.text), "")
            client = world.client(cookie=f"intramural_session={token}", **{"x-csrf-token": session.csrf_token})
        world.who[name] = Someone(person, client)
        if name not in ("stranger", "insider"):
            await world.act(access.groups.put, group.id, person.id, manager=role == "manager")
            await world.act(access.workspaces.admit, shared.place.id, person.id)
    await world.act(access.workspaces.admit, shut.place.id, world.who["insider"].person.id)
    for someone in world.who.values():  # whoever asks for the first time gets their data key
        assert (await someone.client.get("/v1/models")).status_code == 200
    world.ids.update(group=group.id, outer=outer.id, shut=shut.place.id, shared=shared.place.id)


# things of people -----------------------------------------------------------------------------------------------------


async def thing(world: World, kind: str, owner: Someone, relation: str) -> dict[str, str]:
    """A thing of this kind that is `owner`'s: what stands in a path for it."""
    return await _MAKERS[kind](world, owner, relation)


async def _chat(world: World, owner: Someone, relation: str) -> dict[str, str]:
    workspace_id = world.ids["shut"] if relation == "other workspace" else None
    chat = await world.chats.create(owner.person.id, "none:1b", workspace_id=workspace_id)
    return {"chat_id": chat.id}


async def _key(world: World, owner: Someone, _relation: str) -> dict[str, str]:
    key, _ = await world.act(world.house.access.keys.create, owner.person.id, "k", ["inference"])
    return {"key_id": key.id}


async def _session(world: World, owner: Someone, _relation: str) -> dict[str, str]:
    if owner.person.kind == "service":
        return {"session_id": f"session_{NOBODY_S}"}
    hashed = await _hash_of(world, owner.person)
    _, session = await world.act(world.house.access.sessions.open, Proven(owner.person, hashed), "")
    return {"session_id": session.id}


async def _hash_of(world: World, person: Person) -> str:
    async with world.db.reading() as connection:
        found = text("SELECT password_hash FROM people WHERE id = :id")
        return str(await connection.scalar(found, {"id": person.id}))


async def _file(world: World, owner: Someone, relation: str) -> dict[str, str]:
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {}}
    files = {"file": ("a.jsonl", json.dumps(line).encode()), "purpose": (None, "batch")}
    answer = await owner.client.post("/v1/files", files=files, headers=world.inside(relation))
    assert answer.status_code == 200, answer.text
    return {"file_id": answer.json()["id"]}


async def _batch(world: World, owner: Someone, relation: str) -> dict[str, str]:
    file_id = (await _file(world, owner, relation))["file_id"]
    body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    answer = await owner.client.post("/v1/batches", json=body, headers=world.inside(relation))
    assert answer.status_code == 200, answer.text
    return {"batch_id": answer.json()["id"]}


async def _message_batch(world: World, owner: Someone, relation: str) -> dict[str, str]:
    asked = {"model": "none:1b", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}
    body = {"requests": [{"custom_id": "a", "params": asked}]}
    headers = {"anthropic-version": "2023-06-01"} | world.inside(relation)
    answer = await owner.client.post("/v1/messages/batches", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return {"batch_id": answer.json()["id"]}


async def _response(world: World, owner: Someone, relation: str) -> dict[str, str]:
    response_id = new_id("resp", SystemClock())
    asked = {"id": "msg_1", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
    body = {"id": response_id, "object": "response", "status": "completed", "model": "none:1b", "background": False}
    name = world.inside(relation).get("x-intramural-workspace", "").lower()
    whose = Whose(owner.person.id, world.ids[name] if name else None)
    await world.responses.keep(whose, KeptResponse(response_id, body, (asked,), ()))
    return {"response_id": response_id}


async def _conversation(world: World, owner: Someone, relation: str) -> dict[str, str]:
    headers = world.inside(relation)
    item = {"type": "message", "role": "user", "content": "hi"}
    answer = await owner.client.post("/v1/conversations", json={"items": [item]}, headers=headers)
    assert answer.status_code == 200, answer.text
    conversation_id = answer.json()["id"]
    items = (await owner.client.get(f"/v1/conversations/{conversation_id}/items", headers=headers)).json()["data"]
    return {"conversation_id": conversation_id, "item_id": items[0]["id"]}


async def _person(world: World, _owner: Someone, relation: str) -> dict[str, str]:
    person = await world.act(world.house.access.people.create, f"x{new_id('x', SystemClock())}", None, "service")
    if relation == "same group":
        await world.act(world.house.access.groups.put, world.ids["group"], person.id)
    return {"person_id": person.id}


async def _scim_user(world: World, _owner: Someone, relation: str) -> dict[str, str]:
    """Somebody whom a directory keeps, as seen by the administrator who does what a directory does."""
    made = await world.who["administrator"].client.post("/scim/v2/Users", json={"userName": new_id("x", SystemClock())})
    person_id = made.json()["id"]
    if relation == "same group":
        await world.act(world.house.access.groups.put, world.ids["group"], person_id)
    return {"person_id": person_id}


async def _scim_group(world: World, _owner: Someone, _relation: str) -> dict[str, str]:
    made = await world.who["administrator"].client.post("/scim/v2/Groups", json={"displayName": "A group"})
    return {"group_id": made.json()["id"]}


async def _group(world: World, _owner: Someone, relation: str) -> dict[str, str]:
    around = world.ids["group"] if relation in ("own", "same group") else None
    group = await world.act(world.house.access.groups.create, "A group", around)
    friend = world.who["friend"].person.id
    await world.act(world.house.access.groups.put, group.id, friend)
    return {"group_id": group.id, "person_id": friend}


async def _workspace(world: World, _owner: Someone, _relation: str) -> dict[str, str]:
    name = new_id("x", SystemClock())
    workspace = await world.act(world.house.access.workspaces.create, Charter(name, "phi"))
    friend = world.who["friend"].person.id
    await world.act(world.house.access.workspaces.admit, workspace.place.id, friend)
    return {"workspace_id": workspace.place.id, "member_id": friend, "person_id": friend, "use": "grading"}


async def _consent(world: World, owner: Someone, _relation: str) -> dict[str, str]:
    consents = world.house.services.consent._consents
    given = Given(frozenset({Feature.USE}), "guardian", "paper", 0)
    [consent] = await world.act(consents.give, [(owner.person.id, given)], "console")
    return {"consent_id": consent.id}


async def _role(world: World, _owner: Someone, _relation: str) -> dict[str, str]:
    await world.act(world.house.access.roles.put, "helpdesk", ["people.read"])
    return {"name": "helpdesk"}


async def _oneself(_world: World, owner: Someone, _relation: str) -> dict[str, str]:
    return {"person_id": owner.person.id, "student_id": owner.person.id}


async def _opening(world: World, _owner: Someone, _relation: str) -> dict[str, str]:
    return {"opening_id": await _asked(world, world.who["friend"], world.who["stranger"])}


async def _open(world: World, owner: Someone, relation: str) -> dict[str, str]:
    """One that `owner` has open, of a stranger's things."""
    whose = world.who["insider" if relation == "other" else "stranger"]
    opening_id = await _asked(world, owner, whose)
    for step in ("approve", "open"):
        await world.act(_openings(world).move, opening_id, step, "x")
    found = {"opening_id": opening_id}
    for make in (_chat, _file, _response, _conversation):
        found |= await make(world, whose, "")
    batch = f"batch of {whose.person.username}"  # one: of unfinished ones nobody may have many
    if batch not in world.ids:
        world.ids[batch] = (await _message_batch(world, whose, ""))["batch_id"]
    return found | {"batch_id": world.ids[batch]}


def _openings(world: World) -> Openings:
    return world.house.services.break_glass._openings


async def _asked(world: World, asker: Someone, whose: Someone) -> str:
    opening = await world.act(
        _openings(world).ask, asker.person.id, person_id=whose.person.id, workspace_id=None, purpose="legal",
        reason="a reason that is long enough", minutes=60, second=True,
    )  # fmt: skip
    return str(opening.id)


_MAKERS: dict[str, Callable[[World, Someone, str], Awaitable[dict[str, str]]]] = {
    "chat": _chat,
    "key": _key,
    "session": _session,
    "file": _file,
    "batch": _batch,
    "message batch": _message_batch,
    "response": _response,
    "conversation": _conversation,
    "person": _person,
    "scim user": _scim_user,
    "scim group": _scim_group,
    "group": _group,
    "workspace": _workspace,
    "consent": _consent,
    "role": _role,
    "opening": _opening,
    "my opening": _open,
    "oneself": _oneself,
}
#: What stands in a path for a thing that is gone.
GONE = {
    "chat": {"chat_id": f"chat_{NOBODY_S}"},
    "key": {"key_id": f"key_{NOBODY_S}"},
    "session": {"session_id": f"session_{NOBODY_S}"},
    "file": {"file_id": f"file_{NOBODY_S}"},
    "batch": {"batch_id": f"batch_{NOBODY_S}"},
    "message batch": {"batch_id": f"msgbatch_{NOBODY_S}"},
    "response": {"response_id": f"resp_{NOBODY_S}"},
    "conversation": {"conversation_id": f"conv_{NOBODY_S}", "item_id": "msg_1"},
    "person": {"person_id": f"person_{NOBODY_S}"},
    "scim user": {"person_id": f"person_{NOBODY_S}"},
    "scim group": {"group_id": f"group_{NOBODY_S}"},
    "scim name": {"name": "User"},
    "law": {"law": "ferpa"},
    "attestation": {"attestation_id": f"att_{NOBODY_S}"},
    "token": {"token": "0" * 32},
    "group": {"group_id": f"group_{NOBODY_S}", "person_id": f"person_{NOBODY_S}"},
    "workspace": {
        "workspace_id": f"workspace_{NOBODY_S}",
        "member_id": f"person_{NOBODY_S}",
        "person_id": f"person_{NOBODY_S}",
        "use": "grading",
    },
    "consent": {"consent_id": f"consent_{NOBODY_S}"},
    "house notice": {"notice_id": f"notice_{NOBODY_S}", "person_id": f"person_{NOBODY_S}", "digest": "sha256:0"},
    "role": {"name": "gone"},
    "opening": {"opening_id": f"opening_{NOBODY_S}"},
    "my opening": {
        "opening_id": f"opening_{NOBODY_S}",
        "chat_id": f"chat_{NOBODY_S}",
        "file_id": f"file_{NOBODY_S}",
        "response_id": f"resp_{NOBODY_S}",
        "conversation_id": f"conv_{NOBODY_S}",
        "batch_id": f"msgbatch_{NOBODY_S}",
    },
    "notice": {"opening_id": f"opening_{NOBODY_S}"},
    # there are none in this house: that one is gone is all that can be tried
    "model": {"name": "none:1b"},
    "pull": {"pull_id": f"pull_{NOBODY_S}"},
    "blob": {"digest": "sha256:" + "0" * 64},
    "answer": {"id": f"req_{NOBODY_S}"},  # of streams, receipts, completions: see tests/journeys
    "ollama's key": {"key": "x"},
    "passkey": {"passkey_id": f"passkey_{NOBODY_S}"},
    "provider": {"name": "school"},
    "identity": {"person_id": f"person_{NOBODY_S}", "name": "school"},
    "erasure": {"person_id": f"person_{NOBODY_S}"},
    "legal hold": {"hold_id": f"hold_{NOBODY_S}"},
    "egress entry": {"entry_id": f"egress_{NOBODY_S}"},
    "quota": {"quota_id": f"quota_{NOBODY_S}"},
    "oneself": {"person_id": f"person_{NOBODY_S}", "student_id": f"person_{NOBODY_S}"},
}
