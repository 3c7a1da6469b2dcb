"""Ages, guardians' consents, notices and declared uses over the routes of a real house (without a model: what is let
through finds none)."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests import databases
from tests.house.matrix import World, world

from intramural.access import Charter
from intramural.audit import Wanted
from intramural.core.actor import CONSOLE

V1 = "/intramural/v1"
CHAT = {"model": "none:1b", "messages": [{"role": "user", "content": "hi"}]}
REFERENCE = "folder 12, sheet 7, signed by R. Okonkwo"
MAY, pytestmark = "model_not_found", pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def there(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("house") / "data") as made:
        yield made


def code(answer: httpx.Response) -> str:
    return "" if answer.status_code < 300 else str(answer.json()["error"]["code"])


async def sent(there: World, who: str, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    return await there.who[who].client.request(method, path, json=body, headers=headers)


async def asked(there: World, who: str, **headers: str) -> str:
    """What somebody is told who asks a model: `MAY` where only the model is missing."""
    return code(await sent(there, who, "POST", "/v1/chat/completions", CHAT, **headers))


async def events(there: World, event: str) -> list[Any]:
    return (await there.house.services.records.search(CONSOLE, Wanted(event=event), 1000)).entries


async def test_an_age_and_a_consent_open_and_close(there: World) -> None:
    friend = there.who["friend"].person
    assert await asked(there, "friend") == MAY
    answer = await sent(there, "manager", "POST", f"{V1}/ages", {"people": [{"username": "FRIEND", "age": "13-15"}]})
    assert answer.json() == {"changed": 1}
    assert await asked(there, "friend") == "consent_needed", "from the next request on"
    given = {"people": [{"username": "friend"}], "features": ["use"], "how": "paper", "reference": REFERENCE}
    [consent] = (await sent(there, "manager", "POST", f"{V1}/consents", given)).json()["recorded"]
    assert await asked(there, "friend") == MAY
    kept = await sent(there, "friend", "POST", f"{V1}/chats", {"model": "none:1b"})
    assert code(kept) == "consent_needed", "to have chats kept needs a word of its own"
    own = (await sent(there, "friend", "GET", f"{V1}/me/consent")).json()
    assert (own["age"], own["consents"], own["recorded"][0]["reference"]) == ("13-15", ["use"], REFERENCE)
    gone = (await sent(there, "manager", "DELETE", f"{V1}/consents/{consent}")).json()
    assert gone["withdrawn_ms"] and await asked(there, "friend") == "consent_needed"
    again = await sent(there, "manager", "DELETE", f"{V1}/consents/{consent}")
    assert (again.status_code, code(again)) == (409, "consent_withdrawn")
    [recorded] = [e for e in await events(there, "consent.recorded") if e.target == f"person:{friend.id}"]
    assert recorded.facts["features"] == ["use"] and recorded.facts["how"] == "paper"
    [withdrawn] = [e for e in await events(there, "consent.withdrawn") if e.target == f"person:{friend.id}"]
    assert withdrawn.facts["consent"] == consent
    # back for the tests that follow
    await sent(there, "manager", "POST", f"{V1}/ages", {"people": [{"username": "friend", "age": "adult"}]})


async def test_the_reference_lies_sealed_and_others_reading_it_is_recorded(there: World) -> None:
    given = {
        "people": [{"username": "friend"}],
        "features": ["files"],
        "how": "portal",
        "reference": "PORTAL-CANARY-4711",
    }
    await sent(there, "administrator", "POST", f"{V1}/consents", given)
    files = databases.everything(there.db.address)
    assert b"PORTAL-CANARY-4711" not in files
    friend = there.who["friend"].person
    read = (await sent(there, "auditor", "GET", f"{V1}/people/{friend.id}/consents")).json()
    assert read["consents"][0]["reference"] == "PORTAL-CANARY-4711"
    assert [e.username for e in await events(there, "consent.read")] == ["auditor"]
    for who, expected in (("stranger", "not_yours"), ("insider", "not_yours")):
        assert code(await sent(there, who, "GET", f"{V1}/people/{friend.id}/consents")) == expected
    whole = await there.who["friend"].client.get(f"{V1}/me/export")
    assert whole.status_code == 200


async def test_nothing_of_a_list_is_written_down_where_one_line_is_wrong(there: World) -> None:
    people = [{"username": "stranger", "age": "13-15"}, {"username": "nobody at all", "age": "13-15"}]
    answer = await sent(there, "administrator", "POST", f"{V1}/ages", {"people": people})
    assert (answer.status_code, code(answer)) == (404, "person_not_found") and "nobody at all" in answer.text
    assert await asked(there, "stranger") == MAY
    not_theirs = [{"username": "friend"}, {"username": "stranger"}]
    body = {"people": not_theirs, "features": ["use"], "how": "paper"}
    before = len(await events(there, "consent.recorded"))
    assert code(await sent(there, "manager", "POST", f"{V1}/consents", body)) == "not_in_your_groups"
    assert len(await events(there, "consent.recorded")) == before
    for body, expected in (
        ({"features": ["use"], "how": "paper"}, "nobody_named"),
        ({"people": [{"username": "friend"}], "features": ["use"], "how": "paper", "until_ms": 5}, "bad_time"),
        ({"people": [{"username": "friend"}], "features": ["tools"], "how": "paper"}, "bad_parameter"),
        (
            {"people": [{"username": "friend", "reference": "a\nb"}], "features": ["use"], "how": "paper"},
            "bad_reference",
        ),
    ):
        assert code(await sent(there, "administrator", "POST", f"{V1}/consents", body)) == expected


async def test_how_many_have_yet_to_read_a_notice_is_as_many_as_are_told_of_it(there: World) -> None:
    """Over every audience: the number that is counted in the database, and the notices of everybody one by one."""
    everybody = ("administrator", "auditor", "manager", "member", "friend", "stranger", "insider")
    ages = [{"username": "friend", "age": "13-15"}, {"username": "insider", "age": "adult"}]
    await sent(there, "administrator", "POST", f"{V1}/ages", {"people": ages})
    access = there.house.access
    place = await there.act(access.workspaces.create, Charter("Readers", "internal"))
    inner = await there.act(access.groups.create, "Inner")
    outer = await there.act(access.groups.create, "Outer")
    await there.act(access.groups.change, inner.id, name="Inner", parent_id=outer.id)
    await there.act(access.groups.put, inner.id, there.who["stranger"].person.id)
    await there.act(access.workspaces.admit, place.place.id, there.who["member"].person.id)
    await there.act(access.workspaces.admit, place.place.id, outer.id)
    for audience, expected in {
        "everyone": None,
        "role:auditor": None,
        f"group:{there.ids['group']}": None,
        f"group:{outer.id}": {"stranger"},
        f"group:{inner.id}": {"stranger"},
        f"workspace:{place.place.id}": {"member", "stranger"},
        "age:13-15": None,
        "age:unknown": None,
    }.items():
        body = {"title": "Counted", "text": "x", "audience": audience}
        notice = (await sent(there, "administrator", "POST", f"{V1}/notices", body)).json()
        headers = {"x-intramural-workspace": "Readers"} if audience.startswith("workspace") else {}
        told = set()
        for who in everybody:
            found = (await sent(there, who, "GET", f"{V1}/notices", **headers)).json()
            told |= {who for each in found.get("notices", []) if each["id"] == notice["id"]}
        assert expected in (None, told)
        listed = (await sent(there, "auditor", "GET", f"{V1}/notices/all")).json()["notices"]
        assert [each["unread"] for each in listed if each["id"] == notice["id"]] == [len(told)], audience
        await sent(there, "administrator", "DELETE", f"{V1}/notices/{notice['id']}")
    back = [{"username": "friend", "age": "adult"}, {"username": "insider", "age": "unknown"}]
    await sent(there, "administrator", "POST", f"{V1}/ages", {"people": back})


async def test_a_class_of_five_hundred_at_once(there: World) -> None:
    access = there.house.access
    hashed = await access.people.hash_new("nobody", "a sentence nobody guesses")
    async with there.db.writing() as connection:
        school = await access.groups.create(connection, "School")
        klass = await access.groups.create(connection, "7b", school.id)
        for number in range(500):
            person = await access.people.create(connection, f"pupil{number}", hashed, "member")
            await access.groups.put(connection, klass.id, person.id)
        teacher = await access.people.create(connection, "teacher", hashed, "manager")
        await access.groups.put(connection, klass.id, teacher.id, manager=True)
    set_ = await sent(there, "administrator", "POST", f"{V1}/ages", {"group_id": school.id, "age": "13-15"})
    assert set_.json() == {"changed": 500}, "its teacher is none of the pupils"
    body = {"group_id": school.id, "features": ["use", "keep"], "how": "paper", "given_by": "guardian",
            "people": [{"username": "pupil7", "reference": "sheet 7"}]}  # fmt: skip
    answer = await sent(there, "administrator", "POST", f"{V1}/consents", body)
    assert len(answer.json()["recorded"]) == 500
    listed = (await sent(there, "administrator", "GET", f"{V1}/ages")).json()["people"]
    pupils = [each for each in listed if each["username"].startswith("pupil")]
    assert {(each["age"], tuple(each["consents"])) for each in pupils} == {("13-15", ("keep", "use"))}
    assert {each["age"] for each in listed if each["username"] == "teacher"} == {"unknown"}
    recorded = [e for e in await events(there, "consent.recorded") if e.facts["features"] == ["keep", "use"]]
    assert len(recorded) == 500
    born = [{"username": "pupil1", "birth_year": 2000}]
    assert (await sent(there, "administrator", "POST", f"{V1}/ages", {"people": born})).json() == {"changed": 1}
    files = databases.everything(there.db.address)
    assert b"birth_year" not in files

    # One sees in pages who lacks a consent; a manager sees the people of their groups.
    lacking: list[str] = []
    after: str | None = ""
    while after is not None:
        query = f"lacking=true&limit=200&query=UPIL&after={after}"
        page = (await sent(there, "auditor", "GET", f"{V1}/ages?{query}")).json()
        assert page["total"] == 499, "one is of full age"
        lacking += [each["username"] for each in page["people"]]
        after = page["next"]
    assert len(set(lacking)) == len(lacking) == 499 and lacking == sorted(lacking)
    mine = (await sent(there, "manager", "GET", f"{V1}/ages?limit=500")).json()
    assert "friend" in {each["username"] for each in mine["people"]} and mine["total"] < 20

    async def in_group(who: str, group_id: str) -> int:
        found = (await sent(there, who, "GET", f"{V1}/ages?limit=1&group_id={group_id}")).json()
        return int(found["total"])

    assert (await in_group("administrator", school.id), await in_group("auditor", klass.id)) == (501, 501)
    assert await in_group("manager", there.ids["group"]) == await in_group("administrator", there.ids["group"]) > 1
    async with there.db.writing() as connection:
        await access.groups.put(connection, klass.id, there.who["friend"].person.id)
    assert await in_group("manager", klass.id) == 0, "who of their people is in a group of others is not told"
    assert await in_group("administrator", "group_nowhere") == 0
    assert (await sent(there, "administrator", "GET", f"{V1}/ages?limit=0")).status_code == 400


# notices --------------------------------------------------------------------------------------------------------------


async def test_the_notice_that_one_talks_to_an_ai_is_there_and_names_the_model(there: World) -> None:
    unread = (await sent(there, "member", "GET", f"{V1}/notices?model=clinic:8b")).json()["notices"]
    [notice] = [each for each in unread if each["id"] == "notice_ai"]
    assert "not to a person" in notice["text"] and "`clinic:8b`" in notice["text"] and not notice["blocking"]
    plain = (await sent(there, "member", "GET", f"{V1}/notices")).json()["notices"]
    assert [each["digest"] for each in plain] == [each["digest"] for each in unread], "its version is the same"
    read = f"{V1}/notices/notice_ai/acknowledge"
    stale = await sent(there, "member", "POST", read, {"digest": "sha256:0"})
    assert (stale.status_code, code(stale)) == (409, "notice_changed")
    assert (await sent(there, "member", "POST", read, {"digest": notice["digest"]})).json() == {"new": True}
    assert (await sent(there, "member", "POST", read, {"digest": notice["digest"]})).json() == {"new": False}
    assert (await sent(there, "member", "GET", f"{V1}/notices")).json()["notices"] == []
    [own] = (await sent(there, "member", "GET", f"{V1}/me/notices")).json()["read"]
    assert (own["title"], own["how"], own["digest"]) == ("You are talking to an AI", "page", notice["digest"])
    version = await sent(there, "member", "GET", f"{V1}/notices/notice_ai/versions/{notice['digest']}")
    assert version.json()["title"] == own["title"]
    for method, body in (("PUT", {"title": "x", "text": "x"}), ("DELETE", None)):
        answer = await sent(there, "administrator", method, f"{V1}/notices/notice_ai", body)
        assert code(answer) == "notice_of_settings"


async def test_a_notice_that_blocks_stops_the_key_too_until_its_owner_has_read_it(there: World) -> None:
    made = (await sent(there, "member", "POST", f"{V1}/keys", {"name": "k"})).json()["secret"]
    async with there.client(authorization=f"Bearer {made}") as program:

        async def told() -> tuple[str, str]:
            answer = await program.post("/v1/chat/completions", json=CHAT)
            return code(answer), answer.json()["error"]["message"]

        assert (await told())[0] == MAY
        body = {
            "title": "House rules",
            "text": "Be **kind**.",
            "audience": f"group:{there.ids['group']}",
            "blocking": True,
        }
        notice = (await sent(there, "administrator", "POST", f"{V1}/notices", body)).json()
        assert (await told())[0] == await asked(there, "member") == "notice_unread"
        assert "House rules" in (await told())[1]
        assert await asked(there, "stranger") == MAY, "who is not in the group need not read it"
        assert code(await program.get("/v1/models")) == ""
        read = f"{V1}/notices/{notice['id']}/acknowledge"
        said = await program.post(read, json={"digest": notice["digest"]})
        assert (said.status_code, code(said)) == (403, "session_required"), "a program has not read it"
        await sent(there, "member", "POST", read, {"digest": notice["digest"]})
        assert (await told())[0] == await asked(there, "member") == MAY
        changed = (
            await sent(there, "administrator", "PUT", f"{V1}/notices/{notice['id']}", body | {"text": "Be kind!"})
        ).json()
        assert changed["digest"] != notice["digest"] and (await told())[0] == "notice_unread"
        version = await sent(there, "member", "GET", f"{V1}/notices/{notice['id']}/versions/{notice['digest']}")
        assert version.json() == {"title": "House rules", "text": "Be **kind**."}
        me = there.who["member"].person.id
        paper = f"{V1}/notices/{notice['id']}/readers/{me}"
        assert code(await sent(there, "stranger", "PUT", paper)) == "not_yours"
        assert (await sent(there, "manager", "PUT", paper)).json() == {"new": True}
        assert (await told())[0] == MAY
        readers = (await sent(there, "auditor", "GET", f"{V1}/notices/{notice['id']}/readers")).json()["readers"]
        assert [(each["person_id"], each["how"]) for each in readers] == [(me, "paper")]
        listed = (await sent(there, "auditor", "GET", f"{V1}/notices/all")).json()["notices"]
        told_of = {each["id"]: (each["readers"], each["unread"], each["fixed"]) for each in listed}
        in_group = {"administrator", "auditor", "manager", "member", "friend"}
        assert told_of[notice["id"]] == (1, len(in_group) - 1, False), "who has read an older version has not read it"
        assert told_of["notice_ai"][2] is True
        assert code(await sent(there, "stranger", "GET", f"{V1}/notices/all")) == "not_yours"
        assert (await sent(there, "administrator", "DELETE", f"{V1}/notices/{notice['id']}")).status_code == 204
        assert await asked(there, "friend") == MAY
    acts = [e.facts["how"] for e in await events(there, "notice.read") if e.target == f"notice:{notice['id']}"]
    assert sorted(acts) == ["page", "paper"]


async def test_a_service_account_reads_nothing(there: World) -> None:
    body = {"title": "For all", "text": "x", "blocking": True}
    notice = (await sent(there, "administrator", "POST", f"{V1}/notices", body)).json()
    assert (await asked(there, "service"), await asked(there, "stranger")) == (MAY, "notice_unread")
    await sent(there, "administrator", "DELETE", f"{V1}/notices/{notice['id']}")


@pytest.mark.parametrize("audience", ["", "everyone:x", "role", "group:group_x", "age:12", "planet:earth", "role:\n"])
async def test_an_audience_that_is_none_is_refused(there: World, audience: str) -> None:
    body = {"title": "x", "text": "x", "audience": audience}
    answer = await sent(there, "administrator", "POST", f"{V1}/notices", body)
    assert code(answer) in ("bad_notice", "group_not_found")


# declared uses --------------------------------------------------------------------------------------------------------


async def test_a_use_of_high_risk_brings_its_obligations_and_keeps_them(there: World) -> None:
    mia, head = there.who["member"].person, there.who["friend"].person
    made = await there.act(there.house.access.workspaces.create, Charter("Marks", "education"))
    place = f"{V1}/workspaces/{made.place.id}"
    await there.act(there.house.access.workspaces.admit, made.place.id, mia.id)
    inside = {"x-intramural-workspace": "Marks"}
    assert await asked(there, "member", **inside) == MAY
    banned = await sent(there, "administrator", "PUT", f"{place}/uses/emotion-inference")
    assert (banned.status_code, code(banned)) == (403, "use_prohibited") and "article 5(1)(f)" in banned.text
    assert code(await sent(there, "administrator", "PUT", f"{place}/uses/grading")) == "no_overseer"
    assert await asked(there, "member", **inside) == MAY, "what failed has set nothing"
    await sent(there, "administrator", "PUT", f"{place}/overseers/{head.id}")
    use = (await sent(there, "administrator", "PUT", f"{place}/uses/grading")).json()
    assert use["where"] == "annex III, 3(b)"

    assert await asked(there, "member", **inside) == "notice_unread", "a notice is on"
    notices = (await sent(there, "member", "GET", f"{V1}/notices", **inside)).json()["notices"]
    [notice] = [each for each in notices if each["id"] == use["notice_id"]]
    read = f"{V1}/notices/{notice['id']}/acknowledge"
    await sent(there, "member", "POST", read, {"digest": notice["digest"]})
    assert await asked(there, "member", **inside) == MAY, "its purpose is the only one, so it is meant"
    assert await asked(there, "member", **inside, **{"x-intramural-purpose": "fun"}) == "purpose_required"

    charter = {"name": "Marks", "label": "education", "purposes": []}
    for method, path, body, expected in (
        ("PUT", place, charter, "use_declared_needs"),
        ("PUT", f"{V1}/notices/{notice['id']}", {"title": "x", "text": "x"}, "use_declared_needs"),
        ("DELETE", f"{V1}/notices/{notice['id']}", None, "use_declared_needs"),
        ("DELETE", f"{place}/overseers/{head.id}", None, "last_overseer"),
        ("PUT", place, charter | {"purposes": ["grading"], "retention_days": {"log": 30}}, "retention_below_floor"),
    ):
        assert code(await sent(there, "administrator", method, path, body)) == expected, (method, path)
    assert await asked(there, "member", **inside) == MAY

    there_before = there.who["friend"].person.id
    await sent(there, "administrator", "PATCH", f"{V1}/people/{there_before}", {"disabled": True})
    assert await asked(there, "member", **inside) == "oversight_missing", "nobody who is let in oversees it"
    await sent(there, "administrator", "PATCH", f"{V1}/people/{there_before}", {"disabled": False})
    assert await asked(there, "member", **inside) == MAY
    listed = (await sent(there, "auditor", "GET", f"{V1}/uses")).json()
    assert {"workspace_id": made.place.id, "uses": [use], "overseers": [head.id]} in listed["workspaces"]
    assert (await sent(there, "administrator", "DELETE", f"{place}/uses/grading")).status_code == 204
    assert (await sent(there, "administrator", "DELETE", f"{place}/overseers/{head.id}")).status_code == 204
    assert await asked(there, "member", **inside) == MAY


async def test_erasing_somebody_takes_their_consents_and_what_they_have_read_with_them(there: World) -> None:
    person = await there.act(
        there.house.access.people.create,
        "leaver",
        await there.house.access.people.hash_new("leaver", "a long sentence"),
        "member",
    )
    given = {"people": [{"username": "leaver"}], "features": ["use"], "how": "paper", "reference": "LEAVER-CANARY"}
    await sent(there, "administrator", "POST", f"{V1}/consents", given)
    await sent(there, "administrator", "POST", f"{V1}/ages", {"people": [{"username": "leaver", "age": "16-17"}]})
    await sent(there, "administrator", "PUT", f"{V1}/notices/notice_ai/readers/{person.id}")
    tables = ("consents", "person_ages", "acknowledgements")

    def rows() -> list[int]:
        count = "SELECT count(*) FROM {} WHERE person_id = '{}'"
        return [databases.query(there.db.address, count.format(table, person.id))[0][0] for table in tables]

    assert rows() == [1, 1, 1]
    gone = (await sent(there, "administrator", "DELETE", f"{V1}/people/{person.id}")).json()
    assert {name: gone["statement"]["rows_deleted"][name] for name in tables} == dict.fromkeys(tables, 1)
    assert rows() == [0, 0, 0]
    assert (await there.house.services.records.verify(CONSOLE)).ok
