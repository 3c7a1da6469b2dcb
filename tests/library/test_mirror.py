"""A plain web server with a SHA256SUMS, honest and lying."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.direct import REACH, direct
from tests.fakes.gguf_file import tiny_model, tiny_projector, tiny_set
from tests.fakes.pki import key_pair
from tests.fakes.source import blob_of, flipped
from tests.fakes.web import Reply, Request, WebServer, certificate, file_reply, serving
from tests.library.shop import Shop

from intramural.core.config import LibraryConfig
from intramural.core.errors import IntramuralError, Refused, Unavailable, Untrusted
from intramural.library import Library, MirrorSource, Outside, parse_source
from intramural.library.provenance import NamedDigest, SigningKey, TrustPolicy, sign
from intramural.library.sources.reach import Limits, Reach
from intramural.library.sources.sums import parse_sums

BODY = tiny_model(extra_bytes=1 << 20)
QUICK = Limits(connect_timeout_s=5, answer_timeout_s=5, stall_timeout_s=0.2, backoff_s=0.001, tries=3)
SHARDS = {f"big-Q4_K_M-{n:05}-of-00003.gguf": file.build() for n, file in enumerate(tiny_set(3), start=1)}
PROJECTOR = tiny_projector().build()
APACHE = b"Apache License\nVersion 2.0, January 2004\n"


@dataclass
class Folder:
    """The files under `/models/`. `sums` replaces the honest list; `change` what is answered for a file."""

    files: dict[str, bytes] = field(default_factory=lambda: {"tiny-Q4_0.gguf": BODY})
    sums: bytes | None = None
    change: Callable[[Request, Reply], Reply] = lambda request, reply: reply
    without: str | None = None

    def __call__(self, request: Request) -> Reply:
        path = request.path.removeprefix("/models/")
        if path == self.without:
            return Reply(404)
        if path == "SHA256SUMS":
            return file_reply(request, sums_of(self.files) if self.sums is None else self.sums)
        if path not in self.files:
            return Reply(404)
        return self.change(request, file_reply(request, self.files[path], etag=f'"{len(self.files[path])}"'))


def sums_of(files: dict[str, bytes]) -> bytes:
    return "".join(f"{hashlib.sha256(body).hexdigest()}  {name}\n" for name, body in files.items()).encode()


def at(server: WebServer, name: str = "tiny-Q4_0.gguf", limits: Limits = QUICK) -> MirrorSource:
    return MirrorSource(f"{server.url}/models/{name}", reach=Reach(direct, limits=limits))


async def refusal(shop: Shop, source: MirrorSource) -> IntramuralError:
    with pytest.raises(IntramuralError) as error:
        await shop.pull(source)
    shop.check_invariant()
    assert shop.library.list() == []
    return error.value


async def test_a_file(shop: Shop) -> None:
    folder = Folder()
    async with serving(folder) as server:
        manifest, _ = await shop.pull(at(server))
        assert manifest.source == f"{server.url}/models/tiny-Q4_0.gguf"
    assert (manifest.name, manifest.trust, manifest.licence) == ("tiny:q4_0", "pinned", "unknown")
    assert manifest.revision == blob_of(sums_of(folder.files)).digest
    assert [(seen.method, seen.path) for seen in server.seen] == [
        ("GET", "/models/SHA256SUMS"),
        ("HEAD", "/models/tiny-Q4_0.gguf"),
        ("GET", "/models/tiny-Q4_0.gguf.sig"),
        ("GET", "/models/model.sig"),
        ("GET", "/models/tiny-Q4_0.gguf"),
    ]
    shop.check_invariant()


@pytest.mark.parametrize("name", ["", "big-Q4_K_M-00001-of-00003.gguf", "big-Q4_K_M-00003-of-00003.gguf"])
async def test_a_split_model_with_projector_and_licence(shop: Shop, name: str) -> None:
    folder = Folder({**SHARDS, "mmproj-F16.gguf": PROJECTOR, "LICENSE": APACHE, "notes.txt": b"x"})
    async with serving(folder) as server:
        manifest, _ = await shop.pull(at(server, name))
    assert [file.role for file in manifest.files] == ["weights"] * 3 + ["projector"]
    assert [file.name for file in manifest.files][:3] == list(SHARDS)
    assert (manifest.name, manifest.licence) == ("big:q4_k_m", "Apache-2.0")
    shop.check_invariant()


async def test_a_licence_with_another_digest_is_not_believed(shop: Shop) -> None:
    honest = Folder({"tiny.gguf": BODY, "LICENSE": APACHE})
    async with serving(Folder({**honest.files, "LICENSE": b"MIT License\n"}, sums_of(honest.files))) as server:
        manifest, _ = await shop.pull(at(server, "tiny.gguf"))
    assert manifest.licence == "unknown"


async def test_a_folder_with_several_models_asks_which(shop: Shop) -> None:
    async with serving(
        Folder({"a-Q4_0.gguf": BODY, "b-Q8_0.gguf": tiny_model(), "sub dir/c.gguf": tiny_model(seed=2)})
    ) as server:
        error = await refusal(shop, at(server, ""))
        manifest, _ = await shop.pull(at(server, "b-Q8_0.gguf"))
    assert error.code == "source_ambiguous" and "b:q8_0" in error.hint
    assert manifest.weights == blob_of(tiny_model())


@pytest.mark.parametrize(
    ("folder", "name", "code"),
    [
        (Folder(sums=b""), "", "source_empty"),
        (Folder(sums=b""), "tiny-Q4_0.gguf", "source_not_found"),
        (Folder(), "other.gguf", "source_not_found"),
        (Folder({"model.safetensors": b"x"}), "", "safetensors_not_served"),
        (Folder({"pytorch_model.bin": b"x"}), "", "pickle_refused"),
        (Folder(dict(list(SHARDS.items())[1:])), "", "shard_missing"),
        (Folder({"x.gguf": b""}), "", "bad_size"),
        (Folder({}, sums=b"0" * 64 + b"  gone.gguf\n"), "gone.gguf", "source_not_found"),
        (Folder(sums=b"<html>no such thing</html>"), "", "bad_sums"),
        (Folder(sums=b"\xff\xfe"), "", "source_bad_answer"),
        (Folder(sums=b"0" * 63 + b"  tiny-Q4_0.gguf\n"), "tiny-Q4_0.gguf", "bad_sums"),
        (Folder(sums=sums_of({"x.gguf": b"1"}) + sums_of({"x.gguf": b"2"})), "x.gguf", "bad_sums"),
        (Folder(sums=sums_of({"../x.gguf": b"1"})), "", "bad_file_name"),
        (Folder(sums=sums_of({"/etc/x.gguf": b"1"})), "", "bad_file_name"),
        (Folder(sums=sums_of({"a/../../x.gguf": b"1"})), "", "bad_file_name"),
    ],
)
async def test_what_cannot_be_had(shop: Shop, folder: Folder, name: str, code: str) -> None:
    async with serving(folder) as server:
        assert (await refusal(shop, at(server, name))).code == code
    assert shop.incoming() == []


async def test_without_a_list_nothing_is_fetched(shop: Shop) -> None:
    async with serving(lambda _: Reply(404)) as server:
        error = await refusal(shop, at(server))
    assert error.code == "sums_not_found" and "sha256sum" in error.hint
    assert [seen.path for seen in server.seen] == ["/models/SHA256SUMS", "/models/model.sig"]


async def test_a_server_that_does_not_say_how_much_it_sends(shop: Shop) -> None:
    folder = Folder(change=lambda request, reply: Reply(200, {}, BODY, length=None))
    async with serving(folder) as server:
        assert (await refusal(shop, at(server))).code == "size_unknown"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://example.org/x.bin", "pickle_refused"),
        ("https://example.org/x.safetensors", "safetensors_not_served"),
        ("https://example.org/x.zip", "bad_source"),
        ("https://example.org/x.gguf?token=1", "bad_url"),
        ("https://example.org/#x", "bad_url"),
        ("https://[/x.gguf", "bad_url"),
        ("https://example.org/..%2fx.gguf", "bad_file_name"),
        ("https://example.org/.x.gguf", "bad_file_name"),
    ],
)
def test_addresses_refused_before_anything_is_asked(url: str, code: str, tmp_path: Path) -> None:
    with pytest.raises(IntramuralError) as refused:
        parse_source(url, tmp_path)
    assert refused.value.code == code


@pytest.mark.parametrize("url", ["http://example.org/x.gguf", "https://u:p@example.org/x.gguf", "https:x.gguf"])
async def test_addresses_that_are_none(shop: Shop, url: str) -> None:
    assert (await refusal(shop, MirrorSource(url))).code == "bad_url"


# signatures ----------------------------------------------------------------------------------------------------------


def signed(tmp_path: Path, files: dict[str, bytes]) -> tuple[bytes, Path]:
    """A signature over `files`, and a folder with the key it was made with."""
    pair = key_pair(tmp_path, "publisher")
    (tmp_path / "trust").mkdir()
    shutil.copy(pair.public, tmp_path / "trust")
    named = sorted(NamedDigest(name, blob_of(body).digest) for name, body in files.items())
    return sign("big", named, SigningKey(pair.private)), tmp_path / "trust"


def ask_for_signatures(shop: Shop, trust: Path) -> None:
    shop.library = Library(shop.root, shop.inspector, None, TrustPolicy("signed", trust))


@pytest.mark.parametrize("listed", [True, False])
async def test_a_signature_over_the_whole_folder_is_a_list_as_well(shop: Shop, tmp_path: Path, listed: bool) -> None:
    files = {**SHARDS, "mmproj-F16.gguf": PROJECTOR, "big-Q8_0.gguf": BODY}
    signature, trust = signed(tmp_path, files)
    folder = Folder({**files, "model.sig": signature, **({"SHA256SUMS": sums_of(files)} if listed else {})})
    ask_for_signatures(shop, trust)
    async with serving(
        lambda request: folder(request) if listed or "SUMS" not in request.path else Reply(404)
    ) as server:
        manifest, _ = await shop.pull(at(server, next(iter(SHARDS))))
    assert manifest.trust == "signed" and len(manifest.files) == 4
    assert manifest.revision == blob_of(sums_of(folder.files) if listed else signature).digest
    shop.check_invariant()


async def test_a_signature_over_other_bytes_is_a_contradiction(shop: Shop, tmp_path: Path) -> None:
    signature, trust = signed(tmp_path, {"tiny-Q4_0.gguf": flipped(BODY, 3)})
    shop.library = Library(shop.root, shop.inspector, None, TrustPolicy("local", trust))
    async with serving(Folder({"tiny-Q4_0.gguf": BODY, "tiny-Q4_0.gguf.sig": signature})) as server:
        assert (await refusal(shop, at(server))).code == "signature_mismatch"


@pytest.mark.parametrize("signature", [b"-----BEGIN PGP SIGNATURE-----", b"untrusted comment: minisign", b""])
async def test_signatures_of_other_kinds_are_passed_over(shop: Shop, tmp_path: Path, signature: bytes) -> None:
    async with serving(Folder({"tiny-Q4_0.gguf": BODY, "tiny-Q4_0.gguf.sig": signature})) as server:
        manifest, _ = await shop.pull(at(server))
        assert manifest.trust == "pinned"
        shop.library.remove(manifest.name)
        ask_for_signatures(shop, tmp_path)
        assert (await refusal(shop, at(server))).code == "trust_too_low"


@pytest.mark.parametrize("signature", [b"{", b"{}", b'{"mediaType": 1}'])
async def test_what_is_no_list_and_no_signature(shop: Shop, signature: bytes) -> None:
    async with serving(Folder({"model.sig": signature}, without="SHA256SUMS")) as server:
        assert (await refusal(shop, at(server))).code in ("signature_unreadable", "signature_format")


# lies ----------------------------------------------------------------------------------------------------------------


def always(reply: Callable[[], Reply]) -> Callable[[Request, Reply], Reply]:
    """Another answer to every GET of a model."""
    return lambda request, honest: reply() if request.method == "GET" else honest


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (always(lambda: Reply(200, {}, flipped(BODY, 7))), "digest_mismatch"),
        (always(lambda: Reply(200, {}, BODY + b"x")), "source_wrong_size"),
        (always(lambda: Reply(200, {}, BODY, endless=True)), "source_too_long"),
        (always(lambda: Reply(200, {"ETag": '"other"'}, BODY)), "source_changed"),
        (always(lambda: Reply(200, {"Content-Encoding": "gzip"}, BODY)), "source_bad_answer"),
        (always(lambda: Reply(302, {"Location": "https://evil.example.org/x"})), "redirect_refused"),
    ],
)
async def test_lies(shop: Shop, change: Callable[[Request, Reply], Reply], code: str) -> None:
    async with serving(Folder(change=change)) as server:
        error = await refusal(shop, at(server))
    assert isinstance(error, Untrusted | Refused | IntramuralError) and error.code == code
    assert all(file.stat().st_size <= len(BODY) for file in shop.incoming())
    assert shop.shelved() == []


async def test_short_now_whole_later(shop: Shop) -> None:
    folder = Folder(change=always(lambda: Reply(200, {}, BODY[:300_000], length=None)))
    async with serving(folder) as server:
        assert (await refusal(shop, at(server))).code == "source_ended_early"
        folder.change = Folder().change
        await shop.pull(at(server))
    assert server.ranges()[-1] == "bytes=300000-"
    shop.check_invariant()


async def test_a_list_that_changed_is_another_revision(shop: Shop) -> None:
    folder = Folder()
    async with serving(folder) as server:
        (before,) = await at(server).resolve()
        folder.files["more.gguf"] = tiny_model()
        (after,) = await at(server).resolve()
    assert before.files == after.files and before.revision != after.revision


async def test_busy(shop: Shop) -> None:
    async with serving(Folder(change=always(lambda: Reply(503, {"Retry-After": "900"})))) as server:
        error = await refusal(shop, at(server))
    assert isinstance(error, Unavailable) and error.retry_after_s == 900


async def test_bad_certificate_and_redirects_the_settings_allow(shop: Shop, tmp_path: Path) -> None:
    context, ca_file = certificate(tmp_path, "127.0.0.1")
    folder = Folder()
    async with serving(folder, tls=context) as store:
        folder.change = lambda request, reply: Reply(302, {"Location": f"{store.url}/away"})
        store.respond = lambda request: file_reply(request, BODY) if request.path == "/away" else folder(request)
        async with serving(folder, tls=context) as server:
            url = f"{server.url}/models/tiny-Q4_0.gguf"
            assert (await refusal(shop, MirrorSource(url, reach=REACH))).code == "bad_tls"
            known = Outside.of(LibraryConfig(ca_file=str(ca_file)), tmp_path).through(direct)
            assert (await refusal(shop, parse_source(url, tmp_path, known))).code == "redirect_refused"  # type: ignore[arg-type]  # a mirror
            open_ = Outside(redirect_hosts=(store.host,), reach=Reach(direct, ca_file))
            manifest, _ = await shop.pull(parse_source(url, tmp_path, open_))
    assert manifest.weights == blob_of(BODY)


# SHA256SUMS ----------------------------------------------------------------------------------------------------------

HEX = "ab" * 32


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        (f"{HEX}  a.gguf\n{HEX} *b c.gguf\n", ["a.gguf", "b c.gguf"]),
        (f"# made by hand\r\n\r\n{HEX.upper()}  ./sub/a.gguf\r\n", ["sub/a.gguf"]),
        (f"SHA256 (a (1).gguf) = {HEX}", ["a (1).gguf"]),
        (f"{HEX}  .gitattributes\n{HEX}  .git/config\n", []),
        ("", []),
    ],
)
def test_lists(text: str, paths: list[str]) -> None:
    assert parse_sums(text) == dict.fromkeys(paths, f"sha256:{HEX}")


@pytest.mark.parametrize(
    "line", [f"{HEX} a", f"{HEX}a  x", f"{HEX}", "MD5 (a) = 00", f"\\{HEX}  a\\nb", f"{HEX}  ../a", f"{HEX}  a/.."]
)
def test_lines_that_are_none(line: str) -> None:
    with pytest.raises(Untrusted):
        parse_sums(line)


@given(st.text(max_size=200))
def test_any_text_is_a_list_or_refused(text: str) -> None:
    try:
        found = parse_sums(f"{HEX}  {text}")
    except IntramuralError:
        return
    assert all(".." not in path.split("/") and not path.startswith("/") for path in found)


def test_a_list_without_end_is_refused() -> None:
    with pytest.raises(Untrusted):
        parse_sums("".join(f"{HEX}  {n}\n" for n in range(10_001)))
