"""What sealing costs: a record, a chat request, indexing a page of text, searching chats and files.

`python -m bench.vault`. Processor time, not time of day: it says the same on a busy machine.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import insert

from intramural.chats import Chats
from intramural.core.clock import SystemClock
from intramural.core.config import VaultConfig
from intramural.files.search import Index, Passage
from intramural.storage import Database
from intramural.storage import schema as t
from intramural.vault import Place, Vault

PERSON = "person_bench"
PLACE = Place("chat_messages", "content")
WORDS = [
    f"{stem}{ending}" for stem in ("cat", "house", "stream", "window", "garden", "letter") for ending in "abcdefgh"
]


def per_call_us(work: Callable[[], object], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times * 1e6


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        clock = SystemClock()
        db = await Database.open(Path(folder) / "bench.db")
        values = {"username": "b", "username_folded": "b", "role": "member", "password_hash": "", "created_ms": 0}
        async with db.writing() as connection:
            await connection.execute(insert(t.people).values(id=PERSON, **values))
        vault = await Vault.open(db, Path(folder) / "secrets", VaultConfig(), clock)
        await vault.prepare(PERSON)
        for size in (100, 1_000, 10_000, 100_000):
            value = b"x" * size
            sealed = vault.seal(PERSON, PLACE, "message_1", value)
            seal = per_call_us(lambda v=value: vault.seal(PERSON, PLACE, "message_1", v), 5_000)
            reveal = per_call_us(lambda s=sealed: vault.reveal(PERSON, PLACE, "message_1", s), 5_000)
            print(f"{size:>7} bytes: seal {seal:5.1f} us, open {reveal:5.1f} us")
        chats = Chats(db, vault, clock)
        await turns(chats)
        await searching_chats(db, chats)
        await indexing(db, vault)
        await db.close()


async def turns(chats: Chats) -> None:
    """What a turn of the page costs here, without the model and the log: a question, and the end of its answer."""
    chat = await chats.create(PERSON, "m", "A title")
    for n in range(10):
        turn = await chats.append_turn(PERSON, chat.id, f"{n} " + "some words " * 90)
        await chats.finish_message(PERSON, turn.assistant_message_id, "some words " * 90, "finished")
    asked, ended, read = [], [], []
    for n in range(200):
        began = time.process_time()
        turn = await chats.append_turn(PERSON, chat.id, f"{n} " + "some words " * 90)
        then = time.process_time()
        await chats.finish_message(PERSON, turn.assistant_message_id, "some words " * 90, "finished")
        last = time.process_time()
        await chats.get(PERSON, chat.id)
        asked.append(then - began), ended.append(last - then), read.append(time.process_time() - last)
        await chats.replace_from(PERSON, chat.id, turn.user_message_id, "gone again")
        _, messages = await chats.get(PERSON, chat.id)
        again = await chats.replace_from(PERSON, chat.id, messages[-4].id, "shorter")
        await chats.finish_message(PERSON, again.assistant_message_id, "some words " * 90, "finished")
    middle = [sorted(each)[100] * 1e3 for each in (asked, ended, read)]
    print(f"a chat of 20 messages of 1 kB: question {middle[0]:.2f}, end of answer {middle[1]:.2f}, "
          f"reading {middle[2]:.2f} ms")  # fmt: skip
    await chats.delete(PERSON, chat.id)


async def searching_chats(db: Database, chats: Chats) -> None:
    for _ in range(100):
        chat = await chats.create(PERSON, "m", "A title")
        async with db.writing() as connection:
            await connection.execute(
                insert(t.chat_messages),
                [
                    {"id": f"{chat.id}_{n}", "chat_id": chat.id, "position": n, "role": "user", "created_ms": 0,
                     "content": chats._vault.seal(PERSON, PLACE, f"{chat.id}_{n}", b"some words " * 90)}
                    for n in range(20)
                ],
            )  # fmt: skip
    began = time.process_time()
    found = await chats.list(PERSON, "nowhere to be found")
    took = time.process_time() - began
    assert not found
    print(f"searching 100 chats with 2,000 messages of 1 kB, in vain: {took * 1000:.0f} ms")


async def indexing(db: Database, vault: Vault) -> None:
    async with db.writing() as connection:
        row = {"name": b"", "purpose": "user_data", "size_bytes": 0, "digest": "", "created_ms": 0}
        await connection.execute(insert(t.files).values(id="file_1", person_id=PERSON, **row))
    index = Index(vault)
    pages = [
        Passage(" ".join(WORDS[(n * 7 + k * k) % len(WORDS)] + str(k % 9) for k in range(190)), n, n)
        for n in range(200)
    ]
    size = (await _size(db)) or 0
    began = time.process_time()
    async with db.writing() as connection:
        await index.add(connection, PERSON, "file_1", pages)
    took = time.process_time() - began
    text = sum(len(page.text) for page in pages)
    grown = (await _size(db)) - size
    print(f"indexing {len(pages)} passages ({text / 1e3:.0f} kB): {took / len(pages) * 1e3:.2f} ms each, "
          f"{grown / text:.1f} bytes a byte of text")  # fmt: skip
    began = time.process_time()
    async with db.reading() as reading:
        for _ in range(20):
            await index.search(reading, PERSON, "cata1 windowb2 letterc3", 8)
    print(f"searching them for three words: {(time.process_time() - began) / 20 * 1e3:.1f} ms")


async def _size(db: Database) -> int:
    async with db.reading() as connection:
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
        size = (await connection.exec_driver_sql("PRAGMA page_size")).scalar_one()
    return int(pages * size)


if __name__ == "__main__":
    asyncio.run(main())
