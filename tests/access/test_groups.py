"""Groups of people, one inside another, and what an actor knows of them."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.access.conftest import PASSWORD

from intramural.access import Access, Groups
from intramural.access.groups import MAX_DEPTH, groups_from
from intramural.core.config import AccessConfig
from intramural.core.errors import Conflicting, IntramuralError, Misasked, Missing


@pytest.fixture
def groups(access) -> Groups:
    return access.groups


@pytest.fixture
def make(db, groups, clock):
    async def add(name, parent=None, external_id=None):
        clock.at_s += 1
        async with db.writing() as connection:
            return await groups.create(connection, name, parent and parent.id, external_id)

    return add


async def refused(act, connection) -> str:
    with pytest.raises(IntramuralError) as caught:
        await act(connection)
    assert caught.value.hint
    return caught.value.code


async def test_an_actor_knows_all_groups_around_and_those_they_were_put_into_first(access, db, groups, make, join):
    district = await make("District")
    school = await make("School", district)
    maths, choir = await make("Maths", school), await make("Choir", district)
    ada = await join("ada")
    async with db.writing() as connection:
        await groups.put(connection, choir.id, ada.id, manager=True)
        await groups.put(connection, maths.id, ada.id)
        key = await access.keys.create(connection, ada.id, "a program", ["inference"])
    proven = await access.people.authenticate("ada", PASSWORD, "10.0.0.1")
    async with db.writing() as connection:
        token, _ = await access.sessions.open(connection, proven, "")
    by_session, session = await access.identify.by_session(token)
    found = [
        by_session,
        await access.identify.by_key(key[1]),
        await access.identify.again("key", ada.id, key[0].id),
        await access.identify.again("person", ada.id, session.id),
    ]
    for actor in found:
        assert actor.groups == (maths.id, choir.id, school.id, district.id)
        assert actor.manages == (choir.id,)
    assert await groups.of(ada.id) == (by_session.groups, by_session.manages)
    root = await access.people.named("root")
    assert await groups.of(root.id) == ((), ())
    assert await groups.of("person_nobody") == ((), ())


async def test_what_changes_counts_at_the_next_request_whatever_process_changed_it(
    access, db, make, join, clock, tmp_path, cheap
):
    school, other = await make("School"), await make("Other")
    grade = await make("Grade 7", school)
    maths = await make("Maths", grade)
    ada = await join("ada")
    async with db.writing() as connection:
        _, secret = await access.keys.create(connection, ada.id, "a program", ["inference"])
    elsewhere = await Access.open(db, tmp_path / "secrets", AccessConfig(), clock, cost=cheap)

    async def now():
        return (await access.identify.by_key(secret)).groups

    async with db.writing() as connection:
        await elsewhere.groups.put(connection, maths.id, ada.id)
    assert await now() == (maths.id, grade.id, school.id)
    async with db.writing() as connection:
        await elsewhere.groups.change(connection, grade.id, parent_id=other.id)
    assert await now() == (maths.id, grade.id, other.id)
    async with db.writing() as connection:
        await elsewhere.groups.change(connection, maths.id, parent_id=None, name="Sums")
    assert await now() == (maths.id,)
    async with db.writing() as connection:
        await elsewhere.groups.take_out(connection, maths.id, ada.id)
    assert await now() == ()
    await elsewhere.close()


async def test_names_and_sizes_of_groups(db, groups, make, join):
    grade = await make("Grade 7")
    maths, empty = await make("Maths", grade), await make("Empty")
    people = [await join("ada"), await join("bob")]
    async with db.writing() as connection:
        for person in people:
            await groups.put(connection, maths.id, person.id)
    assert await groups.sizes() == {maths.id: 2}  # whoever is in it itself; of empty ones nothing
    assert await groups.named([empty.id, "group_gone", grade.id]) == ("Empty", "group_gone", "Grade 7")


async def test_no_group_is_within_itself(db, groups, make):
    one = await make("One")
    two = await make("Two", one)
    three = await make("Three", two)
    async with db.writing() as connection:
        for inner in (one, two, three):
            code = await refused(lambda c, g=inner: groups.change(c, one.id, parent_id=g.id), connection)
            assert code == "group_in_itself"
        await groups.change(connection, three.id, parent_id=None)
        await groups.change(connection, one.id, parent_id=three.id)
        assert await refused(lambda c: groups.change(c, three.id, parent_id=two.id), connection) == "group_in_itself"


async def test_how_deep_groups_go(db, groups, make):
    deepest = None
    for level in range(MAX_DEPTH):
        deepest = await make(f"level {level}", deepest)
    with pytest.raises(Misasked, match="deep"):
        await make("one more", deepest)
    top = await make("top")
    async with db.writing() as connection:
        first = (await groups.list())[0]
        assert await refused(lambda c: groups.change(c, first.id, parent_id=top.id), connection) == "groups_too_deep"


async def test_who_is_in_a_group_and_what_ends_that(db, access, groups, make, join):
    school = await make("School")
    maths = await make("Maths", school)
    ada, ben = await join("ada"), await join("ben")
    async with db.writing() as connection:
        await groups.put(connection, maths.id, ben.id, manager=True)
        await groups.put(connection, maths.id, ada.id)
        await groups.put(connection, maths.id, ada.id, manager=True)
        await groups.put(connection, maths.id, ada.id)
    assert [(each.username, each.manager) for each in await groups.members(maths.id)] == [("ada", False), ("ben", True)]
    assert await groups.members(school.id) == []
    assert await groups.within([school.id]) == {ada.id, ben.id} == await groups.within([maths.id, "nonsense"])
    assert await groups.within([]) == frozenset()
    async with db.writing() as connection:
        assert await refused(lambda c: groups.remove(c, school.id), connection) == "group_not_empty"
        await access.people.remove(connection, ben.id)
    assert [each.username for each in await groups.members(maths.id)] == ["ada"]
    async with db.writing() as connection:
        await groups.remove(connection, maths.id)
        await groups.remove(connection, school.id)
    assert await groups.of(ada.id) == ((), ())
    assert await access.people.get(ada.id) == ada


async def test_what_is_not_there_is_said(db, groups, make, join):
    school, ada = await make("School"), await join("ada")
    async with db.writing() as connection:
        for act, code in (
            (lambda c: groups.create(c, "x", "group_none"), "group_not_found"),
            (lambda c: groups.change(c, "group_none", name="x"), "group_not_found"),
            (lambda c: groups.change(c, school.id, parent_id="group_none"), "group_not_found"),
            (lambda c: groups.remove(c, "group_none"), "group_not_found"),
            (lambda c: groups.put(c, "group_none", ada.id), "group_not_found"),
            (lambda c: groups.put(c, school.id, "person_none"), "person_not_found"),
            (lambda c: groups.take_out(c, school.id, ada.id), "not_a_member"),
        ):
            assert await refused(act, connection) == code
    with pytest.raises(Missing):
        await groups.get("group_none")


async def test_a_directorys_name_for_a_group_is_its_alone(db, groups, make):
    one = await make("One", external_id="oneroster:17")
    two = await make("Two")
    with pytest.raises(Conflicting):
        await make("Other", external_id="oneroster:17")
    with pytest.raises(Conflicting):
        async with db.writing() as connection:
            await groups.change(connection, two.id, external_id="oneroster:17")
    assert await groups.known_as("oneroster:17") == one
    async with db.writing() as connection:
        await groups.change(connection, one.id, external_id=None)
    assert await groups.known_as("oneroster:17") is None


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x00", "a" * 101, "Maths\u202e", "\u200f", "a\ud800"])
async def test_what_cannot_be_a_groups_name(make, name):
    with pytest.raises(Misasked) as caught:
        await make(name)
    assert caught.value.code == "bad_group_name"


async def test_two_moves_at_once_make_no_ring(db, groups, make):
    one, two = await make("One"), await make("Two")

    async def move(what, where):
        async with db.writing() as connection:
            await groups.change(connection, what.id, parent_id=where.id)

    results = await asyncio.gather(move(one, two), move(two, one), return_exceptions=True)
    assert [type(each) for each in results].count(Conflicting) == 1


LINES = st.lists(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=4, unique=True), max_size=5)


@given(lines=LINES, managed=st.sets(st.integers(0, 4)))
def test_groups_from_any_lineages(lines, managed):
    lines = list({line[0]: line for line in lines}.values())  # in each group once
    text = " ".join(("*" if number in managed else "") + "/".join(line) for number, line in enumerate(lines))
    groups, manages = groups_from(text or None)
    assert set(groups) == {group for line in lines for group in line}
    assert len(set(groups)) == len(groups)
    assert set(groups[: len(lines)]) == {line[0] for line in lines}
    assert set(manages) == {line[0] for number, line in enumerate(lines) if number in managed}
