"""Taking in lists of people, through the doors of a whole house without models: what changes, what is written down."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests import databases
from tests.access.test_rosters import CLASSES, ENROLMENTS, HEADER, ORGS, USERS_1_1, zipped

from intramural.access import Person
from intramural.access.policy import role_permissions
from intramural.app import House, opened
from intramural.audit import Wanted
from intramural.core.actor import CONSOLE
from intramural.core.config import load
from intramural.http.identity import Console
from intramural.services.rosters import AT_ONCE, Applied, Planned, Wish

URL = "/intramural/v1/people/import"


@asynccontextmanager
async def a_house(folder: Path) -> AsyncIterator[tuple[House, httpx.AsyncClient]]:
    settings = {"INTRAMURAL_LIBRARY_ALLOW_NETWORK": "false", **databases.settings(folder / "data" / "intramural.db")}
    async with opened(load(settings, data_dir=folder / "data")) as house:
        transport = httpx.ASGITransport(Console(house.application))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            root = {"username": "root", "password": "a sentence nobody guesses", "role": "administrator"}
            assert (await client.post("/intramural/v1/people", json=root)).status_code == 201
            yield house, client


async def taken(client: httpx.AsyncClient, data: bytes | str, **query: Any) -> list[dict[str, Any]]:
    answer = await client.post(URL, content=data, params=query)
    assert answer.status_code == 200, answer.text
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]


async def refused(client: httpx.AsyncClient, data: bytes | str, **query: Any) -> dict[str, Any]:
    answer = await client.post(URL, content=data, params=query)
    assert answer.status_code >= 400, answer.text
    return dict(answer.json()["error"])


async def people(house: House) -> dict[str, Person]:
    return {each.username: each for each in await house.access.people.list()}


async def entries(house: House, event: str) -> list[Any]:
    return (await house.services.records.search(CONSOLE, Wanted(event=event), 1000)).entries


async def test_a_bundle_is_taken_in_once_and_changes_nothing_the_second_time(tmp_path: Path) -> None:
    bundle = zipped(orgs=ORGS, users=USERS_1_1, classes=CLASSES, enrollments=ENROLMENTS)
    async with a_house(tmp_path) as (house, client):
        [dry] = await taken(client, bundle, source="sis", dry_run=True)
        assert dry["changes"]["person.created"] == 3 and set(await people(house)) == {"root"}
        assert [each.facts["source"] for each in await entries(house, "roster.checked")] == ["sis"]
        first = await taken(client, bundle, source="sis")
        assert (first[0]["state"], first[-1]["state"]) == ("planned", "done")
        assert first[0]["changes"] == dry["changes"] and first[-1]["done"] == sum(dry["changes"].values())
        here = await people(house)
        assert {name: each.role for name, each in here.items()} == {
            "root": "administrator",
            "edna": "manager",
            "bart": "member",
            "nelson": "member",
        }
        groups = {each.name: each for each in await house.access.groups.list()}
        assert groups["4th grade"].parent_id == groups["Elementary"].id and groups["4th grade"].source == "sis"
        assert groups["Elementary"].parent_id == groups["Springfield"].id
        in_class, managed = await house.access.groups.of(here["edna"].id)
        assert in_class[0] == groups["4th grade"].id and managed == (groups["4th grade"].id,)
        size = await house.services.records.search(CONSOLE, Wanted(), 1)
        again = await taken(client, bundle, source="sis")
        assert [each["changes"] for each in again] == [{}]
        newest = (await house.services.records.search(CONSOLE, Wanted(), 10)).entries
        since = {each.event for each in newest if each.position > size.entries[0].position}
        assert since == {"roster.checked", "audit.read"}
        assert not await house.access.people.has_password("edna")


async def test_every_person_and_membership_has_one_event_beside_its_change(tmp_path: Path) -> None:
    lines = "".join(f"{n},p{n},,,School/c{n % 9},,,\n" for n in range(2 * AT_ONCE))
    async with a_house(tmp_path) as (house, client):
        states = await taken(client, HEADER + lines)
        assert len(states) > 3, "it is told how far it has come"
        made = await entries(house, "person.created")
        assert {each.target for each in made} == {f"person:{each.id}" for each in (await people(house)).values()}
        assert len(made) == 2 * AT_ONCE + 1 and len(await entries(house, "group.created")) == 10
        assert len(await entries(house, "group.joined")) == 2 * AT_ONCE
        [ended] = await entries(house, "roster.ended")
        assert ended.facts["outcome"] == "finished" and ended.facts["done"] == ended.facts["steps"]
        log = await house.services.records.verify(CONSOLE)
        assert log.ok
        raw = " ".join(f"{each.facts} {each.target}" for each in made)
        assert not re.search(r"\bp17\b", raw), "the log holds no names"


async def test_a_wrong_line_stops_all_of_it(tmp_path: Path) -> None:
    async with a_house(tmp_path) as (house, client):
        error = await refused(client, HEADER + "1,mia,,,,,,\n2,=bo,,,,,,\n3,root,,,,,,\n", file="people.csv")
        assert error["code"] == "roster_refused"
        assert [(each["file"], each["line"], each["code"]) for each in error["problems"]] == [
            ("people.csv", 3, "formula")
        ]
        error = await refused(client, HEADER + "1,mia,,,,,,\n3,ROOT,,,,,,\n")
        assert [(each["line"], each["code"]) for each in error["problems"]] == [(3, "username_taken")]
        assert set(await people(house)) == {"root"} and not await entries(house, "roster.begun")
        assert (await refused(client, HEADER))["code"] == "empty_roster"
        assert (await refused(client, HEADER + "1,mia,,,,,,\n", source="A B"))["code"] == "bad_source"
        assert (await refused(client, HEADER + "1,mia,,,,,,\n", role="x"))["code"] == "bad_parameter"


async def test_who_is_missing_is_shut_out_and_a_short_list_is_not_believed(tmp_path: Path) -> None:
    whole = [f"{n},p{n},,,School,,,\n" for n in range(20)]
    async with a_house(tmp_path) as (house, client):
        await taken(client, HEADER + "".join(whole))
        states = await taken(client, HEADER + "".join(whole[:-1]))
        assert states[0]["missing"] == ["p19"] and "--disable-missing" in states[0]["warnings"][0]
        assert (await people(house))["p19"].disabled_ms is None
        short = HEADER + "".join(whole[:10])
        [dry] = await taken(client, short, disable_missing=True, dry_run=True)
        assert "10 of 20 people" in dry["too_many"]
        error = await refused(client, short, disable_missing=True)
        assert error["code"] == "too_many_missing" and "--yes" in error["hint"]
        assert not [each for each in (await people(house)).values() if each.disabled_ms]
        await taken(client, HEADER + "".join(whole[:-1]), disable_missing=True)
        assert [name for name, each in (await people(house)).items() if each.disabled_ms] == ["p19"]
        [entry] = await entries(house, "person.disabled")
        assert entry.facts["missing"] is True
        await taken(client, short, disable_missing=True, yes=True)
        assert sum(each.disabled_ms is not None for each in (await people(house)).values()) == 10
        await taken(client, HEADER + "".join(whole))
        assert not [each for each in (await people(house)).values() if each.disabled_ms], "they are on it again"
        emptied = HEADER + "".join(line.replace("School", "") for line in whole)
        assert (await refused(client, emptied))["code"] == "too_many_missing"
        await taken(client, emptied, yes=True)
        assert await house.access.groups.of((await people(house))["p1"].id) == ((), ())


async def test_what_people_here_did_stays(tmp_path: Path) -> None:
    listed = HEADER + "1,mia,,,School/7b,,,\n2,bo,,,School/7b,,,\n"
    async with a_house(tmp_path) as (house, client):
        await taken(client, listed)
        mia = (await people(house))["mia"]
        groups = {each.name: each.id for each in await house.access.groups.list()}
        page = "/intramural/v1"
        await client.patch(f"{page}/people/{mia.id}", json={"role": "auditor", "disabled": True})
        await client.put(f"{page}/groups/{groups['7b']}/members/{mia.id}", json={"manager": True})
        await client.put(f"{page}/groups/{groups['School']}/members/{mia.id}", json={})
        assert (await taken(client, listed))[0]["changes"] == {}
        states = await taken(client, HEADER + "1,mia,,,,,,\n2,bo,,,School/7b,,,\n")
        assert states[0]["changes"] == {}, "their membership is by hand since then"
        now = (await people(house))["mia"]
        assert (now.role, now.disabled_ms is None) == ("auditor", False)


async def test_a_list_renames_and_ties_accounts_and_adopts_who_is_here(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "sign-in.toml").write_text(
        '[oidc.school]\nissuer = "https://127.0.0.1:1/realm"\nclient_id = "x"\n'
    )
    async with a_house(tmp_path) as (house, client):
        await client.post("/intramural/v1/people", json={"username": "mia", "role": "member"})
        before = (await people(house))["mia"]
        listed = HEADER + "1,mia,,,,,school,s-1\n2,bo,,,,,,\n"
        assert (await refused(client, listed))["problems"][0]["code"] == "username_taken"
        await taken(client, listed, adopt=True)
        assert (await people(house))["mia"] == before
        [identity] = await house.access.identities.of(before.id)
        assert (identity.provider, identity.issuer, identity.subject) == ("school", "https://127.0.0.1:1/realm", "s-1")
        await taken(client, HEADER + "1,mia.t,,,,,school,s-1\n2,bo,,,,,,\n")
        assert (await people(house))["mia.t"].id == before.id
        renamed = (await entries(house, "person.changed"))[0]
        assert renamed.facts["renamed"] is True and "mia" not in json.dumps(dict(renamed.facts))


async def a_secretary(house: House, client: httpx.AsyncClient) -> httpx.AsyncClient:
    """A member who may take in lists besides, and nothing else of that kind."""
    await client.put(
        "/intramural/v1/roles/secretary", json={"permissions": [*role_permissions("member"), "people.import"]}
    )
    made = (await client.post("/intramural/v1/people", json={"username": "sec", "role": "secretary"})).json()
    key = {"name": "k", "scopes": ["admin"], "person_id": made["id"]}
    secret = (await client.post("/intramural/v1/keys", json=key)).json()["secret"]
    headers = {"Authorization": f"Bearer {secret}"}
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(house.application), base_url="http://localhost", headers=headers
    )


async def test_nobody_gets_at_who_may_more_by_a_list(tmp_path: Path) -> None:
    async with a_house(tmp_path) as (house, client), await a_secretary(house, client) as hers:
        error = await refused(hers, HEADER + "1,mia,auditor,,,,,\n")
        assert error["code"] == "beyond_you" and set(await people(house)) == {"root", "sec"}


async def test_ages_of_a_list_are_bands_and_what_people_here_wrote_down_stays(tmp_path: Path) -> None:
    listed = "id,username,birth_date\n1,mia,2014-03-09\n2,bo,\n"
    async with a_house(tmp_path) as (house, client):
        first = await taken(client, listed)
        assert first[0]["changes"] == {"person.created": 2, "age.set": 1}
        page, mia = "/intramural/v1", (await people(house))["mia"]

        async def ages() -> dict[str, str]:
            found = (await client.get(f"{page}/ages")).json()["people"]
            return {each["username"]: each["age"] for each in found}

        assert await ages() == {"root": "unknown", "mia": "under-13", "bo": "unknown"}
        [entry] = await entries(house, "person.age_set")
        assert entry.target == f"person:{mia.id}"
        assert dict(entry.facts) == {"age": "under-13", "before": "unknown", "source": "roster"}
        assert (await taken(client, listed))[0]["changes"] == {}
        await client.post(f"{page}/ages", json={"people": [{"username": "mia", "age": "adult"}]})
        assert (await taken(client, listed))[0]["changes"] == {} and (await ages())["mia"] == "adult"
        await taken(client, "id,username,age\n1,mia,16-17\n2,bo,\n")
        assert (await ages())["mia"] == "16-17"
        kept = b"".join(each.read_bytes() for each in house.config.data_dir.glob("intramural.db*"))
        assert b"2014-03-09" not in kept, "the day of birth is nowhere"


async def test_who_may_not_write_down_ages_does_not_by_a_list(tmp_path: Path) -> None:
    async with a_house(tmp_path) as (house, client), await a_secretary(house, client) as hers:
        error = await refused(hers, "id,username,age\n1,mia,13-15\n")
        assert error["code"] == "role_missing" and "ages.change" in error["message"]
        assert set(await people(house)) == {"root", "sec"}
        await taken(hers, "id,username,age\n1,mia,\n")
        assert set(await people(house)) == {"root", "sec", "mia"}


async def test_what_was_done_with_lists_can_be_looked_at_again(tmp_path: Path) -> None:
    lines = "".join(f"{n},p{n},,,,,,\n" for n in range(2 * AT_ONCE))
    async with a_house(tmp_path) as (house, client):

        async def before() -> list[dict[str, Any]]:
            answer = await client.get("/intramural/v1/people/imports")
            return list(answer.json()["imports"])

        assert await before() == []
        await taken(client, HEADER + lines, dry_run=True, source="sis")
        await taken(client, HEADER + lines, source="sis")
        finished, checked = await before()
        assert (checked["outcome"], checked["counts"]) == ("checked", {"person.created": 2 * AT_ONCE})
        assert (finished["outcome"], finished["done"], finished["source"]) == ("finished", 2 * AT_ONCE, "sis")
        assert finished["by"] == "console" and finished["ended_ms"] >= finished["time_ms"]
        assert finished["digest"] == checked["digest"] and finished["digest"].startswith("sha256:")

        # Who asked leaves after the first part: what is done stays and is told, and the same list does the rest.
        renamed = (HEADER + lines.replace(",p", ",q")).encode()
        states = house.services.rosters.take_in(CONSOLE, renamed, Wish("sis"))
        async with aclosing(states):
            assert [type(await anext(states)) for _ in range(2)] == [Planned, Applied]
            assert next((each["outcome"], each["done"]) for each in await before()) == ("running", AT_ONCE)
            assert (await refused(client, HEADER + lines))["code"] == "roster_running"
        assert next((each["outcome"], each["done"]) for each in await before()) == ("cancelled", AT_ONCE)
        assert sum(name.startswith("q") for name in await people(house)) == AT_ONCE
        assert (await taken(client, renamed, source="sis"))[0]["changes"] == {"person.changed": AT_ONCE}
        assert [each["outcome"] for each in await before()] == ["finished", "cancelled", "finished", "checked"]


@pytest.mark.parametrize("size", [1, 65 << 20])
async def test_only_who_may_is_listened_to(tmp_path: Path, size: int) -> None:
    async with a_house(tmp_path) as (house, client):
        if size > 1:
            assert (await refused(client, b"x" * size))["code"] == "body_too_large"
        transport = httpx.ASGITransport(house.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as stranger:
            assert (await refused(stranger, b"x" * size))["code"] == "no_credentials"
