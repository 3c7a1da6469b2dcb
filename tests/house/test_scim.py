"""A directory keeps people and groups here, through the doors of a whole house: requests as Entra and Okta send them.

(The checker of SCIM's own library is among the clients' tests; what runs for somebody is in `test_deprovisioning`.)
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.house.test_rosters import a_house, entries

from intramural.access import Proven
from intramural.access.people import NO_PASSWORD
from intramural.app import House

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


@dataclass
class Directory:
    """A house, the administrator's client, and a directory's, which is called `entra` here."""

    house: House
    admin: httpx.AsyncClient
    client: httpx.AsyncClient
    key_id: str

    async def said(self, method: str, path: str, body: Any = None, status: int = 200, **query: Any) -> dict[str, Any]:
        answer = await self.client.request(method, f"/scim/v2{path}", json=body, params=query or None)
        assert answer.status_code == status, answer.text
        if status == 204:
            assert not answer.content
            return {}
        assert answer.headers["content-type"] == "application/scim+json"
        found: dict[str, Any] = answer.json()
        if status >= 400:
            assert found["schemas"] == [ERROR] and found["status"] == str(status) and found["detail"]
        return found

    async def patch(self, path: str, *operations: dict[str, Any], status: int = 200) -> dict[str, Any]:
        return await self.said("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)}, status)

    async def act(self, method: Any, *args: Any, **more: Any) -> Any:
        async with self.house.services.provisioning._db.writing() as connection:
            return await method(connection, *args, **more)


async def a_client(house: House, admin: httpx.AsyncClient, name: str) -> tuple[httpx.AsyncClient, str]:
    role = {"permissions": ["people.provision"]}
    assert (await admin.put("/intramural/v1/roles/directory", json=role)).status_code == 200
    account = (await admin.post("/intramural/v1/people", json={"username": name, "role": "directory"})).json()
    key = {"name": "scim", "scopes": ["provision"], "person_id": account["id"]}
    made = (await admin.post("/intramural/v1/keys", json=key)).json()
    headers = {"Authorization": f"Bearer {made['secret']}"}
    transport = httpx.ASGITransport(house.application)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers), made["key"]["id"]


@asynccontextmanager
async def a_directory(folder: Path) -> AsyncIterator[Directory]:
    async with a_house(folder) as (house, admin):
        client, key_id = await a_client(house, admin, "entra")
        async with client:
            yield Directory(house, admin, client, key_id)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def there(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Directory]:
    async with a_directory(tmp_path_factory.mktemp("scim")) as made:
        yield made


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_person_comes_and_goes_as_entra_does_it(there: Directory) -> None:
    none = await there.said("GET", "/Users", filter='userName eq "mia@school.example"')
    assert (none["totalResults"], none["Resources"]) == (0, [])
    body = {
        "schemas": [USER, "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],
        "externalId": "0a21f0f2", "userName": "Mia@school.example", "active": True, "displayName": "Mia T",
        "emails": [{"primary": True, "type": "work", "value": "mia@school.example"}], "meta": {"resourceType": "User"},
        "name": {"formatted": "Mia T", "familyName": "T", "givenName": "Mia"}, "title": "pupil", "roles": [],
    }  # fmt: skip
    made = await there.said("POST", "/Users", body, 201)
    mia = f"/Users/{made['id']}"
    assert made["meta"]["location"] == f"http://localhost/scim/v2{mia}"
    assert {name: made[name] for name in ("userName", "externalId", "displayName", "emails", "name", "active")} == {
        name: body[name] for name in ("userName", "externalId", "displayName", "emails", "name", "active")
    }
    assert "title" not in made and "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User" not in made
    for text in ('userName eq "mia@SCHOOL.example"', 'externalId eq "0a21f0f2"', f'id eq "{made["id"]}"'):
        [found] = (await there.said("GET", "/Users", filter=text))["Resources"]
        assert found == made
    taken = await there.said("POST", "/Users", body, 409)
    assert taken["scimType"] == "uniqueness"
    person = await there.house.access.people.get(made["id"])
    assert (person.role, person.kind) == ("member", "person")
    assert not await there.house.access.people.has_password(person.username)
    out = await there.patch(mia, {"op": "Replace", "path": "active", "value": "False"})
    assert out["active"] is False
    assert (await there.said("GET", mia))["active"] is False
    back = await there.patch(mia, {"op": "Replace", "path": "active", "value": "True"},
                             {"op": "Replace", "path": "userName", "value": "mia.t@school.example"})  # fmt: skip
    assert (back["active"], back["userName"]) == (True, "mia.t@school.example")
    await there.said("DELETE", mia, status=204)
    for method in ("GET", "DELETE"):
        await there.said(method, mia, status=404)
    await there.patch(mia, {"op": "replace", "path": "active", "value": True}, status=404)
    assert (await there.house.access.people.get(made["id"])).disabled_ms is not None, "shut out, and not erased"
    again = await there.said("POST", "/Users", body | {"userName": "mia.t@school.example", "externalId": "new"}, 201)
    assert (again["id"], again["active"]) == (made["id"], True), "the same person comes back"
    events = [each.event for each in await entries(there.house, "person.") if each.target == f"person:{made['id']}"]
    assert events[::-1] == [
        "person.created", "person.disabled", "person.disabled", "person.disabled", "person.linked", "person.disabled",
    ]  # fmt: skip


async def test_who_is_shut_out_there_is_shut_out_here(there: Directory) -> None:
    made = await there.said("POST", "/Users", {"userName": "gone"}, 201)
    person = await there.house.access.people.get(made["id"])
    token, _ = await there.act(there.house.access.sessions.open, Proven(person, NO_PASSWORD.text), "")
    _, secret = await there.act(there.house.access.keys.create, person.id, "k", ["inference"])
    transport = httpx.ASGITransport(there.house.application)
    for headers in ({"Cookie": f"intramural_session={token}"}, {"Authorization": f"Bearer {secret}"}):
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as theirs:
            assert (await theirs.get("/intramural/v1/me")).status_code == 200
    await there.patch(f"/Users/{made['id']}", {"op": "replace", "value": {"active": False}})
    for headers in ({"Cookie": f"intramural_session={token}"}, {"Authorization": f"Bearer {secret}"}):
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as theirs:
            assert (await theirs.get("/intramural/v1/me")).status_code == 401
    assert await there.house.access.sessions.list(person.id) == []


async def test_groups_as_entra_and_okta_keep_them(there: Directory) -> None:
    ids = [(await there.said("POST", "/Users", {"userName": f"g{n}"}, 201))["id"] for n in range(4)]
    body = {"displayName": "Grade 7", "externalId": "g-7", "members": [{"value": ids[0]}]}
    made = await there.said("POST", "/Groups", body, 201)
    url = f"/Groups/{made['id']}"
    assert [each["value"] for each in made["members"]] == [ids[0]] and made["externalId"] == "g-7"
    listed = await there.said("GET", "/Groups", filter='displayName eq "Grade 7"', excludedAttributes="members")
    assert "members" not in listed["Resources"][0] and listed["totalResults"] == 1
    added = await there.patch(url, {"op": "Add", "path": "members", "value": [{"value": each} for each in ids]})
    assert {each["value"] for each in added["members"]} == set(ids)
    [group] = (await there.said("GET", f"/Users/{ids[1]}"))["groups"]
    assert (group["value"], group["display"]) == (made["id"], "Grade 7")
    fewer = await there.patch(url, {"op": "remove", "path": f'members[value eq "{ids[1]}"]'})
    assert {each["value"] for each in fewer["members"]} == {ids[0], ids[2], ids[3]}
    page = "/intramural/v1"
    await there.admin.put(f"{page}/groups/{made['id']}/members/{ids[3]}", json={"manager": True})
    whole = await there.said("PUT", url, {"displayName": "Grade 7 B", "members": [{"value": ids[0]}]})
    assert {each["value"] for each in whole["members"]} == {ids[0], ids[3]}, "who was put there by hand stays"
    assert (whole["displayName"], "externalId" in whole) == ("Grade 7 B", False)
    actor = await there.house.access.identify.again("person", ids[3], "x")
    assert actor.groups == (made["id"],) and actor.manages == (made["id"],)
    nobody = await there.patch(url, {"op": "add", "path": "members", "value": [{"value": "person_x"}]}, status=400)
    assert nobody["scimType"] == "invalidValue"
    assert (await there.patch(url, {"op": "add", "path": "members", "value": []}))["displayName"] == "Grade 7 B"
    await there.said("DELETE", url, status=204)
    await there.said("GET", url, status=404)
    found = [each for each in await entries(there.house, "group.") if each.target == f"group:{made['id']}"]
    names = [each.event for each in found if each.facts.get("source") == "scim:entra"]
    assert sorted(names) == sorted(
        ["group.created", *["group.joined"] * 4, "group.left", "group.left", "group.changed", "group.removed"]
    )


async def test_what_a_directory_does_not_see_it_does_not_touch(there: Directory) -> None:
    """Whoever may more than a member, service accounts, groups of others: as if they were not there."""
    page = "/intramural/v1"
    root = (await there.house.access.people.named("root")).id
    robot = (await there.admin.post(f"{page}/people", json={"username": "robot", "role": "service"})).json()["id"]
    boss = (await there.admin.post(f"{page}/people", json={"username": "boss", "role": "auditor"})).json()["id"]
    for hidden, name in ((root, "root"), (robot, "robot"), (boss, "boss")):
        assert (await there.said("GET", "/Users", filter=f'userName eq "{name}"'))["totalResults"] == 0
        await there.said("GET", f"/Users/{hidden}", status=404)
        await there.said("DELETE", f"/Users/{hidden}", status=404)
        await there.patch(f"/Users/{hidden}", {"op": "replace", "path": "active", "value": False}, status=404)
        await there.said("PUT", f"/Users/{hidden}", {"userName": "x"}, 404)
        assert (await there.said("POST", "/Users", {"userName": name}, 409))["scimType"] == "uniqueness"
        group = {"displayName": "G", "members": [{"value": hidden}]}
        await there.said("POST", "/Groups", group, 400)
    theirs = (await there.admin.post(f"{page}/groups", json={"name": "By hand"})).json()["id"]
    await there.said("GET", f"/Groups/{theirs}", status=404)
    await there.said("DELETE", f"/Groups/{theirs}", status=404)
    async with (await a_client(there.house, there.admin, "okta"))[0] as other:
        mine = await there.said("POST", "/Groups", {"displayName": "Mine", "externalId": "1"}, 201)
        assert (await other.get(f"/scim/v2/Groups/{mine['id']}")).status_code == 404
        assert (await other.post("/scim/v2/Groups", json={"displayName": "Mine", "externalId": "1"})).status_code == 201
        kept = await there.said("POST", "/Users", {"userName": "kept"}, 201)
        assert kept["id"] not in {each["id"] for each in (await other.get("/scim/v2/Users")).json()["Resources"]}


async def test_a_member_who_was_here_is_taken_over_and_what_people_here_did_stays(there: Directory) -> None:
    page = "/intramural/v1"
    made = (await there.admin.post(f"{page}/people", json={"username": "ned", "role": "member"})).json()
    [found] = (await there.said("GET", "/Users", filter='userName eq "ned"'))["Resources"]
    assert found["id"] == made["id"]
    url = f"/Users/{made['id']}"
    linked = await there.patch(url, {"op": "add", "path": "externalId", "value": "n-1"})
    assert linked["externalId"] == "n-1"
    await there.admin.patch(f"{page}/people/{made['id']}", json={"role": "auditor", "disabled": True})
    again = await there.said("PUT", url, {"userName": "ned", "externalId": "n-1", "active": True})
    assert again["active"] is False, "who was shut out here stays out as long as the directory says nothing new"
    assert (await there.house.access.people.get(made["id"])).role == "auditor"
    before = len(await entries(there.house, "person."))
    await there.said("PUT", url, {"userName": "ned", "externalId": "n-1", "active": True})
    assert len(await entries(there.house, "person.")) == before, "saying the same again changes nothing"
    await there.patch(url, {"op": "replace", "path": "active", "value": False})
    assert (await there.patch(url, {"op": "replace", "path": "active", "value": True}))["active"] is True


async def test_the_last_administrator_stays_whatever_a_directory_says(there: Directory) -> None:
    made = await there.said("POST", "/Users", {"userName": "kim"}, 201)
    root = (await there.house.access.people.named("root")).id
    people = there.house.access.people
    await there.act(people.change, made["id"], role="administrator")
    await there.act(people.change, root, role="member")
    try:
        out = await there.patch(f"/Users/{made['id']}", {"op": "replace", "path": "active", "value": False}, status=409)
        assert "last_administrator" in out["detail"]
    finally:
        await there.act(people.change, root, role="administrator")
    out = await there.patch(f"/Users/{made['id']}", {"op": "replace", "path": "active", "value": False})
    assert out["active"] is False, "whom it keeps it may shut out, whatever they may"


async def test_lists_are_given_page_by_page(there: Directory) -> None:
    for n in range(5):
        await there.said("POST", "/Users", {"userName": f"page{n}"}, 201)
    total = (await there.said("GET", "/Users", count=0))["totalResults"]
    seen = []
    for start in range(1, total + 1, 3):
        part = await there.said("GET", "/Users", startIndex=start, count=3)
        assert part["totalResults"] == total and part["startIndex"] == start
        seen += [each["id"] for each in part["Resources"]]
    assert len(set(seen)) == len(seen) == total
    assert (await there.said("GET", "/Users", startIndex=total + 1))["Resources"] == []
    assert (await there.said("GET", "/Users", startIndex=-3, count=-1))["startIndex"] == 1
    [one] = (await there.said("GET", "/Users", filter='userName eq "page1"', attributes="userName"))["Resources"]
    assert set(one) == {"schemas", "id", "meta", "userName"}
    assert (await there.said("GET", "/Users", filter='userName sw "page"', status=400))["scimType"] == "invalidFilter"
    found = await there.said("POST", "/.search", {"filter": 'userName eq "page1"', "attributes": ["userName"]})
    assert found["totalResults"] == 1


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({}, "invalidValue"),
        ({"userName": ""}, "invalidValue"),
        ({"userName": "a b"}, "invalidValue"),
        ({"userName": "=cmd"}, "invalidValue"),
        ({"userName": "x" * 2**20}, "invalidValue"),
        ({"userName": "ok", "displayName": "a\u202eb"}, "invalidValue"),
        ({"userName": "ok", "displayName": "a\nb"}, "invalidValue"),
        ({"userName": "ok", "active": "perhaps"}, "invalidValue"),
        ({"userName": "ok", "emails": "x" * 300}, "invalidValue"),
        ([], "invalidValue"),
    ],
)
async def test_what_cannot_be_is_refused_in_scims_words(there: Directory, body: Any, kind: str) -> None:
    assert (await there.said("POST", "/Users", body, 400))["scimType"] == kind


async def test_only_a_directorys_key_opens_it_and_it_opens_nothing_else(there: Directory) -> None:
    transport = httpx.ASGITransport(there.house.application)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as stranger:
        answer = await stranger.get("/scim/v2/Users")
        assert (answer.status_code, answer.json()["status"]) == (401, "401")
        assert answer.headers["www-authenticate"] == "Bearer"
    for path in ("/intramural/v1/people", "/intramural/v1/groups", "/intramural/v1/audit", "/metrics"):
        assert (await there.client.get(path)).status_code == 403, path
    assert (await there.client.post("/v1/chat/completions", json={"model": "x", "messages": []})).status_code in (
        400,
        403,
    )
    robot = (await there.admin.post("/intramural/v1/people", json={"username": "r2", "role": "service"})).json()
    key = {"name": "k", "scopes": ["provision"], "person_id": robot["id"]}
    refused = await there.admin.post("/intramural/v1/keys", json=key)
    assert refused.json()["error"]["code"] == "bad_scopes"
    unknown = await there.client.get("/scim/v2/Nothing")
    assert (unknown.status_code, unknown.json()["schemas"]) == (404, [ERROR])
    wrong = await there.client.delete("/scim/v2/Schemas")
    assert (wrong.status_code, wrong.json()["schemas"]) == (405, [ERROR])
    syntax = await there.client.post("/scim/v2/Users", content=b"{", headers={"content-type": "application/scim+json"})
    assert (syntax.status_code, syntax.json()["scimType"]) == (400, "invalidSyntax")
    await there.said("GET", "/ResourceTypes/Nothing", status=404)
    assert (await there.admin.delete(f"/intramural/v1/keys/{there.key_id}")).status_code == 204
    assert (await there.client.get("/scim/v2/Users")).status_code == 401
