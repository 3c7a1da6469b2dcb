"""A house's rooms that keep things, and what deletes them: real database, files, states and log; a clock to set.

As a program (`python -m tests.services.keeping FOLDER DATABASE`) it deletes what is due there, saying
each step beforehand.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Table, insert, select
from tests import databases
from tests.audit.settable_clock import SettableClock

from intramural.access import NO_AGES, Access, AgeRules, Charter
from intramural.audit import AuditLog, Entry, Event
from intramural.batches import Batches
from intramural.chats import Chats, KeptResponse, KeptResponses, Transcripts
from intramural.core.actor import SCOPES, Actor
from intramural.core.config import AccessConfig, AuditConfig, FilesConfig, RetentionConfig, VaultConfig
from intramural.files import Files, StoredFile
from intramural.retention import HOLDS_FILE, HoldList, Holds, Kept
from intramural.services.gate import Gate
from intramural.services.holds import HoldDesk
from intramural.services.purging import Doing, Purging
from intramural.serving.states import Home, States
from intramural.storage import Database
from intramural.storage import schema as t
from intramural.vault import Stored, Vault, Whole

DAY_S = 86_400
HOME = Home("sha256:0", "as usual")


def person(name: str, role: str = "member", **more: Any) -> Actor:
    return Actor("person", name, name, role, frozenset(SCOPES), f"session_{name}", **more)


ADA, BOB, AUDITOR = person("ada"), person("bob"), person("aud", "auditor")


class Keeping:
    """Everything opened. `days` are the settings of `retention`."""

    def __init__(self, folder: Path, stack: AsyncExitStack, clock: SettableClock, place: Path | str | None) -> None:
        self.folder, self.stack, self.clock, self.place = folder, stack, clock, place
        self.steps: list[Callable[[], Any]] = []
        self.forgotten: list[str] = []

    async def open(self, label: str = "internal", **days: int) -> "Keeping":
        self.db = await (Database.open(self.place) if self.place else databases.opened(self.folder / "intramural.db"))
        self.stack.push_async_callback(self.db.close)
        secrets = self.folder / "secrets"
        self.vault = await Vault.open(self.db, secrets, VaultConfig(), self.clock)
        self.audit = await AuditLog.open(self.db, secrets, AuditConfig(record_prompts=True), self.clock, self.vault)
        self.stack.push_async_callback(self.audit.close)
        self.access = await Access.open(self.db, secrets, AccessConfig(), self.clock)
        self.stack.push_async_callback(self.access.close)
        self.chats = Chats(self.db, self.vault, self.clock)
        self.responses = KeptResponses(self.db, self.vault, self.clock, 36_500)
        self.transcripts = Transcripts(self.db, self.vault, self.clock)
        self.batches = Batches(self.db, self.vault, self.clock)
        self.files = Files(self.db, self.vault, self.folder / "files", FilesConfig(keep_free_bytes=0), self.clock)
        await self.files.open()
        rooms = (self.chats, self.responses, self.transcripts, self.files, self.batches)
        self.whole = Whole(self.db, [each.heads for each in rooms])
        self.states = States(self.folder / "states", self.vault.states_key, 10**7, "an engine")
        self.states.open()
        self.holds, self.kept = Holds(self.db, self.clock), Kept(self.db)
        self.gate = Gate(self.audit, (), self.vault, self.holds.on)
        listed = HoldList(secrets / HOLDS_FILE)
        self.desk = HoldDesk(self.gate, self.holds, self.audit, self.access.seal, listed)
        self.set(label, **days)
        return self

    def set(self, label: str = "internal", ages: AgeRules = NO_AGES, **days: int) -> None:
        """Settings as after a restart."""
        self.purging = Purging(
            self.gate,
            self.audit,
            self.kept,
            self.holds,
            self.access.workspaces.list,
            RetentionConfig(**days),
            label,
            self.clock,
            Doing(
                self._forget,
                self._forget_older,
                {
                    "chats": self.chats.purge,
                    "responses": self.responses.purge,
                    "conversations": self.transcripts.purge,
                    "batches": self.batches.purge,
                    "files": self.files.purge,
                },
                self.files.drop,
                self.desk.follow,
                Stored(self.db, self.clock).scrub,
            ),
            ages,
        )

    async def _forget(self, person_id: str) -> None:
        self.forgotten.append(person_id)
        self.states.forget(person_id, for_good=False)
        for step in self.steps:
            done = step()
            if done is not None:
                await done

    async def _forget_older(self, before_s: float) -> int:
        return self.states.forget_older(before_s)

    # what people leave

    async def people(self, *actors: Actor) -> None:
        for each in actors:
            row = {"id": each.person_id, "username": each.username, "username_folded": each.username}
            async with self.db.writing() as connection:
                await connection.execute(insert(t.people).values(**row, role=each.role, password_hash="", created_ms=0))
            await self.vault.prepare(each.person_id)

    async def workspace(self, name: str, label: str = "internal", **days: int) -> str:
        async with self.db.writing() as connection:
            charter = Charter(name, label, retention_days=days)  # type: ignore[arg-type]  # a test's own
            return (await self.access.workspaces.create(connection, charter)).place.id

    async def chat(self, who: Actor, words: str, workspace_id: str | None = None) -> str:
        chat = await self.chats.create(who.person_id, "m", workspace_id=workspace_id)
        turn = await self.chats.append_turn(who.person_id, chat.id, words)
        await self.chats.finish_message(who.person_id, turn.assistant_message_id, f"{words} indeed", "finished")
        return chat.id

    async def response(self, who: Actor, name: str) -> str:
        item = {"id": f"msg_{name}", "type": "message", "text": "said"}
        await self.responses.keep(who.whose, KeptResponse(name, {"id": name}, (item,), ()))
        return name

    async def file(self, who: Actor, data: bytes, name: str = "a.txt") -> StoredFile:
        arriving = await self.files.arriving(who.whose, len(data))
        await arriving.write(data)
        await arriving.finish()
        async with self.db.writing() as connection:
            kept = await self.files.keep(
                connection, who.whose, arriving, name=name, purpose="user_data", expires_ms=None
            )
        await self.files.settled(who.whose, arriving)
        while (file := await self.files.unindexed()) is not None:
            await self.files.index(file)
        return kept

    def state(self, who: Actor, age_days: float = 0) -> Path:
        """Something that a model has computed for them, on the disk."""
        source = self.folder / "source"
        source.write_bytes(b"computed" * 100)
        before = {*self.states_lying()}
        descriptor = os.open(source, os.O_RDONLY)
        try:
            assert self.states.keep(who.person_id, HOME, (os.urandom(16),), descriptor, 800)
        finally:
            os.close(descriptor)
        (made,) = {*self.states_lying()} - before
        used_s = self.clock.now_s() - age_days * DAY_S
        os.utime(made, (used_s, used_s))
        return made

    # looking

    def states_lying(self) -> list[Path]:
        return list((self.folder / "states").rglob("*.state"))

    async def rows(self, table: Table) -> list[Any]:
        async with self.db.reading() as connection:
            return list((await connection.execute(select(table))).all())

    async def told(self, event: Event = Event.RETENTION_PURGED) -> list[Entry]:
        """The newest first."""
        return await self.audit.entries(limit=1_000, event=event)

    def later(self, days: float) -> None:
        self.clock.offset_s += days * DAY_S


@asynccontextmanager
async def keeping(
    folder: Path, label: str = "internal", *, offset_s: float = 0, place: Path | str | None = None, **days: int
) -> AsyncIterator[Keeping]:
    """Opened, and closed at the end."""
    clock = SettableClock()
    clock.offset_s = offset_s
    async with AsyncExitStack() as stack:
        yield await Keeping(folder, stack, clock, place).open(label, **days)


async def _main(folder: Path, place: Path | str) -> None:
    async with keeping(folder, place=place, offset_s=40 * DAY_S, chat_days=30, file_days=30) as house:
        house.steps.append(lambda: print("step", flush=True))
        progress = await house.purging.round()
        print("done", dict(progress.deleted), progress.error, flush=True)


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), sys.argv[2] if "://" in sys.argv[2] else Path(sys.argv[2])))
