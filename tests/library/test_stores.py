"""Models that are on this machine already: folders, LM Studio's tree, Ollama's store. Real files, hostile ones too."""

import hashlib
import json
import os
import stat
from pathlib import Path

import pytest
from tests.fakes.gguf_file import tiny_model, tiny_projector, tiny_set
from tests.fakes.source import blob_of
from tests.library.shop import Shop

from intramural.core.errors import IntramuralError, Misasked, Missing, Untrusted
from intramural.library import FileSource, Manifest, parse_source
from intramural.library.sources.disk import open_beneath
from intramural.library.sources.reference import OllamaName

BODY = tiny_model(extra_bytes=4096)
APACHE = b"\n  Apache License\n  Version 2.0, January 2004\n"
MODEL, PROJECTOR, LICENCE = (f"application/vnd.ollama.image.{kind}" for kind in ("model", "projector", "license"))
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"


class Ollama:
    """A store as Ollama writes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "blobs").mkdir(parents=True)

    def layer(self, kind: str, body: bytes, **other: object) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        self.blob(digest).write_bytes(body)
        self.blob(digest).chmod(0o644)
        return {"mediaType": kind, "digest": digest, "size": len(body), **other}

    def blob(self, digest: str) -> Path:
        return self.folder / "blobs" / digest.replace(":", "-")

    def model(self, path: str, *layers: dict[str, object], **other: object) -> bytes:
        file = self.folder / "manifests" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        config = {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": "sha256:0", "size": 1}
        said = {"schemaVersion": 2, "mediaType": DOCKER, "config": config, "layers": layers, **other}
        file.write_text(json.dumps(said))
        return file.read_bytes()


@pytest.fixture
def ollama(tmp_path: Path) -> Ollama:
    return Ollama(tmp_path / "models")


async def pulled(shop: Shop, text: str) -> Manifest:
    manifest, _ = await shop.pull(parse_source(text, Path("/nowhere")))
    shop.check_invariant()
    return manifest


async def refusal(shop: Shop, text: str) -> IntramuralError:
    with pytest.raises(IntramuralError) as error:
        await shop.pull(parse_source(text, Path("/nowhere")))
    assert shop.shelved() == shop.library.list() == shop.incoming() == []
    return error.value


def put(path: Path, body: bytes = BODY) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    path.chmod(0o644)
    return path


async def test_ollamas_model_is_linked_with_what_its_store_says(shop: Shop, ollama: Ollama) -> None:
    weights = ollama.layer(MODEL, BODY)
    licence = ollama.layer(LICENCE, APACHE)
    said = ollama.model("registry.ollama.ai/library/tiny/3b", weights, licence)
    manifest = await pulled(shop, f"ollama-store:tiny:3b@{ollama.folder}")
    assert (manifest.name, manifest.weights_name, manifest.weights) == ("tiny:3b", "tiny-3b.gguf", blob_of(BODY))
    assert (manifest.source, manifest.licence, manifest.trust) == ("ollama-store:tiny:3b", "Apache-2.0", "local")
    assert manifest.revision == f"sha256:{hashlib.sha256(said).hexdigest()}"
    original = ollama.blob(manifest.weights.digest)
    assert shop.shelved()[0].samefile(original), "one file, two names"
    assert stat.S_IMODE(original.stat().st_mode) == 0o444
    assert shop.incoming() == []
    assert shop.library.remove("tiny:3b") == 0, "nothing is freed while Ollama has it"
    assert original.read_bytes() == BODY


async def test_ollamas_projector_comes_along(shop: Shop, ollama: Ollama) -> None:
    eye = tiny_projector().build()
    ollama.model("hf.co/someone/Seer-GGUF/Q4_K_M", ollama.layer(MODEL, BODY), ollama.layer(PROJECTOR, eye))
    manifest = await pulled(shop, f"ollama-store:hf.co/someone/Seer-GGUF:Q4_K_M@{ollama.folder}")
    assert manifest.name == "seer-gguf:q4_k_m"
    assert [(file.name, file.role) for file in manifest.files] == [
        ("Seer-GGUF-Q4_K_M.gguf", "weights"),
        ("mmproj-Seer-GGUF-Q4_K_M.gguf", "projector"),
    ]


async def test_a_blob_that_is_not_what_the_store_says_is_refused(shop: Shop, ollama: Ollama) -> None:
    layer = ollama.layer(MODEL, BODY)
    ollama.model("registry.ollama.ai/library/tiny/latest", layer)
    blob = put(ollama.blob(str(layer["digest"])), tiny_model(seed=1, extra_bytes=4096))
    error = await refusal(shop, f"ollama-store:tiny@{ollama.folder}")
    assert (type(error), error.code) == (Untrusted, "digest_mismatch")
    assert stat.S_IMODE(blob.stat().st_mode) == 0o644, "left as it was found"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"digest": "sha256:../../../../etc/passwd"}, "bad_digest"),
        ({"digest": "sha256-" + "0" * 64}, "bad_digest"),
        ({"size": 0}, "bad_size"),
        ({"size": -5}, "bad_size"),
        ({"size": 2**63 - 1}, "disk_full"),
        ({"size": 2**70}, "bad_size"),
        ({"size": "1"}, "bad_registry_manifest"),
        ({"annotations": {"org.opencontainers.image.title": "../../x.gguf"}}, "bad_file_name"),
        ({"mediaType": "application/vnd.ollama.image.adapter"}, "adapter_unsupported"),
        ({"mediaType": "application/x-pickle"}, "source_has_no_gguf"),
    ],
)
async def test_manifests_that_lie(shop: Shop, ollama: Ollama, change: dict[str, object], code: str) -> None:
    ollama.model("registry.ollama.ai/library/tiny/latest", {**ollama.layer(MODEL, BODY), **change})
    assert (await refusal(shop, f"ollama-store:tiny@{ollama.folder}")).code == code


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"schemaVersion":1,"layers":[]}', b"[" * 100_000, b" " * (5 << 20)]
)
async def test_what_is_no_manifest(shop: Shop, ollama: Ollama, body: bytes) -> None:
    ollama.model("registry.ollama.ai/library/tiny/latest")
    put(ollama.folder / "manifests/registry.ollama.ai/library/tiny/latest", body)
    assert (await refusal(shop, f"ollama-store:tiny@{ollama.folder}")).code == "bad_registry_manifest"


async def test_what_the_store_has_not(shop: Shop, ollama: Ollama) -> None:
    error = await refusal(shop, f"ollama-store:absent@{ollama.folder}")
    assert (type(error), error.code) == (Missing, "model_not_in_store")
    layer = ollama.layer(MODEL, BODY)
    ollama.model("registry.ollama.ai/library/tiny/latest", layer)
    ollama.blob(str(layer["digest"])).unlink()
    assert (await refusal(shop, f"ollama-store:tiny@{ollama.folder}")).code == "file_not_readable"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("m", ("registry.ollama.ai", "library", "m", "latest")),
        ("m:3b", ("registry.ollama.ai", "library", "m", "3b")),
        ("me/m:3b", ("registry.ollama.ai", "me", "m", "3b")),
        ("h.example:5000/me/m", ("h.example:5000", "me", "m", "latest")),
    ],
)
def test_names_as_ollama_reads_them(text: str, parts: tuple[str, ...]) -> None:
    name = OllamaName(text)
    assert (name.host, name.namespace, name.model, name.tag) == parts
    assert OllamaName(str(name)).__dict__ == name.__dict__


@pytest.mark.parametrize(
    "text",
    ["..", "../x", "a/../b", "a/b/c/d", "m:", "m:..", ":x", "/etc/x", "a//b", "../../x/m", "m\0", "a b", "h:99/m:a/b"],
)
def test_names_that_lead_elsewhere(text: str) -> None:
    with pytest.raises(Misasked) as refused:
        OllamaName(text)
    assert refused.value.code == "bad_source"


async def test_lm_studios_models(shop: Shop, tmp_path: Path) -> None:
    put(tmp_path / "someone/Tiny-GGUF/Tiny-Q4_K_M.gguf")
    manifest = await pulled(shop, f"lmstudio:someone/Tiny-GGUF@{tmp_path}")
    assert (manifest.name, manifest.source) == ("tiny:q4_k_m", "lmstudio:someone/Tiny-GGUF")
    put(tmp_path / "someone/Tiny-GGUF/Tiny-Q8_0.gguf", tiny_model(seed=2))
    with pytest.raises(Misasked) as several:
        await pulled(shop, f"lmstudio:someone/Tiny-GGUF@{tmp_path}")
    assert several.value.code == "source_ambiguous" and "Tiny-Q8_0.gguf" in several.value.hint
    assert (await pulled(shop, f"lmstudio:someone/Tiny-GGUF/Tiny-Q8_0.gguf@{tmp_path}")).name == "tiny:q8_0"


@pytest.mark.parametrize("name", ["..", "../x", "x/..", "x", "a/b/c/d", "a//b", "/a/b", "a/\0"])
def test_lm_studios_names_that_lead_elsewhere(name: str, tmp_path: Path) -> None:
    with pytest.raises(Misasked):
        parse_source(f"lmstudio:{name}@{tmp_path}", tmp_path)


async def test_shards_and_projector_beside_the_file(shop: Shop, tmp_path: Path) -> None:
    for number, shard in enumerate(tiny_set(2), start=1):
        put(tmp_path / f"Big-Q4_0-0000{number}-of-00002.gguf", shard.build())
    put(tmp_path / "mmproj-Big-f16.gguf", tiny_projector().build())
    put(tmp_path / "unrelated.gguf", tiny_model(seed=10))
    manifest = await pulled(shop, f"file:{tmp_path}/Big-Q4_0-00002-of-00002.gguf")
    assert [file.name for file in manifest.files] == [
        "Big-Q4_0-00001-of-00002.gguf",
        "Big-Q4_0-00002-of-00002.gguf",
        "mmproj-Big-f16.gguf",
    ]
    assert manifest.name == "big:q4_0"
    assert len(shop.shelved()) == 3 and all(file.stat().st_nlink == 2 for file in shop.shelved())
    shop.library.remove("big:q4_0")
    (tmp_path / "Big-Q4_0-00001-of-00002.gguf").unlink()
    assert (await refusal(shop, f"file:{tmp_path}/Big-Q4_0-00002-of-00002.gguf")).code == "shard_missing"


async def test_a_folder_with_one_model(shop: Shop, tmp_path: Path) -> None:
    put(tmp_path / "in" / "Tiny.Q4_0.gguf")
    put(tmp_path / "in" / "README.md", b"words")
    manifest = await pulled(shop, f"file:{tmp_path}/in")
    assert (manifest.name, manifest.source) == ("tiny:q4_0", "file:in")
    assert manifest.weights_name == "Tiny.Q4_0.gguf"


async def test_a_file_on_another_file_system_is_copied(shop: Shop, tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm") / f"intramural-store-{os.getpid()}.gguf"
    if elsewhere.parent.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("one file system only")
    try:
        put(elsewhere)
        await pulled(shop, f"file:{elsewhere}")
        assert not shop.shelved()[0].samefile(elsewhere)
        assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o644
    finally:
        elsewhere.unlink()


async def test_a_linked_file_that_is_refused_gets_its_mode_back(shop: Shop, tmp_path: Path) -> None:
    path = put(tmp_path / "model.gguf", b"not a model, but quite some bytes" * 100)
    await refusal(shop, f"file:{path}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


async def test_what_was_fetched_before_is_not_needed_for_a_link(shop: Shop, tmp_path: Path) -> None:
    path = put(tmp_path / "model.gguf")
    (shop.root / "incoming" / f"{blob_of(BODY).digest[7:]}.part").write_bytes(b"wrong")
    await pulled(shop, f"file:{path}")
    assert shop.incoming() == []


async def test_a_linked_file_that_its_owner_changes_is_refused_at_load(shop: Shop, tmp_path: Path) -> None:
    """He may: it is his. That is what hashing at every load is for."""
    path = put(tmp_path / "model.gguf")
    manifest = await pulled(shop, f"file:{path}")
    path.chmod(0o644)
    path.write_bytes(tiny_model(seed=1, extra_bytes=4096))
    with pytest.raises(Untrusted) as refused:
        await shop.library.verify(manifest)
    assert refused.value.code == "model_digest_mismatch"


def foreign(link: Path, target: Path) -> Path:
    """A symbolic link that another user made."""
    link.symlink_to(target)
    os.chown(link, 65534, 65534, follow_symlinks=False)
    return link


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link to somebody else")


@needs_root
async def test_another_users_links_are_followed_only_when_named(shop: Shop, tmp_path: Path) -> None:
    secret = put(tmp_path / "secret" / "private.gguf")
    shared = tmp_path / "shared"
    shared.mkdir()
    link = foreign(shared / "model.gguf", secret)
    assert (await refusal(shop, f"file:{shared}")).code == "link_refused"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o644
    put(shared / "seer-7b.gguf", tiny_model(seed=1))
    link.rename(shared / "mmproj-seer-7b.gguf")
    assert (await refusal(shop, f"file:{shared}/seer-7b.gguf")).code == "link_refused"
    await pulled(shop, f"file:{shared}/mmproj-seer-7b.gguf")


@needs_root
async def test_another_users_links_in_the_stores(shop: Shop, ollama: Ollama, tmp_path: Path) -> None:
    layer = ollama.layer(MODEL, BODY)
    ollama.model("registry.ollama.ai/library/tiny/latest", layer)
    blob = ollama.blob(str(layer["digest"]))
    foreign(blob, blob.rename(tmp_path / "private.gguf"))
    assert (await refusal(shop, f"ollama-store:tiny@{ollama.folder}")).code == "link_refused"
    foreign(ollama.folder / "manifests/registry.ollama.ai/library/other", ollama.folder / "manifests")
    assert (await refusal(shop, f"ollama-store:other@{ollama.folder}")).code == "link_refused"
    (tmp_path / "tree").mkdir()
    foreign(tmp_path / "tree" / "someone", tmp_path)
    error = await refusal(shop, f"lmstudio:someone/private.gguf@{tmp_path}/tree")
    assert error.code == "link_refused"


async def test_links_of_ones_own_are_followed(shop: Shop, tmp_path: Path) -> None:
    """As a hub's cache has them: `snapshots/COMMIT/x.gguf` leads to `../../blobs/…`."""
    put(tmp_path / "blobs" / "abc")
    (tmp_path / "snapshots" / "1").mkdir(parents=True)
    (tmp_path / "snapshots" / "1" / "tiny.gguf").symlink_to("../../blobs/abc")
    assert (await pulled(shop, f"file:{tmp_path}/snapshots/1")).name == "tiny"
    assert not shop.shelved()[0].is_symlink()


@pytest.mark.parametrize("part", ["", ".", "..", "a/b", "../x", "\0", "loop", "fifo", "folder", "absent"])
def test_nothing_but_a_regular_file_below_the_folder(part: str, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Missing):
        open_beneath(tmp_path, part)
    with pytest.raises(Missing):
        open_beneath(tmp_path / "fifo", "x")
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_folder_with_too_many_entries_is_not_listed(tmp_path: Path) -> None:
    for number in range(10_001):
        (tmp_path / f"{number}").touch()
    with pytest.raises(Misasked) as refused:
        await FileSource(tmp_path).resolve()
    assert refused.value.code == "folder_too_large"
