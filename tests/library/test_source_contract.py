"""Every source, held to one contract."""

import hashlib
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.direct import direct
from tests.fakes import hub as fake_hub
from tests.fakes.gguf_file import tiny_model
from tests.fakes.hub import Hub, Repository
from tests.fakes.registry import OLLAMA, Registry, digest_of
from tests.fakes.web import Reply, Request, WebServer, file_reply, serving
from tests.library.source_contract import Counterpart, SourceContract

from intramural.library import STARTER, FileSource, HubSource, MirrorSource, PackageSource, Source
from intramural.library.sources.hub import HubReference
from intramural.library.sources.reach import Limits, Reach
from intramural.library.sources.reference import OllamaName, parse_reference
from intramural.library.sources.registry import Registries, RegistrySource
from intramural.library.sources.store import OllamaStore

BODY = tiny_model(extra_bytes=1 << 20)
REACH = Reach(direct, limits=Limits(stall_timeout_s=1, backoff_s=0.001, tries=2))


class OnDisk:
    """`file:`"""

    body = BODY

    def __init__(self, folder: Path) -> None:
        self._file = folder / "tiny-Q4_0.gguf"
        self.send(BODY)

    def source(self) -> Source:
        return FileSource(self._file)

    def nothing(self) -> Source:
        return FileSource(self._file.with_name("other.gguf"))

    def send(self, body: bytes) -> None:
        self._file.write_bytes(body)


class InAWheel:
    """`package:`; only what the catalogue pins is read, so this one is the starter itself."""

    def __init__(self, folder: Path, body: bytes) -> None:
        self.body = body
        self._wheel = folder / STARTER.wheel
        self.send(body)

    def source(self) -> Source:
        return PackageSource(self._wheel)

    def nothing(self) -> Source:
        return PackageSource(self._wheel.parent / "none" / STARTER.wheel)

    def send(self, body: bytes) -> None:
        with zipfile.ZipFile(self._wheel, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(STARTER.member, body)


class OnAMirror:
    """`https:`"""

    body = BODY

    def __init__(self, server: WebServer) -> None:
        self._server = server
        self._sent = BODY
        server.respond = self._respond

    def source(self) -> Source:
        return MirrorSource(f"{self._server.url}/tiny-Q4_0.gguf", reach=REACH)

    def nothing(self) -> Source:
        return MirrorSource(f"{self._server.url}/other.gguf", reach=REACH)

    def send(self, body: bytes) -> None:
        self._sent = body

    def _respond(self, request: Request) -> Reply:
        if request.path == "/SHA256SUMS":
            return Reply(200, {}, f"{hashlib.sha256(BODY).hexdigest()}  tiny-Q4_0.gguf\n".encode())
        return file_reply(request, self._sent) if request.path == "/tiny-Q4_0.gguf" else Reply(404)


class OnAHub:
    """`hf:`"""

    body = BODY

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def source(self) -> Source:
        return HubSource(HubReference("acme/tiny"), self._hub.url, None, [self._hub.store.host], REACH)

    def nothing(self) -> Source:
        return HubSource(HubReference("acme/other"), self._hub.url, None, [], REACH)

    def send(self, body: bytes) -> None:
        self._hub.hand_out = lambda request, _: file_reply(request, body)


class InAStore:
    """`ollama-store:`"""

    body = BODY

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "blobs").mkdir()
        layer = {"mediaType": f"{OLLAMA}.model", "digest": digest_of(BODY), "size": len(BODY)}
        manifest = folder / "manifests/registry.ollama.ai/library/tiny/3b"
        manifest.parent.mkdir(parents=True)
        manifest.write_text(json.dumps({"schemaVersion": 2, "layers": [layer]}))
        self.send(BODY)

    def source(self) -> Source:
        return OllamaStore(OllamaName("tiny:3b"), self._folder)

    def nothing(self) -> Source:
        return OllamaStore(OllamaName("other:3b"), self._folder)

    def send(self, body: bytes) -> None:
        (self._folder / "blobs" / digest_of(BODY).replace(":", "-")).write_bytes(body)


class InARegistry:
    """`oci:`"""

    body = BODY

    def __init__(self, server: WebServer, registry: Registry) -> None:
        self._server, self._registry = server, registry
        registry.manifest("3b", registry.layer(f"{OLLAMA}.model", BODY))

    def source(self) -> Source:
        return self._named("library/tiny:3b")

    def nothing(self) -> Source:
        return self._named("library/other:3b")

    def send(self, body: bytes) -> None:
        self._registry.blobs[digest_of(BODY)] = body

    def _named(self, name: str) -> Source:
        reference = parse_reference(f"{self._server.host}/{name}", "http")
        return RegistrySource("oci+http", reference, Registries(reach=REACH))


class TestFile(SourceContract):
    @pytest.fixture
    def there(self, tmp_path: Path) -> Counterpart:
        return OnDisk(tmp_path)


class TestPackage(SourceContract):
    @pytest.fixture
    def there(self, tmp_path: Path, starter_file: Path) -> Counterpart:
        return InAWheel(tmp_path, starter_file.read_bytes())


class TestOllamaStore(SourceContract):
    @pytest.fixture
    def there(self, tmp_path: Path) -> Counterpart:
        (tmp_path / "models").mkdir()
        return InAStore(tmp_path / "models")


class TestRegistry(SourceContract):
    @pytest.fixture
    async def there(self) -> AsyncIterator[Counterpart]:
        registry = Registry()
        async with serving(registry) as server:
            yield InARegistry(server, registry)


class TestMirror(SourceContract):
    @pytest.fixture
    async def there(self) -> AsyncIterator[Counterpart]:
        async with serving(lambda _: Reply(503)) as server:
            yield OnAMirror(server)


class TestHub(SourceContract):
    @pytest.fixture
    async def there(self) -> AsyncIterator[Counterpart]:
        async with fake_hub.running({"acme/tiny": Repository({"tiny-Q4_0.gguf": BODY})}) as hub:
            yield OnAHub(hub)
