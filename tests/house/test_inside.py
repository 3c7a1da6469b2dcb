"""What is kept in a workspace: of its owner, in that workspace, as long as they are a member and it is open."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Any
from zipfile import ZipFile

import httpx
import pytest
import pytest_asyncio
from msgspec.structs import replace
from sqlalchemy import text
from tests.house.matrix import LETTERS, Someone, World, thing, world
from tests.house.test_matrix import code_of

from intramural.access import Charter, Proven
from intramural.audit import Wanted
from intramural.core.actor import CONSOLE, SCOPES, Actor, Place
from intramural.core.errors import Misasked

pytestmark = pytest.mark.asyncio(loop_scope="module")

WARD = {"x-intramural-workspace": "Shared"}
#: Where each kind of thing is shown.
SHOWN = {
    "file": "/v1/files/{file_id}",
    "batch": "/v1/batches/{batch_id}",
    "message batch": "/v1/messages/batches/{batch_id}",
    "response": "/v1/responses/{response_id}",
    "conversation": "/v1/conversations/{conversation_id}/items/{item_id}",
}
LISTED = {"file": "/v1/files", "batch": "/v1/batches", "message batch": "/v1/messages/batches"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def there(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("inside") / "data") as made:
        yield made


async def listed(client: httpx.AsyncClient, kind: str, headers: dict[str, str]) -> set[str]:
    dialect = {"anthropic-version": "2023-06-01"} if kind == "message batch" else {}
    answer = await client.get(LISTED[kind], headers=headers | dialect)
    assert answer.status_code == 200, answer.text
    return {each["id"] for each in answer.json()["data"]}


async def document(client: httpx.AsyncClient, text: str, headers: dict[str, str]) -> str:
    """A text file that is searched; its identifier."""
    files = {"file": ("a.txt", text.encode()), "purpose": (None, "user_data")}
    answer = await client.post("/v1/files", files=files, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def found(client: httpx.AsyncClient, query: str, headers: dict[str, str]) -> tuple[httpx.Response, list[str]]:
    """What a model would be given as the passages of its user's documents, by the tool for that."""
    call = {"name": "search_documents", "arguments": {"query": query}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    accept = {"accept": "application/json, text/event-stream"}
    answer = await client.post("/mcp", json=body, headers=headers | accept)
    said = answer.json().get("result", {}).get("structuredContent", {}) if answer.status_code == 200 else {}
    return answer, [each["text"] for each in said.get("passages", [])]


async def until_searched(client: httpx.AsyncClient, file_id: str, headers: dict[str, str]) -> None:
    while (await client.get(f"/v1/files/{file_id}", headers=headers)).json()["status"] != "processed":
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", SHOWN)
async def test_it_is_in_its_workspace_and_nowhere_else(there: World, kind: str) -> None:
    mia = there.who["member"].client
    inside = await thing(there, kind, there.who["member"], "own elsewhere")
    outside = await thing(there, kind, there.who["member"], "own")
    url, other = SHOWN[kind].format(**inside), SHOWN[kind].format(**outside)
    assert (await mia.get(url, headers=WARD)).status_code == 200
    assert (await mia.get(other)).status_code == 200
    for wrong, headers in ((url, {}), (other, WARD)):
        assert (await mia.get(wrong, headers=headers)).status_code == 404
    if kind in LISTED:
        name = next(iter(inside))
        assert inside[name] in await listed(mia, kind, WARD) and inside[name] not in await listed(mia, kind, {})
        assert outside[name] in await listed(mia, kind, {}) and outside[name] not in await listed(mia, kind, WARD)
    for role in LETTERS.values():  # nor is it anybody else's in there: a workspace's things are no shared things
        if role != "member":
            for headers in (WARD, {}):
                assert (await there.who[role].client.get(url, headers=headers)).status_code == 404, role


async def test_cve_2026_45349_inside_a_workspace_nobody_continues_anothers_by_its_identifier(there: World) -> None:
    """Being in one workspace with them gives nothing; and not even its owner takes it out of there."""
    friend, eve = there.who["friend"], there.who["member"]
    response = (await thing(there, "response", friend, "own elsewhere"))["response_id"]
    conversation = await thing(there, "conversation", friend, "own elsewhere")
    ways: tuple[dict[str, Any], ...] = (
        {"previous_response_id": response},
        {"conversation": conversation["conversation_id"]},
        {"input": [{"type": "item_reference", "id": conversation["item_id"]}]},
    )
    asking: tuple[tuple[httpx.AsyncClient, dict[str, str]], ...] = ((eve.client, WARD), (eve.client, {}))
    for client, headers in (*asking, (friend.client, {})):
        for way in ways:
            asked = {"model": "none:1b", "input": "and?"} | way
            answer = await client.post("/v1/responses", json=asked, headers=headers)
            assert answer.status_code in (400, 404) and "not_found" in code_of(answer), answer.text
            assert code_of(answer) != "model_not_found"
        added = {"items": [{"type": "message", "role": "user", "content": "hi"}]}
        url = f"/v1/conversations/{conversation['conversation_id']}"
        assert (await client.post(f"{url}/items", json=added, headers=headers)).status_code == 404
        assert (await client.post(url, json={"metadata": {"a": "b"}}, headers=headers)).status_code == 404
        cancelled = await client.post(f"/v1/responses/{response}/cancel", headers=headers)
        assert (cancelled.status_code, code_of(cancelled)) == (404, "response_not_found")
    for way in ways:  # its owner in there comes as far as the model, of which this house has none
        answer = await friend.client.post(
            "/v1/responses", json={"model": "none:1b", "input": "and?"} | way, headers=WARD
        )
        assert code_of(answer) == "model_not_found", answer.text
    items = await friend.client.get(f"/v1/conversations/{conversation['conversation_id']}/items", headers=WARD)
    assert len(items.json()["data"]) == 1


async def test_cve_2026_45671_inside_a_workspace_nobody_deletes_anothers_file_by_way_of_it(there: World) -> None:
    """Sharing a workspace is the branch by which it could have been: no role in it, nor its owner from outside."""
    friend = there.who["friend"]
    file_id = (await thing(there, "file", friend, "own elsewhere"))["file_id"]
    batch_id = (await thing(there, "batch", friend, "own elsewhere"))["batch_id"]
    response_id = (await thing(there, "response", friend, "own elsewhere"))["response_id"]
    asking = [(there.who[role].client, headers) for role in LETTERS.values() for headers in (WARD, {})]
    for client, headers in [*asking, (friend.client, {})]:
        naming = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        assert code_of(await client.post("/v1/batches", json=naming, headers=headers)) == "file_not_found"
        deletions = (
            f"/v1/files/{file_id}",
            f"/v1/responses/{response_id}",
        )
        for url in deletions:
            assert (await client.delete(url, headers=headers)).status_code == 404
        assert (await client.get(f"/v1/files/{file_id}/content", headers=headers)).status_code == 404
        assert (await client.post(f"/v1/batches/{batch_id}/cancel", headers=headers)).status_code == 404
    assert (await friend.client.get(f"/v1/files/{file_id}/content", headers=WARD)).status_code == 200
    assert (await friend.client.get(f"/v1/batches/{batch_id}", headers=WARD)).json()["status"] != "cancelling"


async def test_what_was_sealed_in_a_workspace_is_opened_there_alone(there: World) -> None:
    """What a model thought, which a program keeps sealed and hands back: not to a model outside."""
    responses, place = there.house.services.responses, Place("workspace_1", "Ward", "phi")
    outside = Actor("person", "person_1", "mia", "member", frozenset(SCOPES), "session_1")
    inside, other = (outside.inside(each, "") for each in (place, replace(place, id="workspace_2")))
    sealed = responses.sealed(inside, "thoughts")
    assert responses.unsealed(inside, sealed) == "thoughts"
    for actor in (outside, other, replace(inside, person_id="person_2")):
        with pytest.raises(Misasked, match="bad_encrypted_content"):
            responses.unsealed(actor, sealed)


async def test_a_key_of_a_workspace_keeps_what_it_makes_there(there: World) -> None:
    mia = there.who["member"]
    _, secret = await there.act(
        there.house.access.keys.create, mia.person.id, "k", ["inference"], workspace_id=there.ids["shared"]
    )
    async with there.client(authorization=f"Bearer {secret}") as program:
        file_id = await document(program, "the key's own words", {})
        assert (await mia.client.get(f"/v1/files/{file_id}")).status_code == 404
        assert (await mia.client.get(f"/v1/files/{file_id}", headers=WARD)).status_code == 200
    stored = (await there.house.services.records.search(CONSOLE, Wanted(event="file.stored"), 1)).entries[0]
    assert stored.target == f"file:{file_id}"
    assert (stored.facts["workspace"], stored.facts["label"]) == (there.ids["shared"], "public")


async def batch_of(client: httpx.AsyncClient, headers: dict[str, str]) -> dict[str, Any]:
    """A batch of one request."""
    asked = {"model": "none:1b", "messages": [{"role": "user", "content": "hi"}]}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": asked}
    files = {"file": ("a.jsonl", json.dumps(line).encode()), "purpose": (None, "batch")}
    file_id = (await client.post("/v1/files", files=files, headers=headers)).json()["id"]
    body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    made: dict[str, Any] = (await client.post("/v1/batches", json=body, headers=headers)).json()
    return made


async def test_a_batch_is_worked_on_in_its_workspace_for_its_purpose_while_its_owner_is_a_member(there: World) -> None:
    mia, workspaces = there.who["member"], there.house.access.workspaces
    made = await there.act(workspaces.create, Charter("Clinic", "phi", {"clinic:8b"}, ["care"]))
    left = await there.act(workspaces.create, Charter("Left", "phi"))
    for each in (made, left):
        await there.act(workspaces.admit, each.place.id, mia.person.id)
    clinic = {"x-intramural-workspace": "Clinic"}
    batch = await batch_of(mia.client, clinic)
    lost = await batch_of(mia.client, {"x-intramural-workspace": "Left"})
    desk = there.house.services.batches
    row = await desk._shop.rows.find(batch["id"])
    assert row is not None and (row.workspace_id, row.purpose_there) == (made.place.id, "care")
    await there.act(workspaces.dismiss, left.place.id, mia.person.id)
    await desk.go_on()
    url = f"/v1/batches/{batch['id']}"
    while (over := (await mia.client.get(url, headers=clinic)).json())["status"] not in ("completed", "failed"):
        await asyncio.sleep(0.01)
    assert over["request_counts"] == {"total": 1, "completed": 0, "failed": 1}
    errors = await mia.client.get(f"/v1/files/{over['error_file_id']}/content", headers=clinic)
    assert "model_not_in_workspace" in errors.text  # and not `purpose_required`
    assert (await mia.client.get(f"/v1/files/{over['error_file_id']}/content")).status_code == 404
    while (ended := await desk._shop.rows.find(lost["id"])) is not None and ended.is_open:
        await asyncio.sleep(0.01)
    assert ended is not None and (ended.state, ended.skipped) == ("cancelled", 1)
    assert [each["code"] for each in ended.errors] == ["workspace_closed"]


async def test_r85_who_is_no_member_any_more_finds_nothing_in_the_next_answer(there: World) -> None:
    mia, workspaces = there.who["member"], there.house.access.workspaces
    made = await there.act(workspaces.create, Charter("Study", "confidential"))
    study = {"x-intramural-workspace": "Study"}
    await there.act(workspaces.admit, made.place.id, mia.person.id)
    _, secret = await there.act(
        there.house.access.keys.create, mia.person.id, "k", ["inference"], workspace_id=made.place.id
    )
    _, plain = await there.act(there.house.access.keys.create, mia.person.id, "p", ["inference"])
    async with (
        there.client(authorization=f"Bearer {secret}") as program,
        there.client(authorization=f"Bearer {plain}") as anywhere,
    ):
        file_id = await document(program, "The heron stands in the reeds.", {})
        own = await document(anywhere, "The heron is a bird.", {})
        await until_searched(program, file_id, {})
        await until_searched(anywhere, own, {})
        assert (await found(program, "heron", {}))[1] == ["The heron stands in the reeds."]
        assert (await found(anywhere, "heron", study))[1] == ["The heron stands in the reeds."]
        assert (await found(anywhere, "heron", {}))[1] == ["The heron is a bird."]
        await there.act(workspaces.dismiss, made.place.id, mia.person.id)
        refused, nothing = await found(program, "heron", {})
        assert (refused.status_code, nothing) == (401, [])
        refused, nothing = await found(anywhere, "heron", study)
        assert (code_of(refused), nothing) == ("workspace_not_found", [])
        assert (await found(anywhere, "heron", {}))[1] == ["The heron is a bird."]
        await there.act(workspaces.admit, made.place.id, there.ids["group"])  # back, by way of a group
        assert (await found(program, "heron", {}))[1] == ["The heron stands in the reeds."]
        # and what was deleted is out of the index
        assert (await program.delete(f"/v1/files/{file_id}")).status_code == 200
        assert (await found(program, "heron", {}))[1] == []
        async with there.db.reading() as connection:
            left = text("SELECT count(*) FROM file_words JOIN file_passages ON passage_id = id WHERE file_id = :id")
            assert await connection.scalar(left, {"id": file_id}) == 0


async def test_closing_a_workspace_closes_all_of_it(there: World) -> None:
    mia, admin = there.who["member"], there.who["administrator"]
    made = await there.act(there.house.access.workspaces.create, Charter("Trial", "phi"))
    await there.act(there.house.access.workspaces.admit, made.place.id, mia.person.id)
    _, secret = await there.act(
        there.house.access.keys.create, mia.person.id, "k", ["inference"], workspace_id=made.place.id
    )
    trial, url = {"x-intramural-workspace": "Trial"}, f"/intramural/v1/workspaces/{made.place.id}"
    chat = (await mia.client.post("/intramural/v1/chats", json={"model": "none:1b"}, headers=trial)).json()["id"]
    file_id = await document(mia.client, "x", trial)
    removing = await admin.client.delete(url)
    assert (removing.status_code, code_of(removing)) == (409, "workspace_not_empty")
    async with there.client(authorization=f"Bearer {secret}") as program:
        assert (await program.get("/v1/files")).status_code == 200
        closed = await admin.client.post(f"{url}/close")
        assert closed.json()["closed_ms"] > 0
        assert (await admin.client.post(f"{url}/close")).json() == closed.json()
        answer = await program.get("/v1/files")
        assert (answer.status_code, code_of(answer)) == (401, "workspace_closed")
        for path in (f"/v1/files/{file_id}", "/v1/models"):
            assert code_of(await mia.client.get(path, headers=trial)) == "workspace_not_found"
        for headers in (trial, {}):
            assert (await mia.client.get(f"/intramural/v1/chats/{chat}", headers=headers)).status_code == 404
        mine = (await mia.client.get("/intramural/v1/workspaces")).json()["workspaces"]
        assert made.place.id not in {each["id"] for each in mine}
        assert (await admin.client.post(f"{url}/open")).json()["closed_ms"] is None
        assert (await program.get(f"/v1/files/{file_id}")).status_code == 200
    events = [
        (await there.house.services.records.search(CONSOLE, Wanted(event=name), 1)).entries[0].target
        for name in ("workspace.closed", "workspace.opened")
    ]
    assert events == [f"workspace:{made.place.id}"] * 2


async def test_export_and_erasure_of_a_person_have_what_is_theirs_in_workspaces(there: World) -> None:
    rows = ("files", "batches", "responses", "transcripts")
    hashed = await there.house.access.people.hash_new("zoe", "a sentence nobody guesses")

    person = await there.act(there.house.access.people.create, "zoe", hashed, "member")
    token, session = await there.act(there.house.access.sessions.open, Proven(person, hashed.text), "")
    async with there.client(cookie=f"intramural_session={token}", **{"x-csrf-token": session.csrf_token}) as client:
        zoe = Someone(person, client)
        await there.act(there.house.access.workspaces.admit, there.ids["shared"], person.id)
        await client.get("/v1/models")
        for kind in SHOWN:
            await thing(there, kind, zoe, "own elsewhere")
        whole = ZipFile(io.BytesIO((await client.get("/intramural/v1/me/export")).content))
        shown = json.loads(whole.read("data.json"))["tables"]
        for table in rows:
            assert shown[table] and {row["workspace_id"] for row in shown[table]} == {there.ids["shared"]}, table
        assert {f"files/{row['id']}" for row in shown["files"]} <= set(whole.namelist())
        await there.house.services.personal.erase(CONSOLE, person.id)
    async with there.db.reading() as connection:
        for table in rows:
            left = text(f"SELECT count(*) FROM {table} WHERE person_id = :id")
            assert await connection.scalar(left, {"id": person.id}) == 0, table
