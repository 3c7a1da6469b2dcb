"""Levels of trust: what gives one, what policy asks, at the pull and at every load."""

import shutil
from pathlib import Path

import pytest
from tests.fakes.gguf_file import tiny_model
from tests.fakes.pki import NOW_S, Authority, key_pair
from tests.fakes.source import LyingSource, blob_of
from tests.library.shop import Shop

from intramural.core.clock import SystemClock
from intramural.core.errors import Misasked, Refused, Untrusted
from intramural.library import FileSource, Library, Manifest
from intramural.library.blobs import close_all
from intramural.library.provenance import NamedDigest, SigningKey, TrustPolicy, locked, parse_level, sign
from intramural.library.provenance.signatures import beside

BODY = tiny_model(seed=1)
NAMED = [NamedDigest("tiny.gguf", blob_of(BODY).digest)]


class At(SystemClock):
    """A clock that stands still."""

    def __init__(self, now_s: float = NOW_S) -> None:
        self.at_s = now_s

    def now_s(self) -> float:
        return self.at_s

    def monotonic_s(self) -> float:
        return self.at_s


class House(Shop):
    """A library with a policy, and a folder of those it believes."""

    def __init__(self, root: Path, clock: At) -> None:
        super().__init__(root / "library")
        self.trust = root / "trust"
        self.trust.mkdir()
        self.clock = clock
        self.ask("local")

    def ask(self, level: str) -> None:
        policy = TrustPolicy(parse_level(level), self.trust)
        self.library = Library(self.root, self.inspector, self.clock, policy)

    async def load(self, name: str = "tiny") -> None:
        close_all(await self.library.open_verified(self.library.get(name)))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, At())


def signed(tmp_path: Path, name: str = "publisher") -> tuple[bytes, Path]:
    pair = key_pair(tmp_path, name)
    return sign("tiny", NAMED, SigningKey(pair.private)), pair.public


async def test_a_signature_by_somebody_trusted_makes_a_model_signed(house: House, tmp_path: Path) -> None:
    signature, public = signed(tmp_path)
    shutil.copy(public, house.trust)
    house.ask("signed")
    manifest, _ = await house.pull(LyingSource(BODY, signature=signature))
    assert (manifest.trust, (manifest.signer or "")[:11]) == ("signed", "key sha256:")
    assert house.library.signature("tiny") == signature
    assert locked(manifest).signer == manifest.signer
    await house.load()
    house.library.remove("tiny")
    assert house.library.signature("tiny") is None


async def test_what_nobody_here_knows_counts_for_nothing_but_is_kept(house: House, tmp_path: Path) -> None:
    signature, public = signed(tmp_path)
    manifest, _ = await house.pull(LyingSource(BODY, signature=signature))
    assert (manifest.trust, manifest.signer) == ("local", None)
    shutil.copy(public, house.trust)  # decided later
    assert (await house.library.attach("tiny", house.library.signature("tiny") or b"")).trust == "signed"
    assert house.library.get("tiny").trust == "signed"


async def test_a_signature_of_something_else_refuses_the_model(house: House, tmp_path: Path) -> None:
    signature, public = signed(tmp_path)
    shutil.copy(public, house.trust)
    source = LyingSource(tiny_model(seed=2), signature=signature)
    with pytest.raises(Untrusted) as refused:
        await house.pull(source)
    assert refused.value.code == "signature_mismatch"
    assert source.opened == [] and house.shelved() == []


async def test_a_source_cannot_say_signed(house: House) -> None:
    manifest, _ = await house.pull(LyingSource(BODY, trust="signed"))
    assert manifest.trust == "attested"


@pytest.mark.parametrize(
    ("claimed", "required", "fine"),
    [
        ("local", "local", True),
        ("local", "pinned", False),
        ("pinned", "pinned", True),
        ("pinned", "attested", False),
        ("attested", "attested", True),
        ("attested", "pinned", True),
        ("attested", "signed", False),
    ],
)
async def test_policy_at_the_pull(house: House, claimed: str, required: str, fine: bool) -> None:
    house.ask(required)
    source = LyingSource(BODY, trust=claimed)  # type: ignore[arg-type]  # a level by its name
    if fine:
        await house.pull(source)
        await house.load()
        return
    with pytest.raises(Refused) as refused:
        await house.pull(source)
    assert refused.value.code == "trust_too_low"
    for part in ("library.required_trust", repr(required), repr(claimed)):
        assert part in refused.value.message
    assert refused.value.hint
    assert source.opened == [] and house.shelved() == house.incoming() == []


async def test_policy_at_the_load(house: House) -> None:
    await house.pull(LyingSource(BODY))
    house.ask("pinned")
    with pytest.raises(Refused) as refused:
        await house.load()
    assert refused.value.code == "trust_too_low"


async def test_no_longer_trusting_a_signer_stops_loads(house: House, tmp_path: Path) -> None:
    signature, public = signed(tmp_path)
    anchor = Path(shutil.copy(public, house.trust))
    await house.pull(LyingSource(BODY, signature=signature))
    house.ask("signed")
    await house.load()
    anchor.unlink()
    with pytest.raises(Refused) as refused:
        await house.load()
    assert "not trusted here" in refused.value.message


@pytest.mark.parametrize("damage", ["gone", "cut", "of another model"])
async def test_the_stored_signature_is_checked_at_every_load(house: House, tmp_path: Path, damage: str) -> None:
    signature, public = signed(tmp_path)
    shutil.copy(public, house.trust)
    await house.pull(LyingSource(BODY, signature=signature))
    house.ask("signed")
    stored = house.root / "signatures" / "tiny.sig"
    if damage == "gone":
        stored.unlink()
    elif damage == "cut":
        stored.write_bytes(signature[:100])
    else:
        other = [NamedDigest("tiny.gguf", "sha256:" + "0" * 64)]
        stored.write_bytes(sign("tiny", other, SigningKey(tmp_path / "publisher.key")))
    with pytest.raises(Refused) as refused:
        await house.load()
    assert refused.value.code == "trust_too_low"


async def test_a_certificate_must_be_valid_when_the_model_comes_not_for_ever(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path, "House")
    key, certificate = authority.certify("Model desk", days=(-1, 30))
    signature = sign("tiny", NAMED, SigningKey(key, certificate))
    house = House(tmp_path, At())
    shutil.copy(authority.root, house.trust)
    house.ask("signed")
    await house.pull(LyingSource(BODY, signature=signature))
    house.clock.at_s = NOW_S + 60 * 86400
    await house.load()
    with pytest.raises(Refused) as refused:
        await house.pull(LyingSource(BODY, signature=signature), "late")
    assert "not valid now" in refused.value.message


async def test_signing_here(house: House, tmp_path: Path) -> None:
    pair = key_pair(tmp_path, "desk")
    manifest, _ = await house.pull(LyingSource(BODY))
    signature = sign(manifest.name, NAMED, SigningKey(pair.private))
    standing = await house.library.attach("tiny", signature)
    assert (standing.trust, standing.doubt and standing.doubt.code) == ("local", "signature_wrong_key")
    shutil.copy(pair.public, house.trust)
    house.clock.at_s += 1
    assert (await house.library.attach("tiny", signature)).trust == "signed"
    house.ask("signed")
    await house.load()
    assert locked(house.library.get("tiny")).signer is None  # its source does not have that signature
    with pytest.raises(Untrusted):
        await house.library.attach("tiny", signature[:-100])
    await house.load()


def test_levels_by_name() -> None:
    assert parse_level("attested") == "attested"
    with pytest.raises(Misasked) as refused:
        parse_level("certain")
    assert "pinned" in refused.value.hint


def test_signatures_beside_files(tmp_path: Path) -> None:
    weights = tmp_path / "tiny.gguf"
    assert beside(weights) is None
    (tmp_path / "model.sig").write_bytes(b"of the folder")
    assert beside(weights) == b"of the folder"
    (tmp_path / "tiny.gguf.sig").write_bytes(b"of the file")
    assert beside(weights) == b"of the file"
    (tmp_path / "tiny.gguf.sig").unlink()
    (tmp_path / "tiny.gguf.sig").symlink_to("/etc/hostname")
    assert beside(weights) == b"of the folder"
    (tmp_path / "model.sig").write_bytes(bytes((4 << 20) + 1))
    with pytest.raises(Untrusted):
        beside(weights)


async def test_a_file_with_its_signature_beside_it(house: House, tmp_path: Path) -> None:
    signature, public = signed(tmp_path)
    shutil.copy(public, house.trust)
    weights = tmp_path / "tiny.gguf"
    weights.write_bytes(BODY)
    (tmp_path / "model.sig").write_bytes(signature)
    house.ask("signed")
    manifest, _ = await house.pull(FileSource(weights))
    assert manifest.trust == "signed"
    house.library.remove("tiny")
    weights.write_bytes(tiny_model(seed=2))
    with pytest.raises(Untrusted) as refused:
        await house.pull(FileSource(weights))
    assert refused.value.code == "signature_mismatch"


async def test_damaged_manifest_of_a_signed_model_is_not_believed(house: House) -> None:
    """Somebody writes `signed` into a manifest: without a signature that holds it is worth nothing."""
    manifest, _ = await house.pull(LyingSource(BODY))
    file = house.root / "manifests" / "tiny.json"
    file.write_bytes(file.read_bytes().replace(b'"trust": "local"', b'"trust": "signed"'))
    house.ask("pinned")
    forged: Manifest = house.library.get("tiny")
    assert forged.trust == "signed" and manifest.trust == "local"
    with pytest.raises(Refused) as refused:
        await house.load()
    assert "no longer in the library" in refused.value.message
