"""Files that a client sends: under their digest or not at all, and not for ever."""

import hashlib
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.fakes.gguf_file import tiny_model
from tests.library.shop import Shop

from intramural.core.clock import SystemClock
from intramural.core.errors import IntramuralError
from intramural.library.sources.upload import UploadSource, spelt
from intramural.library.uploads import KEPT_S, Uploads

BODY = tiny_model(extra_bytes=100_000)


def digest_of(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


@pytest.fixture
def uploads(shop: Shop) -> Uploads:
    return Uploads(shop.root, SystemClock())


async def chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 9999):
        yield body[start : start + 9999]


def kept(shop: Shop) -> list[Path]:
    return list((shop.root / "uploads").iterdir())


async def test_what_came_is_kept_under_its_digest(shop: Shop, uploads: Uploads) -> None:
    assert uploads.find(digest_of(BODY)) is None
    assert await uploads.receive(digest_of(BODY), chunks(BODY), len(BODY)) == len(BODY)
    path = uploads.find(digest_of(BODY))
    assert path is not None and path.read_bytes() == BODY
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert kept(shop) == [path]


@pytest.mark.parametrize(
    ("digest", "body", "announced", "code"),
    [
        (digest_of(BODY), BODY[:-1], None, "digest_mismatch"),
        (digest_of(b""), b"", None, "empty_upload"),
        ("sha256:../../etc/passwd", BODY, None, "bad_digest"),
        (digest_of(BODY), BODY, 2**60, "disk_full"),
    ],
)
async def test_nothing_else_is(
    shop: Shop, uploads: Uploads, digest: str, body: bytes, announced: int | None, code: str
) -> None:
    with pytest.raises(IntramuralError) as caught:
        await uploads.receive(digest, chunks(body), announced)
    assert caught.value.code == code
    assert kept(shop) == []


async def test_a_client_that_leaves_leaves_nothing(shop: Shop, uploads: Uploads) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield BODY[:5000]
        raise ConnectionResetError

    with pytest.raises(IntramuralError):
        await uploads.receive(digest_of(BODY), broken(), len(BODY))
    assert kept(shop) == []


async def test_what_nobody_made_a_model_of_goes(shop: Shop, uploads: Uploads) -> None:
    await uploads.receive(digest_of(BODY), chunks(BODY), None)
    left = shop.root / "uploads" / "0.part"
    left.write_bytes(b"of a service that was killed")
    uploads.sweep()
    assert len(kept(shop)) == 2
    uploads.sweep(at_start=True)
    (path,) = kept(shop)
    old_s = SystemClock().now_s() - KEPT_S - 1
    os.utime(path, (old_s, old_s))
    uploads.sweep()
    assert kept(shop) == []


async def test_a_model_of_it_is_linked_not_copied(shop: Shop, uploads: Uploads) -> None:
    await uploads.receive(digest_of(BODY), chunks(BODY), None)
    text = spelt({"Tiny-Q4_0.gguf": digest_of(BODY)})
    manifest, _ = await shop.pull(UploadSource(text.removeprefix("upload:"), uploads.find))
    assert (manifest.name, manifest.source, manifest.trust) == ("tiny:q4_0", "upload:Tiny-Q4_0.gguf", "local")
    shelved = shop.blobs.path(digest_of(BODY))
    assert shelved.stat().st_nlink == 2
    uploads.discard([digest_of(BODY)])
    assert kept(shop) == [] and uploads.find(digest_of(BODY)) == shelved
    again, _ = await shop.pull(UploadSource(text.removeprefix("upload:"), uploads.find), "again")
    assert again.weights == manifest.weights
    shop.check_invariant()


async def test_what_is_no_model_is_refused_and_not_shelved(shop: Shop, uploads: Uploads) -> None:
    body = b"no model at all, however it is called"
    await uploads.receive(digest_of(body), chunks(body), None)
    with pytest.raises(IntramuralError):
        await shop.pull(UploadSource(spelt({"x.gguf": digest_of(body)}).removeprefix("upload:"), uploads.find))
    assert shop.shelved() == []


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"../x.gguf": "0" * 64}, "bad_source"),
        ({"x,y.gguf": "0" * 64}, "bad_source"),
        ({"": "0" * 64}, "bad_source"),
        ({"x.gguf": "0" * 63}, "bad_source"),
        ({"x.gguf": "0" * 64}, "blob_not_found"),
        ({"x.bin": "0" * 64}, "source_has_no_gguf"),
        ({"x.gguf": "0" * 64, "y.gguf": "0" * 64}, "source_ambiguous"),
        ({"x-00001-of-00002.gguf": "0" * 64}, "shard_missing"),
        ({".x.gguf": "0" * 64}, "bad_file_name"),
    ],
)
async def test_what_files_cannot_be_a_model(uploads: Uploads, files: dict[str, str], code: str) -> None:
    with pytest.raises(IntramuralError) as caught:
        await UploadSource(spelt(files).removeprefix("upload:"), uploads.find).resolve()
    assert caught.value.code == code
