"""Under a legal hold nothing of somebody's is deleted or changed, whichever door is tried; and nobody is erased."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests import databases
from tests.house.matrix import World, thing, world
from tests.house.test_matrix import rows

from intramural.app import opened
from intramural.audit import AuditLog, Event
from intramural.core.clock import SystemClock
from intramural.core.config import AuditConfig, load
from intramural.core.errors import Misasked

#: What people keep here.
KEPT = {"chat", "file", "batch", "message batch", "response", "conversation"}
DELETES = sorted((route, kind) for route, (kind, _) in rows().items() if route.startswith("DELETE") and kind in KEPT)
#: They are over what was kept, and leave the thing itself.
CHANGES: list[tuple[str, str, dict[str, Any]]] = [
    ("PATCH /intramural/v1/chats/{chat_id}", "chat", {"title": "x"}),
    ("POST /intramural/v1/chats/{chat_id}/turns", "chat", {"content": "x", "replace_from": "message_x"}),
    ("POST /v1/conversations/{conversation_id}", "conversation", {"metadata": {"a": "b"}}),
]
PAGE = "/intramural/v1"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def there(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("held") / "data") as made:
        yield made


async def asked(client: httpx.AsyncClient, route: str, ids: dict[str, str], body: Any = None) -> httpx.Response:
    method, path = route.split()
    headers = {"anthropic-version": "2023-06-01"} if "messages" in path else {}
    return await client.request(method, path.format(**ids), json=body, headers=headers)


def code_of(answer: httpx.Response) -> str:
    error = answer.json()["error"]
    return str(error.get("code") or error["message"])


async def test_what_is_no_hold_is_not_lifted(there: World) -> None:
    for name in ("hold_none", "A\U000c6038"):
        answer = await there.who["auditor"].client.post(
            f"{PAGE}/legal-holds/{name}/lift", json={"reason": "it is over"}
        )
        assert (answer.status_code, code_of(answer)) == (404, "hold_not_found")


async def test_nothing_that_is_held_is_deleted_by_its_owner(there: World) -> None:
    member, auditor = there.who["member"], there.who["auditor"]
    things = {kind: await thing(there, kind, member, "own") for kind in KEPT}
    body = {"subject": "person", "subject_id": member.person.id, "reason": "Smith v. District"}
    put = await auditor.client.post(f"{PAGE}/legal-holds", json=body)
    assert put.status_code == 201, put.text
    hold_id = put.json()["id"]
    assert len(DELETES) >= 6
    for route, kind in DELETES:
        answer = await asked(member.client, route, things[kind])
        assert answer.status_code == 403 and hold_id in answer.text, (route, answer.text)
    for route, kind, given in CHANGES:
        answer = await asked(member.client, route, things[kind], given)
        assert (answer.status_code, code_of(answer)) == (403, "legal_hold"), (route, answer.text)
    renamed = await asked(member.client, "PATCH /intramural/v1/chats/{chat_id}", things["chat"], {"model": "other:1b"})
    assert renamed.status_code == 200  # one may go on working
    refused = (await auditor.client.get(f"{PAGE}/audit", params={"event": "access.refused"})).json()["entries"]
    rules = [each["facts"]["rule"] for each in refused if each["actor"]["id"] == member.person.id]
    assert rules == ["legal_hold"] * (len(DELETES) + len(CHANGES))

    administrator = there.who["administrator"]
    erased = await administrator.client.delete(f"{PAGE}/people/{member.person.id}")
    assert (erased.status_code, code_of(erased)) == (403, "legal_hold") and hold_id in erased.text
    assert not (there.house.config.data_dir / "secrets" / "erased.jsonl").exists()
    assert (await member.client.get("/v1/files")).json()["data"]  # all of it is there

    lifted = await auditor.client.post(f"{PAGE}/legal-holds/{hold_id}/lift", json={"reason": "settled"})
    assert lifted.status_code == 200
    for route, kind in DELETES:
        if "batches" not in route and "items" not in route:  # those are still open
            answer = await asked(member.client, route, things[kind])
            assert answer.status_code in (200, 204), (route, answer.text)


async def test_a_hold_on_a_workspace_is_on_who_has_something_there(there: World) -> None:
    insider, administrator = there.who["insider"], there.who["administrator"]
    inside = await thing(there, "chat", insider, "other workspace")
    outside = await thing(there, "chat", insider, "own")
    body = {"subject": "workspace", "subject_id": there.ids["shut"], "reason": "an inquiry"}
    hold = (await administrator.client.post(f"{PAGE}/legal-holds", json=body)).json()
    route = "DELETE /intramural/v1/chats/{chat_id}"
    assert code_of(await asked(insider.client, route, inside)) == "legal_hold"
    assert (await asked(insider.client, route, outside)).status_code == 204
    assert code_of(await administrator.client.delete(f"{PAGE}/people/{insider.person.id}")) == "legal_hold"
    listed = (await administrator.client.get(f"{PAGE}/legal-holds")).json()["holds"]
    assert (listed[0]["id"], listed[0]["reason"], listed[0]["lifted_ms"]) == (hold["id"], "an inquiry", None)
    await administrator.client.post(f"{PAGE}/legal-holds/{hold['id']}/lift", json={"reason": "over"})
    assert (await administrator.client.delete(f"{PAGE}/people/{insider.person.id}")).status_code == 200


async def test_a_manager_and_a_member_know_nothing_of_holds(there: World) -> None:
    for role in ("manager", "member", "service"):
        answer = await there.who[role].client.get(f"{PAGE}/legal-holds")
        assert answer.status_code == 403


async def test_the_page_shows_what_goes_when(there: World) -> None:
    found = (await there.who["auditor"].client.get(f"{PAGE}/retention")).json()
    assert found["nothing_kept"] == ["audio"]
    assert {each["data_class"] for each in found["kept"]} == {"chat", "file", "embedding", "log"}
    chats = next(each for each in found["kept"] if each["what"] == "chats" and each["workspace"] == "Shut")
    assert chats["days"] is None and chats["due"] == 0
    begun = await there.who["administrator"].client.post(f"{PAGE}/retention/run", json={})
    assert begun.status_code == 202


async def test_a_workspace_below_the_floor_is_refused_and_that_is_recorded(there: World) -> None:
    administrator, auditor = there.who["administrator"].client, there.who["auditor"].client
    body = {"name": "Below", "label": "phi", "retention_days": {"log": 400}}
    answer = await administrator.post(f"{PAGE}/workspaces", json=body)
    assert (answer.status_code, code_of(answer)) == (400, "retention_below_floor") and "HIPAA" in answer.text
    (entry,) = (await auditor.get(f"{PAGE}/audit", params={"event": "retention.refused"})).json()["entries"]
    assert entry["facts"] == {
        "class": "log",
        "days": 400,
        "least_days": 2192,
        "rule": "HIPAA, 45 CFR 164.316(b)(2)(i): six years",
    }


async def test_a_house_that_would_delete_the_log_too_early_does_not_open(tmp_path: Path) -> None:
    file = tmp_path / "data" / "intramural.db"
    settings = {"INTRAMURAL_RETENTION_LOG_DAYS": "30", "INTRAMURAL_GUARD_LABEL": "phi", **databases.settings(file)}
    early = load(settings, data_dir=tmp_path / "data")
    with pytest.raises(Misasked, match="HIPAA") as caught:
        async with opened(early):
            pass
    assert caught.value.code == "retention_below_floor" and "retention.log_days" in caught.value.message
    db = await databases.opened(file)
    audit = await AuditLog.open(db, tmp_path / "data" / "secrets", AuditConfig(), SystemClock())
    (told,) = await audit.entries(event=Event.RETENTION_REFUSED)
    assert told.facts["days"] == 30 and (await audit.verify()).ok
    await audit.close()
    await db.close()
