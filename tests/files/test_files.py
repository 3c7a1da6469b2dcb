"""Stored files: whole or not there, their owner's alone, within their share."""

import hashlib
import os
import stat

import pytest
from sqlalchemy import delete
from tests.files.conftest import ADA, BOB, Stores

from intramural.core.actor import Whose
from intramural.core.errors import Broken, IntramuralError, Misasked, Missing, Refused, TooLarge, Unavailable
from intramural.files import Most, check_name
from intramural.retention.holds import is_held
from intramural.storage.schema import people


async def test_bytes_come_back_and_only_this_service_can_read_them(stores: Stores) -> None:
    data = os.urandom(2_500_001)
    file = await stores.put("ada", data)
    assert (file.size_bytes, file.digest) == (len(data), f"sha256:{hashlib.sha256(data).hexdigest()}")
    found, opened = await stores.files.content(ADA, file.id)
    with opened:
        assert (found, opened.read()) == (file, data)
    assert stat.S_IMODE((stores.folder / file.id).stat().st_mode) == 0o600
    assert stat.S_IMODE(stores.folder.stat().st_mode) == 0o700


async def test_an_empty_file_is_one(stores: Stores) -> None:
    file = await stores.put("ada", b"")
    assert file.size_bytes == 0 and await stores.ids("ada") == [file.id]


async def test_nobody_reaches_somebody_elses(stores: Stores) -> None:
    file = await stores.put("ada", b"x")
    assert await stores.ids("bob") == []
    for reach in (stores.files.get(BOB, file.id), stores.files.content(BOB, file.id)):
        with pytest.raises(Missing):
            await reach
    with pytest.raises(Missing):
        async with stores.db.writing() as connection:
            await stores.files.delete(connection, BOB, file.id)
    assert await stores.ids("ada") == [file.id]


async def test_pages_in_both_orders(stores: Stores) -> None:
    stores = stores.again(max_person_files=10)
    made = [(await stores.put("ada", b"x", purpose=p)).id for p in ("batch", "vision", "batch")]
    made.sort()

    async def listed(limit: int, after: str | None, newest_first: bool, purpose: str | None = None) -> list[str]:
        found = await stores.files.list(ADA, purpose=purpose, limit=limit, after=after, newest_first=newest_first)
        return [file.id for file in found]

    assert await listed(2, None, False) == made[:2]
    assert await listed(2, made[1], False) == made[2:]
    assert await listed(2, None, True) == made[:0:-1]
    assert len(await listed(9, None, True, "batch")) == 2
    with pytest.raises(Misasked):
        await listed(0, None, True)


async def test_a_file_over_the_limit_leaves_nothing(stores: Stores) -> None:
    arriving = await stores.files.arriving(ADA)
    with pytest.raises(TooLarge):
        for _ in range(6):
            await arriving.write(bytes(1_000_000))
    assert stores.lying() == [arriving.id + ".part"]
    await stores.files.settled(ADA, arriving)
    assert stores.lying() == []


async def test_an_announced_length_is_refused_before_any_byte(stores: Stores) -> None:
    with pytest.raises(TooLarge):
        await stores.files.arriving(ADA, 5_000_001)
    await stores.put("ada", bytes(4_000_000))
    with pytest.raises(Refused):
        await stores.files.arriving(ADA, 4_500_000)


async def test_a_share_holds_also_for_uploads_at_the_same_time(stores: Stores) -> None:
    first, second = await stores.files.arriving(ADA), await stores.files.arriving(ADA)
    await first.write(bytes(4_000_000))
    await second.write(bytes(4_000_000))
    for arriving in (first, second):
        with pytest.raises(IntramuralError) as refused:
            await arriving.write(b"x")
        assert refused.value.code == "files_quota"
    other = await stores.files.arriving(BOB)
    await other.write(bytes(4_000_000))
    for person, arriving in (("ada", first), ("ada", second), ("bob", other)):
        await stores.files.settled(Whose(person), arriving)
    await stores.put("ada", bytes(4_900_000))


async def test_a_number_of_files_is_the_most(stores: Stores) -> None:
    for _ in range(3):
        await stores.put("ada", b"")
    with pytest.raises(Refused):
        await stores.put("ada", b"")
    await stores.put("bob", b"")


async def test_a_full_disk_is_said_and_leaves_nothing(stores: Stores) -> None:
    full = stores.again(keep_free_bytes=2**62)
    with pytest.raises(Unavailable) as refused:
        await full.put("ada", b"x")
    assert refused.value.code == "disk_full"
    assert stores.lying() == []


async def test_what_a_crash_leaves_is_swept_and_what_is_on_its_way_is_not(stores: Stores) -> None:
    kept = await stores.put("ada", b"x")
    (stores.folder / "file_lost").write_bytes(b"bytes whose row was never written")
    (stores.folder / "file_half.part").write_bytes(b"half")
    arriving = await stores.files.arriving(ADA)
    await arriving.write(bytes(2_000_000))
    await stores.files.sweep()
    assert stores.lying() == sorted([kept.id, arriving.id + ".part"])
    await stores.again().files.open()  # the next start: nothing is on its way any more
    assert stores.lying() == [kept.id]


async def test_a_removed_person_takes_their_bytes_along(stores: Stores) -> None:
    await stores.put("ada", b"x")
    bobs = await stores.put("bob", b"y")
    async with stores.db.writing() as connection:
        await connection.execute(delete(people).where(people.c.id == "ada"))
    await stores.files.sweep()
    assert stores.lying() == [bobs.id]


async def test_what_expired_is_gone_at_once_and_then_from_the_disk(stores: Stores) -> None:
    kept, over = await stores.put("ada", b"x", expires_ms=2**52), await stores.put("ada", b"y", expires_ms=1)
    assert await stores.ids("ada") == [kept.id]
    with pytest.raises(Missing):
        await stores.files.get(ADA, over.id)
    assert await stores.files.any_expired(is_held)
    async with stores.db.writing() as connection:
        gone = await stores.files.expired(connection, is_held)
    await stores.files.drop([file.id for file in gone])
    assert [file.id for file in gone] == [over.id]
    assert stores.lying() == [kept.id]
    assert not await stores.files.any_expired(is_held)


async def test_bytes_that_somebody_removed_are_missed(stores: Stores) -> None:
    file = await stores.put("ada", b"x")
    (stores.folder / file.id).unlink()
    with pytest.raises(Broken) as lost:
        await stores.files.content(ADA, file.id)
    assert lost.value.code == "file_lost"


async def test_a_link_in_the_way_is_not_followed(stores: Stores) -> None:
    arriving = await stores.files.arriving(ADA)
    victim = stores.folder.parent / "victim"
    victim.write_bytes(b"mine")
    (stores.folder / (arriving.id + ".part")).symlink_to(victim)
    await arriving.write(b"overwritten?")
    with pytest.raises(Broken):
        await arriving.finish()
    await stores.files.settled(ADA, arriving)
    assert victim.read_bytes() == b"mine" and stores.lying() == []


@pytest.mark.parametrize(
    ("name", "kept"), [("a.txt", "a.txt"), ("../../etc/passwd", "passwd"), ("C:\\x\\ö.jsonl", "ö.jsonl"), (".x", ".x")]
)
def test_names_lose_their_folders(name: str, kept: str) -> None:
    assert check_name(name) == kept


@pytest.mark.parametrize("name", ["", "a/", "x" * 256, "a\nb", "\x1b[2J", "a\u202egpj.exe", "\x00"])
def test_what_cannot_be_a_name(name: str) -> None:
    with pytest.raises(Misasked):
        check_name(name)


async def test_a_workspace_has_its_own_share_over_all_whose_files_are_in_it(stores: Stores) -> None:
    most = Most({("workspace", "w1"): 1_000_000})
    first = await stores.put("ada", b"x" * 600_000, workspace_id="w1", most=most)
    with pytest.raises(Refused, match=r"workspace.*1000000 bytes"):
        await stores.put("bob", b"x" * 500_000, workspace_id="w1", most=most)
    await stores.put("bob", b"x" * 500_000, workspace_id="w2", most=most)
    assert await stores.files.stored_bytes(("workspace", "w1")) == 600_000
    assert await stores.files.stored_bytes(("person", "bob")) == 500_000
    one, two = Whose("ada", "w1"), Whose("bob", "w1")
    arriving = await stores.files.arriving(one, most=most)
    await arriving.write(b"x" * 300_000)  # what is on its way counts, for everybody there
    with pytest.raises(Refused, match="files_quota"):
        await stores.files.arriving(two, 200_000, most=most)
    await stores.files.settled(one, arriving)
    await stores.files.settled(two, await stores.files.arriving(two, 200_000, most=most))
    async with stores.db.writing() as connection:
        await stores.files.delete(connection, one, first.id)
    assert await stores.files.stored_bytes(("workspace", "w1")) == 0


async def test_a_file_is_reached_where_it_was_stored_and_nowhere_else(stores: Stores) -> None:
    inside, outside = await stores.put("ada", b"in", workspace_id="w1"), await stores.put("ada", b"out")
    for whose, file, other in ((Whose("ada", "w1"), inside, outside), (ADA, outside, inside)):
        assert await stores.files.get(whose, file.id) == file
        with pytest.raises(Missing):
            await stores.files.content(whose, other.id)
        listed = await stores.files.list(whose, purpose=None, limit=10, after=None, newest_first=False)
        assert [each.id for each in listed] == [file.id]
        async with stores.db.writing() as connection:
            with pytest.raises(Missing):
                await stores.files.delete(connection, whose, other.id)
