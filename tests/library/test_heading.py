"""A model is weighed by the beginnings of its files; the rest is never asked for."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tests.direct import REACH
from tests.fakes.source import LyingSource, blob_of
from tests.fakes.web import Reply, Request, file_reply, serving
from tests.families.families import mixtral, qwen35
from tests.families.tiny import Size, write
from tests.library.shop import Inspector

from intramural.core.errors import IntramuralError, Unavailable
from intramural.library import Blob, Malformed, ModelFile, Offer, weighed
from intramural.library.examination import examine
from intramural.library.sources.mirror import MirrorSource


class Reader(Inspector):
    """The real reader, which does not hash what it is given: there are only beginnings here."""

    async def __call__(self, descriptor: int, size_bytes: int, piece: object = None) -> object:  # type: ignore[override]  # wider
        return examine([descriptor])


@dataclass
class Counting:
    """A source that counts what was taken of it. `missing_bytes` are said to follow, and are never sent."""

    body: bytes
    missing_bytes: int = 0
    chunk_bytes: int = 300_000
    sent: int = 0
    closed: bool = False
    extra: tuple[ModelFile, ...] = field(default=())

    async def resolve(self) -> Sequence[Offer]:
        size_bytes = len(self.body) + self.missing_bytes
        first = ModelFile("tiny.gguf", "weights", Blob(blob_of(self.body).digest, size_bytes))
        return [Offer(files=(first, *self.extra), name="tiny", source="fake:tiny", licence="MIT", trust="local")]

    async def open(self, offer: Offer, file: ModelFile, offset: int) -> AsyncGenerator[bytes, None]:
        assert offset == 0
        assert file.role == "weights"
        try:
            while self.sent < len(self.body):
                chunk = self.body[self.sent : self.sent + self.chunk_bytes]
                self.sent += len(chunk)
                yield chunk
        finally:
            self.closed = True


def tiny(tmp_path: Path, **size: int) -> bytes:
    return write(tmp_path / "tiny.gguf", "llama", mixtral, Size(**size)).read_bytes()


async def test_only_the_beginning_is_fetched(tmp_path: Path) -> None:
    body = tiny(tmp_path, width=256, vocabulary=20_000)
    assert len(body) > 20 << 20
    source = Counting(body)
    (offer,) = await source.resolve()
    found = await weighed(source, offer, Reader(), tmp_path)
    assert source.sent < 3 << 20
    assert source.closed
    assert found.size_bytes == len(body)
    assert (found.shape.experts, found.shape.experts_used) == (4, 2)
    assert 0 < found.shape.expert_bytes < len(body)
    assert found.shape.vocabulary_size == 20_000


async def test_over_http_nothing_behind_the_beginning_is_needed(tmp_path: Path) -> None:
    """The server never sends more than 4 MiB of the 20: who waited for the rest would wait for ever."""
    body = tiny(tmp_path, width=256, vocabulary=20_000)
    sums = f"{blob_of(body).digest.removeprefix('sha256:')}  tiny.gguf\n".encode()

    def respond(request: Request) -> Reply:
        if request.path.endswith("SHA256SUMS"):
            return file_reply(request, sums)
        if request.path.endswith("tiny.gguf"):
            return replace(file_reply(request, body), stall_after=4 << 20)
        return Reply(404)

    async with serving(respond) as server:
        source = MirrorSource(f"{server.url}/models/tiny.gguf", reach=REACH)
        (offer,) = await source.resolve()
        found = await weighed(source, offer, Reader(), tmp_path)
    assert (found.size_bytes, found.shape.vocabulary_size) == (len(body), 20_000)


async def test_a_projector_counts_and_is_not_read(tmp_path: Path) -> None:
    body = tiny(tmp_path)
    projector = ModelFile("mmproj.gguf", "projector", Blob("sha256:" + "0" * 64, 1000))
    source = Counting(body, extra=(projector,))
    (offer,) = await source.resolve()
    assert (await weighed(source, offer, Reader(), tmp_path)).size_bytes == len(body) + 1000


async def test_states_are_seen(tmp_path: Path) -> None:
    body = write(tmp_path / "tiny.gguf", "qwen35", qwen35, Size(layers=4)).read_bytes()
    source = Counting(body)
    (offer,) = await source.resolve()
    shape = (await weighed(source, offer, Reader(), tmp_path)).shape
    assert shape.kv_heads == (0, 0, 0, 1)
    assert shape.state_bytes == 3 * 4 * (3 * (64 + 2 * 2 * 32) + 64 * 32)


async def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    source = Counting(b"GGUX" + bytes(5000))
    (offer,) = await source.resolve()
    with pytest.raises(Malformed):
        await weighed(source, offer, Reader(), tmp_path)


async def test_what_breaks_off_is_not_guessed_at(tmp_path: Path) -> None:
    source = Counting(tiny(tmp_path)[:2000], missing_bytes=10**9)
    (offer,) = await source.resolve()
    with pytest.raises(Unavailable) as caught:
        await weighed(source, offer, Reader(), tmp_path)
    assert caught.value.code == "header_cut_short"


async def test_an_endless_file_ends(tmp_path: Path) -> None:
    source = LyingSource(b"GGUF" + bytes(100), endless=True, chunk_bytes=1 << 20)
    (offer,) = await source.resolve()
    with pytest.raises(IntramuralError):
        await weighed(source, offer, Reader(), tmp_path)
    assert source.closed == 1
