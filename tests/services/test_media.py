"""Pictures in requests: one's own files, allowed hosts, and nothing else."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest
from tests import databases
from tests.direct import direct
from tests.fakes import pictures
from tests.fakes.gguf_file import tiny_model
from tests.fakes.source import LyingSource
from tests.fakes.web import Reply, Request, WebServer, serving
from tests.library.shop import Shop
from tests.vaults import vault_in

from intramural.audit import AuditLog
from intramural.core.actor import SCOPES, Actor, Whose
from intramural.core.chat import ChatRequest, Image, Message
from intramural.core.clock import SystemClock
from intramural.core.config import AuditConfig, FilesConfig
from intramural.core.errors import IntramuralError, Misasked, Missing, TooLarge
from intramural.files import Files, StoredFile
from intramural.library import Manifest
from intramural.library.manifest import ModelFile
from intramural.services.gate import Gate
from intramural.services.media import MAX_FETCHED, Media, Outward
from intramural.storage import Database

PNG = pictures.png()
MIA = Actor("person", "mia", "mia", "member", frozenset(SCOPES), "session_1")
BOB = Actor("person", "bob", "bob", "member", frozenset(SCOPES), "session_2")


class Desk:
    """Media over real files and a real log."""

    def __init__(self, audit: AuditLog, files: Files, db: Database, manifest: Manifest) -> None:
        self.audit, self.files, self.db = audit, files, db
        self.blind = manifest
        projector = ModelFile("mmproj.gguf", "projector", manifest.weights)
        self.seeing = msgspec.structs.replace(manifest, more=(projector,))

    async def ask(self, *images: Image, actor: Actor = MIA, hosts: tuple[str, ...] = ()) -> list[bytes]:
        """The bytes that the model is given."""
        parts = ("Look: ", *images, "What is it?")
        request = ChatRequest("req_1", "m", (Message("user", "Look: What is it?", parts=parts),))
        media = Media(Gate(self.audit), self.files, self.audit, Outward(hosts), lambda errand: direct)
        resolved = await media.resolved(actor, request, self.seeing)
        found = resolved.messages[0].parts
        assert (found[0], found[-1]) == ("Look: ", "What is it?")
        return [part.data for part in found if isinstance(part, Image)]

    async def store(self, data: bytes) -> StoredFile:
        arriving = await self.files.arriving(Whose("mia"))
        await arriving.write(data)
        await arriving.finish()
        async with self.db.writing() as connection:
            file = await self.files.keep(
                connection, Whose("mia"), arriving, name="a.png", purpose="vision", expires_ms=None
            )
        await self.files.settled(Whose("mia"), arriving)
        return file

    async def fetches(self) -> list[tuple[str, str, dict]]:
        entries = await self.audit.entries()
        return [(e.target, e.outcome, dict(e.facts)) for e in entries if e.event == "image.fetched"]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with AsyncExitStack() as stack:
        clock = SystemClock()
        db = await databases.opened(tmp_path / "test.db")
        stack.push_async_callback(db.close)
        await databases.add_people(db, "mia", "bob")
        audit = await AuditLog.open(db, tmp_path / "secrets", AuditConfig(), clock)
        stack.push_async_callback(audit.close)
        files = Files(
            db, await vault_in(db, tmp_path, "mia", "bob"), tmp_path / "files", FilesConfig(keep_free_bytes=0), clock
        )
        await files.open()
        manifest, _ = await Shop(tmp_path / "library").pull(LyingSource(tiny_model()))
        yield Desk(audit, files, db, manifest)


@pytest.fixture
async def web() -> AsyncIterator[WebServer]:
    def respond(request: Request) -> Reply:
        return Reply(body=PNG)

    async with serving(respond) as server:
        yield server


async def refused(ask: object) -> IntramuralError:
    with pytest.raises(IntramuralError) as caught:
        await ask  # type: ignore[misc]  # a coroutine
    return caught.value


async def test_data_and_own_files_become_bytes_in_their_order(desk: Desk) -> None:
    other = pictures.png(3, 3)
    file = await desk.store(other)
    assert await desk.ask(Image(data=PNG), Image(file_id=file.id), Image(file_id=file.id)) == [PNG, other, other]


async def test_a_model_that_cannot_see_refuses_instead_of_answering_blindly(desk: Desk) -> None:
    desk.seeing = desk.blind
    assert (await refused(desk.ask(Image(data=PNG)))).code == "images_not_supported"
    assert await desk.ask() == []


async def test_somebody_elses_file_is_not_there(desk: Desk) -> None:
    file = await desk.store(PNG)
    error = await refused(desk.ask(Image(file_id=file.id), actor=BOB))
    assert isinstance(error, Missing) and error.code == "file_not_found"


async def test_a_file_that_is_no_picture_is_refused(desk: Desk) -> None:
    text = await desk.store(b"Once upon a time")
    assert (await refused(desk.ask(Image(file_id=text.id)))).code == "bad_image"
    large = await desk.store(pictures.png() + bytes(17 * 2**20))
    assert isinstance(await refused(desk.ask(Image(file_id=large.id))), TooLarge)


async def test_an_address_is_refused_unless_its_host_is_named(desk: Desk, web: WebServer) -> None:
    for hosts in ((), ("example.org",), ("127.0.0.1",)):  # the last one without its port
        error = await refused(desk.ask(Image(url=f"{web.url}/a.png"), hosts=hosts))
        assert isinstance(error, Misasked) and error.code == "url_fetch_refused"
        assert "media.allowed_hosts" in error.hint
    assert web.seen == [] and await desk.fetches() == []


async def test_an_allowed_host_is_asked_and_that_is_written_down(desk: Desk, web: WebServer) -> None:
    assert await desk.ask(Image(url=f"{web.url}/a.png?token=secret"), hosts=(web.host,)) == [PNG]
    assert await desk.fetches() == [
        (f"host:{web.host}", "finished", {"host": web.host, "size_bytes": len(PNG)}),
    ]
    assert "authorization" not in web.seen[0].headers and "cookie" not in web.seen[0].headers


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(body=b"<html>"), "bad_image"),
        (Reply(status=404), "source_not_found"),
        (Reply(body=PNG, endless=True, length=None), "source_too_long"),
        (Reply(status=302, headers={"Location": "http://127.0.0.1:1/x"}), "redirect_refused"),
        (Reply(status=302, headers={"Location": "http://169.254.169.254/latest/meta-data"}), "redirect_refused"),
        (Reply(status=302, headers={"Location": "file:///etc/passwd"}), "redirect_refused"),
    ],
)
async def test_what_a_host_may_not_do(desk: Desk, web: WebServer, reply: Reply, code: str) -> None:
    web.respond = lambda _: reply
    assert (await refused(desk.ask(Image(url=f"{web.url}/a.png"), hosts=(web.host,)))).code == code
    (fetch,) = await desk.fetches()
    assert (fetch[1], fetch[2]["code"]) == ("failed", code)


async def test_few_addresses_at_a_time(desk: Desk, web: WebServer) -> None:
    images = [Image(url=f"{web.url}/{n}") for n in range(MAX_FETCHED + 1)]
    assert (await refused(desk.ask(*images, hosts=(web.host,)))).code == "too_many_images"
    assert web.seen == []


@pytest.mark.parametrize("url", ["http://example.org/a.png", "https://user:pw@example.org/a.png", "https://"])
async def test_addresses_that_nobody_fetches(desk: Desk, url: str) -> None:
    assert (await refused(desk.ask(Image(url=url), hosts=("example.org",)))).code == "bad_url"
