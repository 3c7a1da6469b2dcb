"""What people's programs keep, read through an opening: of whom it is, where it is, and told before it is shown."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.house.matrix import Someone, World, thing, world
from tests.services.test_break_glass import asked, code, entries, look, opened, settled, step

from intramural.audit import Event

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Shown to no administrator, whatever their opening is of.
RULE = """
[[rule]]
name = "not_what_programs_keep"
when = { action = ["responses.read", "batches.read"], label = ["phi"], purpose = ["investigation"] }
reason = "What programs keep of patients is opened by order alone."
hint = "Ask the ethics board."
match = [{ action = "responses.read", label = "phi", purpose = "investigation" }]
no_match = [{ action = "responses.read", label = "phi", purpose = "legal" }]
"""
KINDS = ("response", "conversation", "batch", "message batch")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def there(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = await settled(tmp_path_factory.mktemp("shown") / "data")
    (folder / "policy.toml").write_text(RULE)
    async with world(folder) as made:
        yield made


def name_of(ids: dict[str, str]) -> str:
    return next(ids[key] for key in ("response_id", "conversation_id", "batch_id") if key in ids)


def plural(kind: str) -> str:
    return {"response": "responses", "conversation": "conversations"}.get(kind, "batches")


def paths(kind: str, name: str) -> tuple[str, ...]:
    """Where something of this kind is shown as a whole."""
    whole = f"{plural(kind)}/{name}"
    return (f"{whole}/input", f"{whole}/results") if "batch" in kind else (whole,)


async def listed(there: World, opening: dict[str, Any], kind: str, **query: str) -> list[str]:
    answer = await look(there, "administrator", opening, plural(kind), **query)
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()[plural(kind)]]


async def notice(owner: Someone, opening: dict[str, Any]) -> dict[str, Any]:
    found = (await owner.client.get("/intramural/v1/me/openings")).json()["notices"]
    return next(dict(each) for each in found if each["opening_id"] == opening["id"])


@pytest.mark.parametrize("kind", KINDS)
async def test_it_is_listed_and_read_and_each_look_is_written_down_and_told(there: World, kind: str) -> None:
    owner = there.who["stranger"]
    name = name_of(await thing(there, kind, owner, ""))
    opening = await opened(there)
    assert name in await listed(there, opening, kind)
    for path in paths(kind, name):
        answer = await look(there, "administrator", opening, path)
        assert answer.status_code == 200, answer.text
    reads = [each for each in await entries(there, opening) if each.event == Event.BREAKGLASS_READ]
    what = "batch" if "batch" in kind else kind
    told = [f"{what}:{name}"] * len(paths(kind, name))
    assert [each.target for each in reads] == [f"person:{owner.person.id}", *told]
    assert all(each.facts["owner"] == owner.person.id for each in reads)
    assert (await notice(owner, opening))["reads"] == 1 + len(told)
    # what is not there is not told of either
    assert (await look(there, "administrator", opening, paths(kind, f"{name[:-1]}-")[0])).status_code == 404
    assert (await notice(owner, opening))["reads"] == 1 + len(told)


async def test_what_was_said_is_shown_whole(there: World) -> None:
    owner = there.who["stranger"]
    opening = await opened(there)
    name = name_of(await thing(there, "response", owner, ""))
    whole = (await look(there, "administrator", opening, f"responses/{name}")).json()
    assert whole["input"][0]["content"][0]["text"] == "hi" and whole["response"]["model"] == "none:1b"
    name = name_of(await thing(there, "conversation", owner, ""))
    whole = (await look(there, "administrator", opening, f"conversations/{name}")).json()
    assert whole["items"][0]["role"] == "user" and "hi" in json.dumps(whole["items"])


@pytest.mark.parametrize("kind", KINDS)
async def test_it_is_narrow(there: World, kind: str) -> None:
    friend, insider = there.who["friend"], there.who["insider"]
    others = name_of(await thing(there, kind, friend, ""))
    opening = await opened(there)
    for query in ({}, {"owner": friend.person.id}):
        for path in paths(kind, others):
            assert (await look(there, "administrator", opening, path, **query)).status_code == 404
    answer = await look(there, "administrator", opening, plural(kind), owner=friend.person.id)
    assert (answer.status_code, code(answer)) == (403, "not_yours")
    # of a workspace: what is in it, of whoever has something there, and nothing else of theirs
    inside, outside = [name_of(await thing(there, kind, insider, each)) for each in ("other workspace", "")]
    of_place = await opened(there, person=None, workspace="Shut")
    owners = (await look(there, "administrator", of_place, "owners")).json()["owners"]
    assert insider.person.id in {each["id"] for each in owners}
    seen = await listed(there, of_place, kind, owner=insider.person.id)
    assert inside in seen and outside not in seen
    for name, status in ((inside, 200), (outside, 404)):
        for path in paths(kind, name):
            answer = await look(there, "administrator", of_place, path, owner=insider.person.id)
            assert answer.status_code == status, (name, answer.text)
    # and nothing of it is reached in any other way, nor changed
    url = {"response": f"/v1/responses/{inside}", "conversation": f"/v1/conversations/{inside}"}.get(kind)
    if url is not None:
        for headers in ({}, {"x-intramural-workspace": "Shut"}):
            for method in ("GET", "DELETE"):
                answer = await there.who["administrator"].client.request(method, url, headers=headers)
                assert answer.status_code == 404


async def test_the_institutions_rules_count_where_it_is(there: World) -> None:
    insider = there.who["insider"]
    name = name_of(await thing(there, "response", insider, "other workspace"))
    outside = name_of(await thing(there, "response", insider, ""))
    ordered, curious = [await opened(there, person="insider", purpose=each) for each in ("legal", "investigation")]
    assert {name, outside} <= set(await listed(there, ordered, "response"))
    seen = await listed(there, curious, "response")
    assert outside in seen and name not in seen
    answer = await look(there, "administrator", curious, f"responses/{name}")
    assert (answer.status_code, code(answer)) == (403, "rule_not_what_programs_keep")
    assert (await look(there, "administrator", ordered, f"responses/{name}")).status_code == 200


async def test_nothing_before_it_is_opened_nor_afterwards_nor_for_anybody_else(there: World) -> None:
    name = name_of(await thing(there, "response", there.who["stranger"], ""))
    opening = await asked(there)
    for path in ("responses", f"responses/{name}", "conversations", "batches"):
        assert code(await look(there, "administrator", opening, path)) == "opening_not_ready"
    await step(there, "administrator", opening, "open")
    for who in ("auditor", "manager", "member", "friend"):
        assert (await look(there, who, opening, f"responses/{name}")).status_code == 403
    await step(there, "administrator", opening, "close")
    for path in ("responses", f"responses/{name}", "conversations", "batches"):
        assert code(await look(there, "administrator", opening, path)) == "opening_over"


async def test_pages_follow_one_another(there: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intramural.services.shown.SHOWN_AT_ONCE", 2)
    owner = there.who["auditor"]
    names = [name_of(await thing(there, "response", owner, each)) for each in ("", "own elsewhere", "")]
    opening = await opened(there, person="auditor")
    first = await listed(there, opening, "response")
    assert first == sorted(names, reverse=True)[:2]
    assert await listed(there, opening, "response", before=first[-1]) == sorted(names)[:1]


async def ended(owner: Someone, path: str, field: str, **headers: str) -> dict[str, Any]:
    while True:
        batch = (await owner.client.get(path, headers=headers)).json()
        if batch[field] in ("completed", "ended"):
            return dict(batch)
        await asyncio.sleep(0.02)


async def test_a_batch_shows_what_it_was_asked_and_answered_wherever_that_lies(there: World) -> None:
    """OpenAI's results become the owner's files, Anthropic's stay lines; its input is gone when it has ended. (The last
    one here: from now on batches are worked on.)
    """
    owner, opening = there.who["stranger"], await opened(there)
    await there.house.services.batches.go_on()
    name = name_of(await thing(there, "batch", owner, ""))
    batch = await ended(owner, f"/v1/batches/{name}", "status")
    file_id = batch["error_file_id"]
    asked_of = (await look(there, "administrator", opening, f"batches/{name}/input")).content
    assert json.loads(asked_of)["custom_id"] == "a"
    answered = (await look(there, "administrator", opening, f"batches/{name}/results")).content
    assert answered == (await owner.client.get(f"/v1/files/{file_id}/content")).content
    for gone in (batch["input_file_id"], file_id):
        assert (await owner.client.delete(f"/v1/files/{gone}")).status_code == 200
    answer = await look(there, "administrator", opening, f"batches/{name}/input")
    assert (answer.status_code, code(answer)) == (404, "batch_input_gone")
    assert (await look(there, "administrator", opening, f"batches/{name}/results")).content == b""

    name = name_of(await thing(there, "message batch", owner, ""))
    await ended(owner, f"/v1/messages/batches/{name}", "processing_status", **{"anthropic-version": "2023-06-01"})
    line = json.loads((await look(there, "administrator", opening, f"batches/{name}/results")).content)
    assert (line["custom_id"], line["outcome"]) == ("a", "errored") and line["body"]["error"]
