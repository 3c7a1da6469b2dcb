"""Breaking the glass in a whole house: who may, what is written down, what the owner is told, when it is over."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select, update
from tests import preloaded
from tests.house.matrix import World, thing, world

from intramural.access import Charter, Proven
from intramural.access.policy import ROLE_SCOPES
from intramural.app import console
from intramural.app import opened as house_of
from intramural.audit import Event, Wanted
from intramural.core.actor import Actor
from intramural.core.config import load
from intramural.core.errors import Conflicting
from intramural.http.identity import Console
from intramural.storage.schema import opening_notices, openings
from intramural.vault.places import OPENING_REASON

pytestmark = pytest.mark.asyncio(loop_scope="module")
REASON = "A canary reason: quetzalcoatl feathers in the staff room."
SAID = "what the stranger wrote about marzipan"
GLASS = "/intramural/v1/break-glass"
FULL = "CREATE TRIGGER full BEFORE INSERT ON audit_entries BEGIN SELECT RAISE(ABORT, 'full'); END"


async def settled(folder: Path, settings: str = "") -> Path:
    folder.mkdir(parents=True)
    (folder / "intramural.toml").write_text(settings)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def there(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = await settled(tmp_path_factory.mktemp("glass") / "data", "[break_glass]\nsecond_person = true\n")
    async with world(folder) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def alone(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Where no second person is asked for."""
    async with world(await settled(tmp_path_factory.mktemp("alone") / "data")) as made:
        yield made


async def a_chat(there: World, name: str, workspace_id: str | None = None) -> str:
    owner = there.who[name].person
    chat = await there.chats.create(owner.id, "none:1b", workspace_id=workspace_id)
    turn = await there.chats.append_turn(owner.id, chat.id, SAID)
    await there.chats.finish_message(owner.id, turn.assistant_message_id, "an answer", "finished")
    return chat.id


async def asked(there: World, who: str = "administrator", status: int = 201, **more: Any) -> dict[str, Any]:
    body = {"person": "stranger", "purpose": "legal", "reason": REASON} | more
    answer = await there.who[who].client.post(GLASS, json={k: v for k, v in body.items() if v is not None})
    assert answer.status_code == status, answer.text
    return dict(answer.json())


async def step(there: World, who: str, opening: dict[str, Any], what: str, status: int = 200) -> dict[str, Any]:
    answer = await there.who[who].client.post(f"{GLASS}/{opening['id']}/{what}")
    assert answer.status_code == status, answer.text
    return dict(answer.json())


async def opened(there: World, **more: Any) -> dict[str, Any]:
    opening = await asked(there, **more)
    if opening["state"] == "requested":
        await step(there, "auditor", opening, "approve")
    return await step(there, "administrator", opening, "open")


async def look(there: World, who: str, opening: dict[str, Any], path: str, **query: str) -> httpx.Response:
    return await there.who[who].client.get(f"{GLASS}/{opening['id']}/{path}", params=query)


async def entries(there: World, opening: dict[str, Any]) -> list[Any]:
    """What the log says of an opening, the oldest first."""
    found = await there.house.services.break_glass._audit.search(Wanted(text=opening["id"]), 1000)
    return found.entries[::-1]


def code(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["code"])


async def test_from_asking_to_the_end(there: World) -> None:
    chat_id = await a_chat(there, "stranger")
    opening = await asked(there)
    assert opening["state"] == "requested" and opening["second_person"]
    assert (await look(there, "administrator", opening, "chats")).status_code == 409  # not agreed to, not open
    assert code(await look(there, "administrator", opening, "chats")) == "opening_not_ready"
    refused = await there.who["administrator"].client.post(f"{GLASS}/{opening['id']}/approve")
    assert refused.status_code == 403 and code(refused) == "not_oneself"
    assert (await step(there, "administrator", opening, "open", 409))["error"]["code"] == "opening_not_ready"
    assert (await there.who["stranger"].client.get("/intramural/v1/me/openings")).json()["notices"] == []
    approved = await step(there, "auditor", opening, "approve")
    assert (approved["state"], approved["approver"]) == ("approved", "auditor")
    assert code(await look(there, "administrator", opening, "chats")) == "opening_not_ready"
    open_now = await step(there, "administrator", opening, "open")
    assert open_now["ends_ms"] - open_now["opened_ms"] == 60 * 60_000

    # the owner knows at once, before anything is read
    (notice,) = (await there.who["stranger"].client.get("/intramural/v1/me/openings")).json()["notices"]
    assert (notice["who"], notice["reason"], notice["reads"], notice["seen"]) == ("administrator", REASON, 0, False)
    assert notice["ends_ms"] == open_now["ends_ms"] and notice["closed_ms"] is None

    listed = (await look(there, "administrator", opening, "chats")).json()["chats"]
    assert chat_id in {each["id"] for each in listed}
    whole = (await look(there, "administrator", opening, f"chats/{chat_id}")).json()
    assert whole["messages"][0]["content"] == SAID
    for path in ("chats", f"chats/{chat_id}", "files", "owners"):  # the auditor agreed, and does not look
        assert (await look(there, "auditor", opening, path)).status_code == 403
    closed = await step(there, "administrator", opening, "close")
    assert (closed["state"], closed["why"]) == ("closed", "asker")
    for path in ("chats", f"chats/{chat_id}", "files", "owners"):
        assert code(await look(there, "administrator", opening, path)) == "opening_over"
    (notice,) = (await there.who["stranger"].client.get("/intramural/v1/me/openings")).json()["notices"]
    assert notice["reads"] == 2 and notice["closed_ms"]

    seen = f"/intramural/v1/me/openings/{opening['id']}/seen"
    assert (await there.who["stranger"].client.post(seen)).status_code == 204
    assert (await there.who["stranger"].client.post(seen)).status_code == 204
    assert (await there.who["friend"].client.post(seen)).status_code == 404
    written = [entry.event for entry in await entries(there, opening) if entry.event.startswith("breakglass")]
    assert written == [
        Event.BREAKGLASS_ASKED, Event.BREAKGLASS_APPROVED, Event.BREAKGLASS_OPENED, Event.BREAKGLASS_TOLD,
        Event.BREAKGLASS_READ, Event.BREAKGLASS_READ, Event.BREAKGLASS_CLOSED, Event.BREAKGLASS_SEEN,
    ]  # fmt: skip
    reads = [entry for entry in await entries(there, opening) if entry.event == Event.BREAKGLASS_READ]
    stranger = there.who["stranger"].person.id
    assert [each.target for each in reads] == [f"person:{stranger}", f"chat:{chat_id}"]
    assert all(each.facts["owner"] == stranger and each.facts["opening"] == opening["id"] for each in reads)
    assert all(each.actor_id == there.who["administrator"].person.id for each in reads)


async def test_it_is_narrow(there: World) -> None:
    theirs, others = await a_chat(there, "stranger"), await a_chat(there, "friend")
    opening = await opened(there)
    assert (await look(there, "administrator", opening, f"chats/{theirs}")).status_code == 200
    friend = there.who["friend"].person.id
    for query in ({}, {"owner": friend}):
        assert (await look(there, "administrator", opening, f"chats/{others}", **query)).status_code in (403, 404)
    for path in ("chats", "files"):
        answer = await look(there, "administrator", opening, path, owner=friend)
        assert (answer.status_code, code(answer)) == (403, "not_yours")
    # and nothing can be changed, asked or taken along by way of it
    client = there.who["administrator"].client
    for method, path in (("PATCH", "/chats/{}"), ("DELETE", "/chats/{}"), ("POST", "/chats/{}/turns")):
        body = {"title": "x"} if method == "PATCH" else {"content": "x"}
        answer = await client.request(method, "/intramural/v1" + path.format(theirs), json=body)
        assert answer.status_code == 404, (method, answer.text)
    assert (await client.get(f"/intramural/v1/chats/{theirs}")).status_code == 404
    # nor by another administrator's session, nor by a key of the one who opened it
    made = await client.post("/intramural/v1/keys", json={"name": "k", "scopes": ["chats", "inference", "admin"]})
    async with there.client(authorization=f"Bearer {made.json()['secret']}") as program:
        answer = await program.get(f"{GLASS}/{opening['id']}/chats")
        assert (answer.status_code, code(answer)) == (403, "session_required")
    assert not [each for each in await entries(there, opening) if each.facts.get("owner") == friend]


async def test_files_are_read_through_it(there: World) -> None:
    files = {"file": ("marzipan.txt", SAID.encode()), "purpose": (None, "user_data")}
    stored = await there.who["stranger"].client.post("/v1/files", files=files)
    file_id = stored.json()["id"]
    opening = await opened(there)
    listed = (await look(there, "administrator", opening, "files")).json()["files"]
    assert {"id": file_id, "name": "marzipan.txt"}.items() <= next(e for e in listed if e["id"] == file_id).items()
    content = await look(there, "administrator", opening, f"files/{file_id}/content")
    assert content.content == SAID.encode() and content.headers["cache-control"] == "no-store"
    assert (await look(there, "administrator", opening, "files/file_none/content")).status_code == 404
    targets = [each.target for each in await entries(there, opening) if each.event == Event.BREAKGLASS_READ]
    assert targets[-1] == f"file:{file_id}"


async def test_files_of_a_workspace_are_read_through_an_opening_of_it_and_of_their_owner(there: World) -> None:
    owner = there.who["manager"]
    workspaces = there.house.access.workspaces
    made = await there.act(workspaces.create, Charter("Archive", "confidential"))
    await there.act(workspaces.admit, made.place.id, owner.person.id)
    ids = {}
    for place in ("Archive", ""):
        files = {"file": (f"in-{place or 'none'}.txt", SAID.encode()), "purpose": (None, "user_data")}
        headers = {"x-intramural-workspace": place} if place else {}
        ids[place] = (await owner.client.post("/v1/files", files=files, headers=headers)).json()["id"]
    of_place, of_both = await opened(there, person=None, workspace="Archive"), await opened(there, person="manager")
    owners = (await look(there, "administrator", of_place, "owners")).json()["owners"]
    assert [each["id"] for each in owners] == [owner.person.id]
    for opening, seen in ((of_place, {ids["Archive"]}), (of_both, set(ids.values()))):
        listed = (await look(there, "administrator", opening, "files", owner=owner.person.id)).json()["files"]
        assert {each["id"] for each in listed} & set(ids.values()) == seen
        for file_id in ids.values():
            path = f"files/{file_id}/content"
            answer = await look(there, "administrator", opening, path, owner=owner.person.id)
            assert answer.status_code == (200 if file_id in seen else 404)


async def test_a_workspace_shows_what_is_in_it_and_tells_everybody_who_has_something_there(there: World) -> None:
    inside = await a_chat(there, "insider", there.ids["shut"])
    outside = await a_chat(there, "insider")
    opening = await opened(there, person=None, workspace="Shut")
    insider = there.who["insider"].person.id
    assert opening["person"] is None and opening["workspace"] == "Shut"
    assert (await look(there, "administrator", opening, "owners")).json()["owners"] == [
        {"id": insider, "username": "insider"}
    ]
    assert code(await look(there, "administrator", opening, "chats")) == "owner_needed"
    shown = (await look(there, "administrator", opening, "chats", owner=insider)).json()["chats"]
    assert {each["id"] for each in shown} == {inside}
    assert (await look(there, "administrator", opening, f"chats/{inside}", owner=insider)).status_code == 200
    assert (await look(there, "administrator", opening, f"chats/{outside}", owner=insider)).status_code == 404
    (notice,) = (await there.who["insider"].client.get("/intramural/v1/me/openings")).json()["notices"]
    assert notice["opening_id"] == opening["id"] and notice["reads"] == 2
    # who comes to have something there afterwards is told when it is read
    later = await a_chat(there, "friend", there.ids["shut"])
    friend = there.who["friend"]
    assert (await friend.client.get("/intramural/v1/me/openings")).json()["notices"] == []
    assert (await look(there, "administrator", opening, f"chats/{later}", owner=friend.person.id)).status_code == 200
    (notice,) = (await friend.client.get("/intramural/v1/me/openings")).json()["notices"]
    assert notice["reads"] == 1


async def test_a_person_in_a_workspace_is_both(there: World) -> None:
    inside, outside = await a_chat(there, "insider", there.ids["shut"]), await a_chat(there, "insider")
    opening = await opened(there, person="insider", workspace="Shut")
    assert (await look(there, "administrator", opening, f"chats/{inside}")).status_code == 200
    assert (await look(there, "administrator", opening, f"chats/{outside}")).status_code == 404


async def test_what_cannot_be_asked_for(there: World) -> None:
    for more, said, status in (
        ({"person": "administrator"}, "bad_opening", 400),
        ({"person": None}, "bad_opening", 400),
        ({"person": "nobody-here"}, "person_not_found", 404),
        ({"workspace": "Nowhere"}, "workspace_not_found", 404),
        ({"purpose": "curiosity"}, "bad_purpose", 400),
        ({"reason": "because"}, "bad_reason", 400),
        ({"reason": "turned \u202e round and round"}, "bad_reason", 400),
        ({"minutes": 241}, "bad_minutes", 400),
    ):
        assert (await asked(there, status=status, **more))["error"]["code"] == said, more
    for role in ("auditor", "manager", "member", "service"):
        assert (await asked(there, role, status=403))["error"]["code"] in ("role_missing", "session_required")


async def test_no_and_a_second_thought(there: World) -> None:
    opening = await asked(there)
    assert (await step(there, "auditor", opening, "refuse"))["state"] == "refused"
    for what in ("approve", "open", "close"):
        who = "auditor" if what == "approve" else "administrator"
        assert (await step(there, who, opening, what, 409))["error"]["code"] == "opening_over"
    opening = await asked(there)
    await step(there, "auditor", opening, "approve")
    assert (await step(there, "auditor", opening, "refuse"))["state"] == "refused"  # taken back
    opening = await opened(there)
    assert (await step(there, "auditor", opening, "close"))["why"] == "other"


async def until(there: World, opening: dict[str, Any], state: str) -> dict[str, Any]:
    while True:
        found = (await there.who["auditor"].client.get(f"{GLASS}/{opening['id']}")).json()
        if found["state"] == state:
            return dict(found)
        await asyncio.sleep(0.02)


async def past(there: World, opening: dict[str, Any]) -> None:
    """Its time has passed, as a clock would say."""
    async with there.db.writing() as connection:
        await connection.execute(update(openings).where(openings.c.id == opening["id"]).values(ends_ms=1))


async def test_time_ends_it_at_once_and_is_written_down(there: World) -> None:
    waiting, agreed = await asked(there), await asked(there)
    await step(there, "auditor", agreed, "approve")
    opening = await opened(there)
    for each in (opening, waiting, agreed):
        await past(there, each)
    # whether anybody has noticed yet or not
    assert code(await look(there, "administrator", opening, "chats")) == "opening_over"
    assert (await step(there, "auditor", waiting, "approve", 409))["error"]["code"] == "opening_over"
    assert (await step(there, "administrator", agreed, "open", 409))["error"]["code"] == "opening_over"
    assert (await until(there, opening, "closed"))["why"] == "time"
    for each in (waiting, agreed):
        await until(there, each, "expired")
        assert (await entries(there, each))[-1].event == Event.BREAKGLASS_EXPIRED
    last = (await entries(there, opening))[-1]
    assert (last.event, last.facts["why"], last.actor_kind) == (Event.BREAKGLASS_CLOSED, "time", "system")


async def test_who_is_barred_or_may_no_more_has_nothing_open(there: World) -> None:
    access = there.house.access
    hashed = await access.people.hash_new("second", "a sentence nobody guesses")
    for name, change in (("second", {"disabled": True}), ("third", {"role": "member"})):
        person = await there.act(access.people.create, name, hashed, "administrator")
        token, session = await there.act(access.sessions.open, Proven(person, hashed.text), "")
        client = there.client(cookie=f"intramural_session={token}", **{"x-csrf-token": session.csrf_token})
        body = {"person": "stranger", "purpose": "legal", "reason": REASON}
        opening = (await client.post(GLASS, json=body)).json()
        await step(there, "auditor", opening, "approve")
        assert (await client.post(f"{GLASS}/{opening['id']}/open")).status_code == 200
        assert (await client.get(f"{GLASS}/{opening['id']}/chats")).status_code == 200
        changed = await there.who["administrator"].client.patch(f"/intramural/v1/people/{person.id}", json=change)
        assert changed.status_code == 200
        assert (await client.get(f"{GLASS}/{opening['id']}/chats")).status_code in (401, 403)
        assert (await until(there, opening, "closed"))["why"] == "bar"
        await client.aclose()


async def test_what_is_closed_between_the_question_and_the_answer_is_not_read(there: World) -> None:
    chat_id = await a_chat(there, "stranger")
    opening = await opened(there)
    owner = there.who["stranger"].person.id
    looking = await there.house.services.break_glass.looking(_actor(there, "administrator"), opening["id"])
    await step(there, "administrator", opening, "close")
    for call in (
        there.house.services.shown.chat(looking, owner, chat_id),
        there.house.services.shown.chats(looking, owner, limit=10, before_ms=None),
        there.house.services.shown.files(looking, owner),
    ):
        with pytest.raises(Conflicting) as caught:
            await call
        assert caught.value.code == "opening_over"
    async with there.db.reading() as connection:
        mine = (opening_notices.c.opening_id == opening["id"]) & (opening_notices.c.person_id == owner)
        assert await connection.scalar(select(opening_notices.c.reads).where(mine)) == 0


def _actor(there: World, name: str) -> Actor:
    person = there.who[name].person
    scopes = ROLE_SCOPES[person.role]  # type: ignore[index]
    return Actor("person", person.id, person.username, person.role, scopes, "session_1")


async def test_the_console_needs_a_second_person_always_and_agrees_to_nothing(alone: World) -> None:
    chat_id = await a_chat(alone, "stranger")
    transport = httpx.ASGITransport(Console(alone.house.application), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as machine:
        body = {"person": "stranger", "purpose": "emergency", "reason": REASON}
        opening = (await machine.post(GLASS, json=body)).json()
        assert opening["state"] == "requested" and opening["asker"] == "console"
        answer = await machine.post(f"{GLASS}/{opening['id']}/approve")
        assert (answer.status_code, code(answer)) == (403, "person_required")
        await step(alone, "administrator", opening, "approve")
        assert (await machine.post(f"{GLASS}/{opening['id']}/open")).status_code == 200
        shown = await machine.get(f"{GLASS}/{opening['id']}/chats/{chat_id}")
        assert shown.json()["messages"][0]["content"] == SAID
        # what is somebody else's opening is not the console's to look through, but to end
        another = await opened(alone)
        assert (await machine.get(f"{GLASS}/{another['id']}/chats")).status_code in (403, 404)
        assert (await machine.post(f"{GLASS}/{another['id']}/close")).json()["why"] == "other"
    notices = (await alone.who["stranger"].client.get("/intramural/v1/me/openings")).json()["notices"]
    assert "console" in {each["who"] for each in notices}


async def commanded(there: World, *words: str, typed: str = "") -> Any:
    """What the command line prints, as JSON, when it asks this house through its socket."""
    settings = {"INTRAMURAL_DATA_DIR": str(there.house.config.data_dir)}
    asked = ["break-glass", *words, "--json"]
    done = await asyncio.to_thread(preloaded.run, asked, {**os.environ, **settings}, typed)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_by_the_command_line(alone: World) -> None:
    chat_id = await a_chat(alone, "stranger")
    async with console(alone.house):
        opening = await commanded(alone, "ask", "legal", "--user", "stranger", typed=REASON)
        assert (opening["asker"], opening["reason"], opening["state"]) == ("console", REASON, "requested")
        await step(alone, "administrator", opening, "approve")
        assert (await commanded(alone, "open", opening["id"]))["state"] == "open"
        whole = await commanded(alone, "chat", opening["id"], chat_id)
        assert whole["messages"][0]["content"] == SAID
        made = {}
        for kind in ("response", "conversation", "message batch", "file"):
            made |= await thing(alone, kind, alone.who["stranger"], "")
        for what, name in (
            ("response", made["response_id"]), ("conversation", made["conversation_id"]), ("file", made["file_id"]),
        ):  # fmt: skip
            listed = await commanded(alone, f"{what}s", opening["id"])
            assert name in {each["id"] for each in listed}
            assert await commanded(alone, what, opening["id"], name)
        batches = await commanded(alone, "batches", opening["id"])
        assert made["batch_id"] in {each["id"] for each in batches}
        asked_of = await commanded(alone, "batch", opening["id"], made["batch_id"], "--what", "input")
        assert "hi" in json.dumps(asked_of)
        assert (await commanded(alone, "close", opening["id"]))["why"] == "asker"


async def test_without_a_second_person_it_is_opened_by_who_asked(alone: World) -> None:
    opening = await asked(alone, minutes=5)
    assert opening["state"] == "approved" and not opening["second_person"] and opening["approver"] is None
    now = await step(alone, "administrator", opening, "open")
    assert now["ends_ms"] - now["opened_ms"] == 5 * 60_000


async def test_ferpas_report_names_who_read_and_why(alone: World) -> None:
    chat_id = await a_chat(alone, "stranger")
    opening = await opened(alone, purpose="safeguarding")
    await look(alone, "administrator", opening, f"chats/{chat_id}")
    student = alone.who["stranger"].person.id
    report = (await alone.who["stranger"].client.get(f"/intramural/v1/reports/ferpa-99.32/{student}")).json()
    found = [each for each in report["disclosures"] if each["event"] == Event.BREAKGLASS_READ]
    assert found[-1]["interest"] == "safeguarding" and found[-1]["username"] == "administrator"


async def test_a_reason_lies_nowhere_in_clear_and_goes_with_whom_it_is_about(alone: World) -> None:
    hashed = await alone.house.access.people.hash_new("gone", "a sentence nobody guesses")
    person = await alone.act(alone.house.access.people.create, "gone", hashed, "member")
    await alone.house.services.break_glass._vault.prepare(person.id)
    opening = await opened(alone, person="gone")
    _nothing_in_clear(alone, REASON)
    async with alone.db.reading() as connection:
        sealed = await connection.scalar(select(openings.c.reason).where(openings.c.id == opening["id"]))
    asker = alone.who["administrator"].person.id
    vault = alone.house.services.break_glass._vault
    assert vault.reveal(asker, OPENING_REASON.place, opening["id"], sealed).decode() == REASON
    (entry,) = [each for each in await entries(alone, opening) if each.event == Event.BREAKGLASS_ASKED]
    assert set(entry.texts) == {"reason", "nonce", "key"} and entry.texts["reason"]["bytes"] == len(REASON)
    assert REASON not in json.dumps(dict(entry.facts))

    erased = await alone.who["administrator"].client.delete(f"/intramural/v1/people/{person.id}")
    assert erased.status_code == 200, erased.text
    assert (await alone.who["administrator"].client.get(f"{GLASS}/{opening['id']}")).status_code == 404
    async with alone.db.reading() as connection:
        for table, column in ((openings, openings.c.id), (opening_notices, opening_notices.c.opening_id)):
            assert await connection.scalar(select(column).select_from(table).where(column == opening["id"])) is None


def _nothing_in_clear(there: World, text: str) -> None:
    wanted: list[Callable[[str], bytes]] = [str.encode, lambda each: each.encode("utf-16-le")]
    for file in there.house.config.data_dir.rglob("*"):
        if file.is_file() and not file.is_symlink():
            data = file.read_bytes()
            for each in ("quetzalcoatl", "marzipan", text):
                assert not any(form(each) in data for form in wanted), file


async def nothing_unwritten(there: World, opening: dict[str, Any]) -> None:
    """A log that takes no more: nothing is read, nothing opened, and nobody is told that it was."""
    chat_id = await a_chat(there, "stranger")
    waiting = await asked(there)
    stranger = there.who["stranger"]
    response, conversation = (
        await thing(there, "response", stranger, ""),
        await thing(there, "conversation", stranger, ""),
    )
    batch = await thing(there, "message batch", stranger, "")
    async with there.db.writing() as connection:
        await connection.exec_driver_sql(FULL)
    for path in (
        "chats", f"chats/{chat_id}", "files", "responses", f"responses/{response['response_id']}", "conversations",
        f"conversations/{conversation['conversation_id']}", "batches", f"batches/{batch['batch_id']}/input",
        f"batches/{batch['batch_id']}/results",
    ):  # fmt: skip
        answer = await look(there, "administrator", opening, path)
        assert (answer.status_code, code(answer)) == (503, "audit_unavailable")
        assert SAID not in answer.text
    assert (await step(there, "administrator", waiting, "open", 503))["error"]["code"] == "audit_unavailable"
    async with there.db.writing() as connection:
        await connection.exec_driver_sql("DROP TRIGGER full")
    assert (await there.who["administrator"].client.get(f"{GLASS}/{waiting['id']}")).json()["state"] == "approved"
    notices = (await there.who["stranger"].client.get("/intramural/v1/me/openings")).json()["notices"]
    assert all(each["reads"] == 0 for each in notices) and len(notices) == 2


@pytest.mark.sqlite(reason="a trigger stands for a log that is full")
async def test_what_was_opened_when_the_house_was_left_is_over_when_its_time_passed_meanwhile(tmp_path: Path) -> None:
    folder = await settled(tmp_path / "data")
    async with world(folder) as made:
        one, other = await opened(made), await opened(made)
        await past(made, one)
        await nothing_unwritten(made, other)
    async with house_of(load({}, data_dir=folder)) as house:
        rows = {each.id: each for each in await house.services.break_glass._openings.list()}
        assert (rows[one["id"]].state, rows[one["id"]].why) == ("closed", "time")
        assert rows[other["id"]].state == "open"
