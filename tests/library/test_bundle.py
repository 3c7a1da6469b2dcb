"""Bundles: carried to a library that never saw their models, and every way in which one may have been changed."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.chance import tries
from tests.fakes.gguf_file import tiny_model
from tests.fakes.pki import NOW_S, key_pair
from tests.fakes.source import LyingSource, blob_of
from tests.library.shop import Shop

from intramural.core.errors import Conflicting, IntramuralError, Misasked, Missing, Refused, Untrusted
from intramural.library import Blob, Manifest
from intramural.library.library import Library
from intramural.library.provenance import NamedDigest, SigningKey, TrustPolicy, parse_level, read_anchors, sign
from intramural.library.provenance.archive import END, header, padding
from intramural.library.provenance.bundle import blobs_known, lay_out, read_bundle, write_bundle
from intramural.library.provenance.lock import locked, write_lock
from intramural.library.sources.bundle import BundleSource

BODIES = {"one": tiny_model(seed=1), "two": tiny_model(seed=2, extra_bytes=4992), "three": tiny_model(seed=3)}
MADE_MS = int(NOW_S * 1000)


class Site:
    """A library with those it believes."""

    def __init__(self, root: Path, level: str = "local") -> None:
        root.mkdir()
        self.shop = Shop(root / "library")
        self.trust = root / "trust"
        self.trust.mkdir()
        policy = TrustPolicy(parse_level(level), self.trust)
        self.shop.library = Library(self.shop.root, self.shop.inspector, None, policy)

    def believe(self, key: Path) -> "Site":
        shutil.copy(key, self.trust)
        return self

    def source(self, path: Path) -> BundleSource:
        return BundleSource(path, read_anchors(self.trust), self.shop.library.missing, now_s=NOW_S)

    async def import_(self, path: Path) -> list[Manifest]:
        return list(await self.shop.library.pull_all(self.source(path), lambda _: None))

    async def refuses(self, path: Path) -> IntramuralError:
        """The refusal; nothing is changed by it."""
        before = snapshot(self.shop.root)
        with pytest.raises(IntramuralError) as refused:
            await self.import_(path)
        assert snapshot(self.shop.root) == before
        assert refused.value.hint
        return refused.value


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}


class Desk:
    """Where bundles are made: a library with models, and a key."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        self.root = root
        self.shop = Shop(root / "library")
        self.pair = key_pair(root, "desk")
        self.key = SigningKey(self.pair.private)
        self.models: dict[str, Manifest] = {}

    async def stock(self, *names: str) -> None:
        for name in names:
            self.models[name], _ = await self.shop.pull(LyingSource(BODIES[name], trust="attested"), name)

    async def export(
        self,
        name: str = "out.bundle",
        *,
        models: tuple[str, ...] = ("one", "two"),
        key: bool = True,
        folder: bool = False,
        known: tuple[Blob, ...] = (),
    ) -> Path:
        chosen = [(self.models[each], self.shop.library.signature(each)) for each in models]
        layout = lay_out(chosen, {"licences.json": b"[]\n"}, known, made_ms=MADE_MS)
        path = self.root / name
        seen: list[int] = []
        opener = self.shop.library.open_unverified
        await write_bundle(path, layout, opener, key=self.key if key else None, folder=folder, on_bytes=seen.append)
        assert seen == sorted(seen)
        return path


@pytest.fixture
async def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path / "desk")
    await made.stock("one", "two")
    return made


@pytest.fixture
def site(tmp_path: Path, desk: Desk) -> Site:
    return Site(tmp_path / "site").believe(desk.pair.public)


# what arrives ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", [False, True])
async def test_there_and_back(desk: Desk, site: Site, folder: bool) -> None:
    manifests = await site.import_(await desk.export(folder=folder))
    assert [each.name for each in manifests] == ["one", "two"]
    for each in manifests:
        was = desk.models[each.name]
        assert (each.digest, each.source, each.licence, each.trust) == (was.digest, "fake:tiny", "MIT", "attested")
        await site.shop.library.verify(each)
    site.shop.check_invariant()
    assert site.shop.incoming() == []
    assert [each.name for each in await site.import_(await desk.export("again", folder=folder))] == ["one", "two"]


async def test_the_same_models_make_the_same_bytes(desk: Desk) -> None:
    one, two = await desk.export("a", key=False), await desk.export("b", key=False, models=("two", "one"))
    assert one.read_bytes() == two.read_bytes()


async def test_tar_reads_it(desk: Desk, tmp_path: Path) -> None:
    path = await desk.export()
    with tarfile.open(path) as archive:
        names = archive.getnames()
        archive.extractall(tmp_path / "out", filter="data")
    assert names[:2] == ["bundle.json", "bundle.sig"]
    found = [file.read_bytes() for file in (tmp_path / "out" / "blobs" / "sha256").iterdir()]
    assert sorted(found) == sorted(BODIES[name] for name in ("one", "two"))


async def test_the_reference_implementation_checks_an_unpacked_bundle(desk: Desk) -> None:
    import model_signing.hashing
    import model_signing.verifying

    path = await desk.export(folder=True)
    ignoring = model_signing.hashing.Config().set_ignored_paths(paths=[path / "bundle.sig"])
    config = model_signing.verifying.Config().set_hashing_config(ignoring)
    config.use_elliptic_key_verifier(public_key=desk.pair.public).verify(path, path / "bundle.sig")


async def test_the_publishers_own_signature_comes_along(desk: Desk, site: Site, tmp_path: Path) -> None:
    publisher = key_pair(tmp_path, "publisher")
    named = [NamedDigest("tiny.gguf", blob_of(BODIES["one"]).digest)]
    await desk.shop.library.attach("one", sign("one", named, SigningKey(publisher.private)))
    site.believe(publisher.public)
    one, two = await site.import_(await desk.export())
    assert (one.trust, two.trust) == ("signed", "attested")
    assert site.shop.library.signature("one") == desk.shop.library.signature("one")


# deltas ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["lock", "bundle", "folder"])
async def test_a_delta_carries_only_what_the_other_side_lacks(desk: Desk, site: Site, by: str) -> None:
    first = await desk.export("first", models=("one",), folder=by == "folder")
    (there,) = await site.import_(first)
    have = first
    if by == "lock":
        have = desk.root / "models.lock"
        have.write_text(write_lock([locked(there)]))
    delta = await desk.export("delta", known=tuple(blobs_known(have)))
    assert BODIES["one"] not in delta.read_bytes() and BODIES["two"] in delta.read_bytes()
    assert [each.name for each in await site.import_(delta)] == ["one", "two"]
    site.shop.check_invariant()


async def test_a_delta_for_somebody_else(desk: Desk, site: Site) -> None:
    error = await site.refuses(await desk.export(known=(blob_of(BODIES["one"]),)))
    assert (type(error), error.code) == (Missing, "bundle_delta")


async def test_what_is_no_list_of_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"\xff\x00junk")
    with pytest.raises(Misasked) as refused:
        blobs_known(tmp_path / "junk")
    assert refused.value.code == "bad_lock"
    with pytest.raises(Missing):
        blobs_known(tmp_path / "absent")


# who made it ----------------------------------------------------------------------------------------------------------


async def test_by_somebody_unknown(desk: Desk, tmp_path: Path) -> None:
    error = await Site(tmp_path / "other").refuses(await desk.export())
    assert (type(error), error.code) == (Untrusted, "signature_wrong_key")


async def test_unsigned_is_local_and_refused_where_policy_asks_for_more(desk: Desk, tmp_path: Path) -> None:
    path = await desk.export(key=False)
    one, _ = await Site(tmp_path / "easy").import_(path)
    assert (one.trust, one.source) == ("local", "bundle:out.bundle")
    error = await Site(tmp_path / "strict", "pinned").refuses(path)
    assert (type(error), error.code) == (Refused, "trust_too_low")


async def test_a_signature_of_another_bundle(desk: Desk, site: Site) -> None:
    path, other = await desk.export("a", folder=True), await desk.export("b", folder=True, models=("one",))
    shutil.copy(other / "bundle.sig", path / "bundle.sig")
    assert (await site.refuses(path)).code.startswith("signature_")


# changed on the way ---------------------------------------------------------------------------------------------------


async def test_cut_anywhere(desk: Desk, site: Site, tmp_path: Path) -> None:
    whole = (await desk.export()).read_bytes()
    path = tmp_path / "cut"
    for length in [0, 1, 511, 512, 513, len(whole) // 2, *range(len(whole) - 1100, len(whole), 100), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert (await site.refuses(path)).code in {"bundle_truncated", "bundle_unreadable", "signature_unreadable"}


async def test_no_byte_can_be_changed(desk: Desk, site: Site, tmp_path: Path) -> None:
    whole = (await desk.export()).read_bytes()
    path = tmp_path / "changed"

    @settings(max_examples=tries(60), suppress_health_check=list(HealthCheck), deadline=None)
    @given(at=st.integers(0, len(whole) - 1), flip=st.integers(1, 255))
    def run(at: int, flip: int) -> None:
        changes.append((at, flip))

    changes: list[tuple[int, int]] = []
    run()
    for at, flip in changes:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
        await site.refuses(path)


async def test_changed_weights_change_nothing_even_of_the_models_before(desk: Desk, site: Site) -> None:
    path = await desk.export(folder=True)
    last = path / "blobs" / "sha256" / blob_of(BODIES["two"]).digest[7:]
    body = bytearray(last.read_bytes())
    body[-1] ^= 1
    last.write_bytes(body)
    assert (await site.refuses(path)).code == "digest_mismatch"


async def test_models_that_fail_inspection_change_nothing(desk: Desk, site: Site) -> None:
    """Well signed, well carried, and no GGUF: then the model before it does not stay either."""
    junk = b"this is no model" * 10
    manifest = desk.models["one"]
    from msgspec import structs

    liar = structs.replace(manifest, name="zzz", weights=blob_of(junk), weights_name="zzz.gguf")
    layout = lay_out([(manifest, None), (liar, None)], {}, made_ms=MADE_MS)
    shelf = {blob_of(body).digest: body for body in (BODIES["one"], junk)}

    def opener(digest: str) -> int:
        file = desk.root / "body"
        file.write_bytes(shelf[digest])
        return os.open(file, os.O_RDONLY)

    path = desk.root / "liar"
    await write_bundle(path, layout, opener, key=desk.key)
    error = await site.refuses(path)
    assert isinstance(error, Untrusted)


async def test_a_bundle_swapped_after_it_was_checked(desk: Desk, site: Site) -> None:
    path, other = await desk.export("a"), await desk.export("b", models=("two",))
    source = site.source(path)
    (offer, *_) = await source.resolve()
    other.replace(path)
    with pytest.raises(Untrusted):
        async for _ in source.open(offer, offer.files[0], 0):
            pass


# hostile archives -----------------------------------------------------------------------------------------------------

Members = list[tuple[tarfile.TarInfo, bytes]]


def unpacked(path: Path) -> Members:
    with tarfile.open(path) as archive:
        return [(info, (archive.extractfile(info) or io.BytesIO()).read()) for info in archive.getmembers()]


def packed(path: Path, members: Members) -> Path:
    with path.open("wb") as file:
        for info, body in members:
            file.write(info.tobuf(tarfile.GNU_FORMAT) + body + padding(len(body)))
        file.write(END)
    return path


def other(
    name: str, kind: bytes = tarfile.REGTYPE, size: int | None = None, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size or 0
    return info, b""


def insert(at: int, *entry: object, **more: object) -> Callable[[Members], None]:
    return lambda members: members.insert(at, other(*entry, **more))  # type: ignore[arg-type]  # see `other`


def replaced(at: int, *entry: object, **more: object) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        members[at] = other(*entry, **more)  # type: ignore[arg-type]  # see `other`

    return change


def field(at: int, name: str, value: object) -> Callable[[Members], None]:
    return lambda members: setattr(members[at][0], name, value)


BLOB = "blobs/sha256/" + "0" * 64


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (insert(2, "../../evil"), "bundle_names"),
        (insert(2, "/etc/cron.d/evil"), "bundle_names"),
        (insert(2, "blobs/../../evil"), "bundle_names"),
        (insert(2, "evil"), "bundle_extra"),
        (insert(2, BLOB, tarfile.SYMTYPE, link="/etc/passwd"), "bundle_not_a_file"),
        (insert(2, BLOB, tarfile.LNKTYPE, link="bundle.json"), "bundle_not_a_file"),
        (insert(2, "dev", tarfile.CHRTYPE), "bundle_not_a_file"),
        (insert(2, "dev", tarfile.BLKTYPE), "bundle_not_a_file"),
        (insert(2, "fifo", tarfile.FIFOTYPE), "bundle_not_a_file"),
        (insert(2, "blobs", tarfile.DIRTYPE), "bundle_not_a_file"),
        (insert(2, "sparse", tarfile.GNUTYPE_SPARSE), "bundle_not_a_file"),
        (insert(2, "pax", tarfile.XHDTYPE), "bundle_not_a_file"),
        (insert(2, "long", tarfile.GNUTYPE_LONGNAME), "bundle_not_a_file"),
        (insert(2, "bundle.json"), "bundle_duplicate"),
        (insert(3, "models/0001.json"), "bundle_duplicate"),
        (lambda members: members.append(members[-1]), "bundle_duplicate"),
        (lambda members: members.append(other("evil")), "bundle_extra"),
        (lambda members: members.pop(), "bundle_truncated"),
        (lambda members: members.pop(2), "bundle_extra"),
        (lambda members: members.pop(0), "bundle_extra"),
        (lambda members: members.reverse(), "bundle_extra"),
        (replaced(1, "bundle.sig", tarfile.SYMTYPE, link="/dev/zero"), "bundle_not_a_file"),
        (replaced(0, "bundle.json", tarfile.SYMTYPE, link="/dev/zero"), "bundle_not_a_file"),
        (replaced(0, "bundle.json", size=1 << 40), "bundle_too_large"),
        (replaced(1, "bundle.sig", size=1 << 40), "bundle_too_large"),
        (field(-1, "size", 1 << 62), "bundle_damaged"),
        (field(-1, "mode", 0o4755), "bundle_damaged"),
        (field(-1, "mtime", 1), "bundle_damaged"),
        (field(-1, "uid", 1), "bundle_damaged"),
        (field(-1, "uname", "root"), "bundle_damaged"),
        (field(-1, "linkname", "x"), "bundle_damaged"),
    ],
)
async def test_hostile_archives(desk: Desk, site: Site, change: Callable[[Members], object], code: str) -> None:
    path = await desk.export()
    members = unpacked(path)
    change(members)
    error = await site.refuses(packed(path, members))
    assert (type(error), error.code) == (Untrusted, code)
    assert not list(desk.root.parent.rglob("evil"))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda path: (path / "evil").write_bytes(b"evil"), "bundle_extra"),
        (lambda path: (path / "evil").symlink_to("/etc/passwd"), "bundle_not_a_file"),
        (lambda path: os.mkfifo(path / "evil"), "bundle_not_a_file"),
        (lambda path: (path / "a/b/c/d").mkdir(parents=True), "bundle_not_a_file"),
        (lambda path: (path / "licences.json").unlink(), "bundle_truncated"),
        (lambda path: (path / "licences.json").write_bytes(b"[]"), "bundle_truncated"),
        (lambda path: (path / "licences.json").write_bytes(b"{}\n"), "bundle_mismatch"),
        (lambda path: (path / "bundle.json").unlink(), "bundle_unreadable"),
        (lambda path: linked(path / "blobs"), "bundle_not_a_file"),
        (lambda path: linked(path / "models" / "0001.json"), "bundle_not_a_file"),
    ],
)
async def test_hostile_folders(desk: Desk, site: Site, change: Callable[[Path], object], code: str) -> None:
    path = await desk.export(folder=True)
    change(path)
    assert (await site.refuses(path)).code == code


def linked(path: Path) -> None:
    """Somewhere else, and a link to it in its place."""
    elsewhere = path.parent.parent / f"elsewhere-{path.name}"
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda index: index.update(format="intramural-bundle/2"), "bundle_unreadable"),
        (lambda index: index.update(more=1), "bundle_unreadable"),
        (lambda index: index["members"][0].update(path="../evil"), "bundle_names"),
        (lambda index: index["members"][0].update(path="models/0001.exe"), "bundle_names"),
        (lambda index: index["members"][-1].update(path=BLOB), "bundle_names"),
        (lambda index: index["members"].append(index["members"][-1]), "bundle_duplicate"),
        (lambda index: index["members"][0].update(size_bytes=-1), "bundle_unreadable"),
        (lambda index: index["members"][0].update(size_bytes=1 << 70), "bundle_unreadable"),
        (lambda index: index["members"][0].update(size_bytes=1 << 40), "bundle_too_large"),
        (lambda index: index["members"][-1].update(size_bytes=1 << 60), "bundle_damaged"),
        (lambda index: index["members"][0].update(digest="sha256:../../evil"), "bundle_unreadable"),
    ],
)
async def test_hostile_indexes_by_somebody_trusted(
    desk: Desk, site: Site, change: Callable[[dict[str, list[dict[str, object]]]], object], code: str
) -> None:
    """Whoever has the key can write any index; then the archive has to agree with it, and it leads nowhere else."""
    members = unpacked(await desk.export())
    index = json.loads(members[0][1])
    change(index)
    assert (await site.refuses(resigned(desk, members, index))).code == code


def resigned(desk: Desk, members: Members, index: dict[str, list[dict[str, object]]]) -> Path:
    raw = json.dumps(index).encode()
    named = [NamedDigest("bundle.json", f"sha256:{hashlib.sha256(raw).hexdigest()}")]
    named += [NamedDigest(str(each["path"]), str(each["digest"])) for each in index["members"]]
    try:
        signature = sign("x", named, desk.key)
    except IntramuralError:  # nobody can sign such names; then it is the index that is refused
        signature = members[1][1]
    path = desk.root / "hostile"
    with path.open("wb") as file:
        for name, body in (("bundle.json", raw), ("bundle.sig", signature)):
            file.write(header(name, len(body)) + body + padding(len(body)))
        for info, body in members[2:]:
            file.write(info.tobuf(tarfile.GNU_FORMAT) + body + padding(len(body)))
        file.write(END)
    return path


async def test_models_without_their_weights_and_weights_without_a_model(desk: Desk, site: Site) -> None:
    members = unpacked(await desk.export())
    index = json.loads(members[0][1])
    last = index["members"].pop()
    assert (await site.refuses(resigned(desk, members[:-1], index))).code == "bundle_incomplete"
    index["members"] = [each for each in index["members"] if each["path"] != "models/0001.json"] + [last]
    members = [each for each in members if each[0].name != "models/0001.json"]
    assert (await site.refuses(resigned(desk, members, index))).code == "bundle_extra"


@pytest.mark.parametrize("body", [b"", b"x", bytes(512), bytes(4096), b"PK\x03\x04", b"\x1f\x8b" + bytes(600)])
async def test_what_is_no_bundle(site: Site, tmp_path: Path, body: bytes) -> None:
    (tmp_path / "junk").write_bytes(body)
    assert (await site.refuses(tmp_path / "junk")).code in {"bundle_unreadable", "bundle_truncated"}


async def test_what_cannot_be_read(site: Site, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "absent", tmp_path / "fifo", Path("/dev/zero"), Path("a\0b")):
        assert (await site.refuses(path)).code == "bundle_not_readable"


# writing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", [False, True])
async def test_what_cannot_be_finished_leaves_nothing(desk: Desk, folder: bool) -> None:
    file = desk.shop.shelved()[0]
    file.chmod(0o600)
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(Untrusted) as refused:
        await desk.export(folder=folder)
    assert refused.value.code == "model_digest_mismatch"
    assert not list(desk.root.glob("out.bundle*"))


async def test_nothing_is_overwritten(desk: Desk) -> None:
    path = await desk.export()
    whole = path.read_bytes()
    with pytest.raises(Conflicting) as refused:
        await desk.export()
    assert refused.value.code == "bundle_exists"
    assert path.read_bytes() == whole
    unfinished = desk.root / "new.part"
    unfinished.write_bytes(b"somebody's")
    with pytest.raises(Conflicting):
        await desk.export("new")
    assert unfinished.read_bytes() == b"somebody's"


async def test_very_long_members_have_headers() -> None:
    for size in (1, 8 << 30, 1 << 50):
        info = tarfile.TarInfo.frombuf(header("blobs/sha256/" + "0" * 64, size), "utf-8", "strict")
        assert info.size == size


# without a network ----------------------------------------------------------------------------------------------------

_ALONE = """
import sys
from pathlib import Path
from intramural.library.provenance import read_anchors
from intramural.library.provenance.bundle import read_bundle
print(len(read_bundle(Path(sys.argv[1]), read_anchors(Path(sys.argv[2])), now_s=float(sys.argv[3])).models))
"""


async def test_without_a_network(desk: Desk, site: Site) -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rn", "true"], check=False).returncode != 0:
        pytest.skip("this machine lets nobody make a network namespace")
    path = await desk.export()
    command = [unshare, "-rn", sys.executable, "-c", _ALONE, str(path), str(site.trust), str(NOW_S)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "2", done.stderr
    assert len(read_bundle(path, read_anchors(site.trust), now_s=NOW_S).models) == 2
