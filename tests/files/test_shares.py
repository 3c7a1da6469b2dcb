"""Shares of people, groups, keys, workspaces and of all together: never more than that, however many upload at once."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import pytest
from sqlalchemy import insert, select
from tests.files.conftest import Stores

from intramural.core.actor import Whose
from intramural.core.errors import Refused
from intramural.files import Holder, Most
from intramural.storage import schema as t

PEOPLE = ("ada", "bob")
GROUP_OF: Mapping[str, tuple[str, ...]] = {"ada": ("class", "school"), "bob": ("school",)}
KB = 1_000


async def organised(stores: Stores) -> None:
    """Ada is in a class, which is in a school that Bob is in."""
    groups = (("school", "school"), ("class", "school/class"))
    async with stores.db.writing() as connection:
        for name, lineage in groups:
            await connection.execute(insert(t.groups).values(id=name, name=name, lineage=lineage, created_ms=0))
        for person_id, group_id in (("ada", "class"), ("bob", "school")):
            row = {"person_id": person_id, "group_id": group_id, "manager": False}
            await connection.execute(insert(t.group_members).values(**row))


async def put(stores: Stores, who: str, size_bytes: int, most: Most, workspace_id: str | None = None) -> str:
    return (await stores.put(who, b"x" * size_bytes, workspace_id=workspace_id, most=most)).id


def most(who: str, shares: Mapping[Holder, int], key_id: str | None = None) -> Most:
    return Most(shares, key_id, GROUP_OF[who])


async def test_a_group_has_its_share_with_the_groups_within(stores: Stores) -> None:
    await organised(stores)
    shares: dict[Holder, int] = {("group", "school"): 100 * KB, ("group", "class"): 40 * KB}
    await put(stores, "ada", 40 * KB, most("ada", shares))
    with pytest.raises(Refused, match=r"group.*40000 bytes"):
        await put(stores, "ada", 1, most("ada", shares))
    await put(stores, "bob", 60 * KB, most("bob", shares))
    with pytest.raises(Refused, match=r"group.*100000 bytes"):
        await put(stores, "bob", 1, most("bob", shares))
    assert await stores.files.stored_bytes(("group", "school")) == 100 * KB
    assert await stores.files.stored_bytes(("group", "class")) == 40 * KB


async def test_a_key_has_its_share_of_what_it_stored_itself(stores: Stores) -> None:
    shares: dict[Holder, int] = {("key", "k1"): 50 * KB}
    file_id = await put(stores, "ada", 50 * KB, most("ada", shares, "k1"))
    with pytest.raises(Refused, match=r"this key.*50000 bytes"):
        await put(stores, "ada", 1, most("ada", shares, "k1"))
    await put(stores, "ada", 70 * KB, most("ada", shares, "k2"))
    await put(stores, "ada", 70 * KB, most("ada", shares))
    assert await stores.files.stored_bytes(("key", "k1")) == 50 * KB
    async with stores.db.writing() as connection:
        assert (await stores.files.delete(connection, Whose("ada"), file_id)).key_id == "k1"
    assert await stores.files.stored_bytes(("key", "k1")) == 0


async def test_all_together_have_a_share_and_a_person_has_no_more_than_the_settings(stores: Stores) -> None:
    shares: dict[Holder, int] = {("everyone", ""): 100 * KB, ("person", "ada"): 10**12}
    await put(stores, "ada", 60 * KB, most("ada", shares))
    with pytest.raises(Refused, match=r"Everybody's files.*100000 bytes"):
        await put(stores, "bob", 50 * KB, most("bob", shares))
    assert await stores.files.stored_bytes(("everyone", "")) == 60 * KB
    small = stores.again(max_person_bytes=70 * KB)
    with pytest.raises(Refused, match=r"Your files.*70000 bytes"):
        await put(small, "ada", 20 * KB, most("ada", shares))


async def test_what_was_kept_while_an_upload_lasts_counts_for_it(stores: Stores) -> None:
    """It began when nothing was there: yet it may not bring more than there is room for now."""
    shares: dict[Holder, int] = {("workspace", "w1"): 100 * KB}
    whose, slow = Whose("ada", "w1"), await stores.files.arriving(Whose("ada", "w1"), most=most("ada", shares))
    await slow.write(b"x" * 10 * KB)
    await put(stores, "bob", 80 * KB, most("bob", shares), "w1")
    await slow.write(b"x" * 10 * KB)
    with pytest.raises(Refused, match="files_quota"):
        await slow.write(b"x")
    await stores.files.settled(whose, slow)
    await put(stores, "ada", 20 * KB, most("ada", shares), "w1")  # and what it held is free again


# many at once ---------------------------------------------------------------------------------------------------------


@dataclass
class Uploading:
    """Uploads at once, in pieces, of which some are given up; looked at after every piece."""

    stores: Stores
    shares: Mapping[Holder, int]
    chance: random.Random
    on_the_way: Counter[Holder] = field(default_factory=Counter)
    kept: Counter[Holder] = field(default_factory=Counter)
    most_seen: Counter[Holder] = field(default_factory=Counter)
    refused: int = 0

    async def one(self) -> None:
        who = self.chance.choice(PEOPLE)
        of = most(who, self.shares, self.chance.choice((None, "k1", "k2")))
        whose = Whose(who, self.chance.choice((None, "w1")))
        pieces = [self.chance.randint(1, 12) * KB for _ in range(self.chance.randint(1, 6))]
        announced = sum(pieces) if self.chance.random() < 0.3 else 0
        gives_up = self.chance.random() < 0.2
        holders, came = of.holders(whose), 0
        try:
            arriving = await self.stores.files.arriving(whose, announced, most=of)
        except Refused:
            self.refused += 1
            return
        try:
            for each in pieces:
                await self._turns()
                await arriving.write(b"x" * each)
                came += each
                self._note(holders, self.on_the_way, each)
            if not gives_up:
                await arriving.finish()
                await self._turns()
                async with self.stores.db.writing() as connection:
                    values = {"name": "a.bin", "purpose": "user_data", "expires_ms": None}
                    await self.stores.files.keep(connection, whose, arriving, most=of, **values)  # type: ignore[arg-type]
                self._note(holders, self.kept, came)
        except Refused:
            self.refused += 1
        finally:
            for each_of in holders:
                self.on_the_way[each_of] -= came
            await self.stores.files.settled(whose, arriving)

    async def _turns(self) -> None:
        """Let others go first, sometimes."""
        for _ in range(self.chance.randint(0, 3)):
            await asyncio.sleep(0)

    def _note(self, holders: tuple[Holder, ...], where: Counter[Holder], size_bytes: int) -> None:
        for each in holders:
            where[each] += size_bytes
            # what was kept a moment ago may still be counted as on its way as well: that is one reservation
            total = self.kept[each] + self.on_the_way[each] - (size_bytes if where is self.kept else 0)
            self.most_seen[each] = max(self.most_seen[each], total)


@pytest.mark.parametrize("seed", range(8))
async def test_many_at_once_never_come_to_more_than_any_share(stores: Stores, seed: int) -> None:
    await organised(stores)
    chance = random.Random(seed)
    subjects: list[Holder] = [
        ("everyone", ""), ("person", "ada"), ("person", "bob"), ("group", "school"), ("group", "class"),
        ("key", "k1"), ("key", "k2"), ("workspace", "w1"),
    ]  # fmt: skip
    shares = {each: chance.randint(20, 160) * KB for each in chance.sample(subjects, chance.randint(2, 6))}
    uploading = Uploading(stores, shares, chance)
    started: list[Callable[[], Awaitable[None]]] = [uploading.one] * 40
    await asyncio.gather(*(each() for each in started))
    assert uploading.refused and sum(uploading.kept.values())
    for holder, share_bytes in shares.items():
        assert uploading.most_seen[holder] <= share_bytes, holder
        assert await stores.files.stored_bytes(holder) == uploading.kept[holder] <= share_bytes
    async with stores.db.reading() as connection:
        rows = (await connection.execute(select(t.files.c.id))).scalars().all()
    assert sorted(rows) == stores.lying()  # of what was refused or given up nothing stays
    room = stores.files._room
    assert not room._uploads and not +room._arriving
