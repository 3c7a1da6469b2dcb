"""Whether what people keep is as it was left, asked of a whole house: by the command's route, and after a start."""

from pathlib import Path
from typing import Any

from sqlalchemy import delete, select, update
from tests import databases
from tests.house.matrix import World, world

from intramural.app import opened
from intramural.audit import Event, Wanted
from intramural.core.actor import CONSOLE, Actor
from intramural.core.config import load
from intramural.storage import schema as t

CHECK = "/intramural/v1/vault/check"


async def talked(there: World) -> tuple[str, str]:
    """A chat of a member's, and an entry in the log that was told of it, as a question's is."""
    member = there.who["member"].person
    chat = await there.chats.create(member.id, "none:1b")
    turn = await there.chats.append_turn(member.id, chat.id, "a question")
    await there.house.services.vault._audit.record(Event.CHAT_ASKED, _actor(there), facts={"kept": turn.kept})
    return chat.id, turn.assistant_message_id


def _actor(there: World) -> Actor:
    member = there.who["member"].person
    return Actor("person", member.id, member.username, member.role, frozenset({"chats"}), "session_1")


async def checked(there: World) -> list[dict[str, Any]]:
    answer = await there.who["auditor"].client.post(CHECK)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["wrong"])


async def test_what_was_changed_is_found_said_recorded_and_can_be_accepted(tmp_path: Path) -> None:
    async with world(tmp_path / "data") as there:
        chat_id, message_id = await talked(there)
        assert await checked(there) == []
        async with there.db.writing() as connection:
            await connection.execute(delete(t.chat_messages).where(t.chat_messages.c.id == message_id))
        member = there.who["member"]
        answer = await member.client.get(f"/intramural/v1/chats/{chat_id}")
        assert answer.status_code == 503 and answer.json()["error"]["code"] == "chat_changed"
        assert "a question" not in answer.text
        wrong = [{"person_id": member.person.id, "kind": "chat", "id": chat_id, "code": "chat_changed"}]
        assert await checked(there) == wrong
        accept = f"/intramural/v1/people/{member.person.id}/kept/accept"
        assert (await member.client.post(accept)).status_code == 403
        accepted = await there.who["administrator"].client.post(accept)
        assert accepted.json() == {"things": 1, "lost": 0}
        assert (await member.client.get(f"/intramural/v1/chats/{chat_id}")).status_code == 200
        assert await checked(there) == []
        log = await there.house.services.vault._audit.search(Wanted(event="vault.*"), 100)
        found = [(each.event, each.outcome, each.facts.get("wrong")) for each in log.entries]
        assert found[:4] == [
            (Event.VAULT_CHECKED, "allowed", 0),
            (Event.HISTORY_ACCEPTED, "allowed", None),
            (Event.VAULT_CHECKED, "failed", 1),
            (Event.VAULT_CHECKED, "allowed", 0),
        ]


async def test_a_person_as_they_were_yesterday_is_found_by_the_log_and_heads_are_made_once(tmp_path: Path) -> None:
    folder, file = tmp_path / "data", tmp_path / "data" / "intramural.db"
    async with world(folder) as there:
        member = there.who["member"].person.id
        chat_id, _ = await talked(there)
        kept = (t.chats, t.chat_messages, t.chat_roots)
        async with there.db.reading() as connection:
            old = {table: [dict(r._mapping) for r in await connection.execute(select(table))] for table in kept}
        await there.chats.append_turn(member, chat_id, "what was to be forgotten")
        turn = await there.chats.append_turn(member, chat_id, "and more")
        await there.house.services.vault._audit.record(Event.CHAT_ASKED, _actor(there), facts={"kept": turn.kept})
    db = await databases.opened(file)
    async with db.writing() as connection:
        for table in reversed(kept):
            await connection.execute(delete(table))
        for table in kept:
            for row in old[table]:
                await connection.execute(table.insert().values(**row))
    await db.close()
    async with opened(load(databases.settings(file), data_dir=folder)) as house:
        found = await house.services.vault.check(CONSOLE)
        assert [(each.person_id, each.thing_id, each.code) for each in found.wrong] == [
            (member, None, "chats_rolled_back")
        ]
    # taking the heads away does not make the next start make new ones: the log says that they were made
    db = await databases.opened(file)
    async with db.writing() as connection:
        await connection.execute(update(t.chats).values(head=None))
        await connection.execute(delete(t.chat_roots))
        await connection.execute(delete(t.vault_steps))
    await db.close()
    async with opened(load(databases.settings(file), data_dir=folder)) as house:
        codes = {each.code for each in (await house.services.vault.check(CONSOLE)).wrong}
        assert codes == {"chat_changed", "chats_rolled_back"}
