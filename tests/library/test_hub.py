"""The hub, against a real server of its protocol, with Hugging Face's own client as the judge of that."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.direct import direct
from tests.fakes import hub as fake
from tests.fakes.gguf_file import tiny_model, tiny_projector, tiny_set
from tests.fakes.hub import Hub, Repository
from tests.fakes.pki import key_pair
from tests.fakes.source import blob_of, flipped
from tests.fakes.web import Reply, Request, certificate, serving
from tests.library.shop import Shop, eventually

from intramural.core.config import LibraryConfig
from intramural.core.errors import IntramuralError, Misasked, Missing, Refused, Unavailable, Untrusted
from intramural.library import HubSource, Library, Manifest, Outside, parse_source
from intramural.library.provenance import NamedDigest, SigningKey, TrustPolicy, sign
from intramural.library.sources.hub import HubReference
from intramural.library.sources.reach import Limits, Reach

BODY = tiny_model(extra_bytes=1 << 20)
QUICK = Limits(connect_timeout_s=5, answer_timeout_s=5, stall_timeout_s=0.2, backoff_s=0.001, tries=3)
SHARDS = {f"big-Q4_K_M-{n:05}-of-00003.gguf": file.build() for n, file in enumerate(tiny_set(3), start=1)}
PROJECTOR = tiny_projector().build()
TINY = "acme/tiny-GGUF"


def one(**files: bytes) -> dict[str, Repository]:
    return {TINY: Repository({"tiny-Q4_0.gguf": BODY, "README.md": b"# tiny", ".gitattributes": b"*", **files})}


def at(hub: Hub, text: str = TINY, *, token: Path | None = None, limits: Limits = QUICK) -> HubSource:
    return HubSource(HubReference.parse(text), hub.url, token, [hub.store.host], Reach(direct, limits=limits))


async def refusal(shop: Shop, source: HubSource) -> IntramuralError:
    with pytest.raises(IntramuralError) as error:
        await shop.pull(source)
    shop.check_invariant()
    assert shop.library.list() == []
    return error.value


async def test_the_official_client_takes_the_fake_for_a_hub(tmp_path: Path) -> None:
    """What it lists and downloads from the fake is right: so the fake speaks the protocol."""
    script = (
        "import sys; from huggingface_hub import HfApi, hf_hub_download as get\n"
        "info = HfApi().model_info('acme/tiny-GGUF', files_metadata=True)\n"
        "print(info.sha, [(s.rfilename, s.size, s.lfs and s.lfs.sha256) for s in info.siblings][0])\n"
        "print(open(get('acme/tiny-GGUF', 'tiny-Q4_0.gguf'), 'rb').read() == open(sys.argv[1], 'rb').read())\n"
    )
    (tmp_path / "expected").write_bytes(BODY)
    async with fake.running(one()) as hub:
        env = {
            "HF_ENDPOINT": hub.url,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(tmp_path),
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, str(tmp_path / "expected"), env={**os.environ, **env},
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, _ = await process.communicate()
        commit = hub.repositories[TINY].commit
    digest = blob_of(BODY).digest.removeprefix("sha256:")
    assert said.decode().splitlines() == [f"{commit} ('tiny-Q4_0.gguf', {len(BODY)}, '{digest}')", "True"]


async def test_a_model_arrives_pinned_to_its_commit(shop: Shop) -> None:
    async with fake.running(one()) as hub:
        manifest, states = await shop.pull(at(hub))
        commit = hub.repositories[TINY].commit
    assert (manifest.name, manifest.trust, manifest.licence) == ("tiny:q4_0", "attested", "Apache-2.0")
    assert (manifest.revision, manifest.weights) == (commit, blob_of(BODY))
    assert manifest.source == f"hf:{TINY}/tiny-Q4_0.gguf@{commit}"
    file = f"/{TINY}/resolve/{commit}/tiny-Q4_0.gguf"
    assert hub.paths() == [("GET", f"/api/models/{TINY}/revision/main"), ("HEAD", file), ("GET", file)]
    assert states[-1].step == "shelved"
    shop.check_invariant()


async def test_what_a_manifest_names_as_its_source_is_the_same_model_for_ever(shop: Shop) -> None:
    async with fake.running(one()) as hub:
        manifest, _ = await shop.pull(at(hub))
        (offer,) = await at(hub, manifest.source.removeprefix("hf:")).resolve()
        assert (offer.source, offer.files[0].blob) == (manifest.source, manifest.weights)
        hub.repositories[TINY].files["README.md"] = b"# tiny, again"  # another commit
        with pytest.raises(Missing) as gone:
            await at(hub, manifest.source.removeprefix("hf:")).resolve()
    assert gone.value.code == "source_not_found"


async def test_a_split_model_with_its_projector(shop: Shop) -> None:
    files = {**SHARDS, "mmproj-F16.gguf": PROJECTOR, "mmproj-F32.gguf": tiny_model(seed=8)}
    async with fake.running({"acme/big-GGUF": Repository(files)}) as hub:
        manifest, states = await shop.pull(at(hub, "acme/big-GGUF:q4_k_m"))
    assert [(file.name, file.role) for file in manifest.files] == [
        *((name, "weights") for name in SHARDS),
        ("mmproj-F16.gguf", "projector"),
    ]
    assert len(shop.shelved()) == 4
    assert states[-1].total_bytes == sum(map(len, SHARDS.values())) + len(PROJECTOR)
    shop.check_invariant()


async def test_sets_in_folders_of_their_own_share_the_projector_at_the_top(shop: Shop) -> None:
    files = {f"Q4_K_M/{name}": body for name, body in SHARDS.items()}
    files |= {"Q8_0/big-Q8_0.gguf": tiny_model(seed=5), "mmproj-F16.gguf": PROJECTOR}
    async with fake.running({"acme/big-GGUF": Repository(files)}) as hub:
        offers = await at(hub, "acme/big-GGUF").resolve()
        assert [(offer.name, len(offer.files)) for offer in offers] == [("big:q4_k_m", 4), ("big:q8_0", 2)]
        error = await refusal(shop, at(hub, "acme/big-GGUF"))
        manifest, _ = await shop.pull(at(hub, "acme/big-GGUF/Q8_0/big-Q8_0.gguf"))
    assert error.code == "source_ambiguous" and "big:q8_0" in error.hint
    assert [file.role for file in manifest.files] == ["weights", "projector"]


async def test_a_missing_shard_is_named_before_anything_is_fetched(shop: Shop) -> None:
    files = dict(list(SHARDS.items())[::2])
    async with fake.running({"acme/big-GGUF": Repository(files)}) as hub:
        error = await refusal(shop, at(hub, "acme/big-GGUF"))
    assert error.code == "shard_missing" and hub.store.seen == []


async def test_a_file_in_git_itself_is_checked_by_gits_digest(shop: Shop) -> None:
    body = tiny_model()
    repositories = {TINY: Repository({"tiny.gguf": body}, small=frozenset({"tiny.gguf"}))}
    async with fake.running(repositories) as hub:
        hub.list_as = lambda said: {**said, "siblings": [{**said["siblings"][0], "blobId": "0" * 40}]}
        assert (await refusal(shop, at(hub))).code == "git_digest_mismatch"
        hub.list_as = lambda said: said
        manifest, _ = await shop.pull(at(hub))
    assert manifest.weights == blob_of(body)


@pytest.mark.parametrize("name", ["tiny-Q4_0.gguf.sig", "model.sig"])
async def test_a_publishers_signature_beside_it_is_checked(shop: Shop, tmp_path: Path, name: str) -> None:
    pair = key_pair(tmp_path, "publisher")
    trust = tmp_path / "trust"
    trust.mkdir()
    shop.library = Library(shop.root, shop.inspector, None, TrustPolicy("signed", trust))
    signature = sign("tiny", [NamedDigest("tiny-Q4_0.gguf", blob_of(BODY).digest)], SigningKey(pair.private))
    repository = Repository({"tiny-Q4_0.gguf": BODY, name: signature}, small=frozenset({name}))
    async with fake.running({TINY: repository}) as hub:
        assert (await refusal(shop, at(hub))).code == "trust_too_low"
        pair.public.rename(trust / "publisher.pem")
        manifest, _ = await shop.pull(at(hub))
    assert manifest.trust == "signed"


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ({"license": "mit"}, "MIT"),
        ({"license": "llama3.1"}, "LicenseRef-Llama-3.1-Community"),
        ({"license": "other", "license_name": "tongyi-qianwen"}, "LicenseRef-tongyi-qianwen"),
        ({"license": "other"}, "unknown"),
        ({"license": ["mit", "x"]}, "Apache-2.0"),  # the tag says so
        ({"license": "<script>"}, "unknown"),
        ({}, "Apache-2.0"),
        (None, "Apache-2.0"),
    ],
)
async def test_licences(card: Any, licence: str) -> None:
    async with fake.running({TINY: Repository({"tiny.gguf": BODY}, card=card)}) as hub:
        (offer,) = await at(hub).resolve()
    assert offer.licence == licence


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"model.safetensors": b"x", "pytorch_model.bin": b"x"}, "snapshot_config_missing"),
        ({"pytorch_model.bin": b"x", "config.json": b"{}"}, "pickle_refused"),
        ({"README.md": b"x"}, "source_empty"),
        ({"mmproj-F16.gguf": BODY}, "source_empty"),
    ],
)
async def test_repositories_without_a_model_for_us(shop: Shop, files: dict[str, bytes], code: str) -> None:
    async with fake.running({TINY: Repository(files)}) as hub:
        assert (await refusal(shop, at(hub))).code == code
    assert hub.store.seen == []


@pytest.mark.parametrize("name", ["model.bin", "x/model.PT", "model.pth", "model.pkl", "model.ckpt"])
def test_pickles_are_refused_by_name(name: str) -> None:
    with pytest.raises(Refused) as refused:
        HubReference.parse(f"{TINY}/{name}")
    assert refused.value.code == "pickle_refused"


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("a/b", HubReference("a/b")),
        ("a/b:Q4_K_M", HubReference("a/b", tag="Q4_K_M")),
        ("a/b@main", HubReference("a/b", revision="main")),
        ("a/b:q8_0@refs/pr/1", HubReference("a/b", tag="q8_0", revision="refs/pr/1")),
        ("a/b/c/d e.gguf@v1.0", HubReference("a/b", path="c/d e.gguf", revision="v1.0")),
    ],
)
def test_references(text: str, parsed: HubReference) -> None:
    assert HubReference.parse(text) == parsed


@pytest.mark.parametrize(
    "text",
    ["", "a", "a/", "/b", "a/b/", "a/b:", "a/b@", "a/b/c", "a/b/c.gguf:q4", "../b", "a/b@../x", "a b/c", "a/b?x", "a/ü",
     "a/b@" + "x" * 300, "https://huggingface.co/a/b"],
)  # fmt: skip
def test_what_names_nothing_on_a_hub(text: str) -> None:
    with pytest.raises(Misasked) as refused:
        HubReference.parse(text)
    assert refused.value.code == "bad_source"


@pytest.mark.parametrize(
    ("page", "parsed"),
    [
        ("a/b", HubReference("a/b")),
        ("a/b/", HubReference("a/b")),
        ("a/b/tree/main", HubReference("a/b", revision="main")),
        ("a/b/blob/main/c/d%20e.gguf", HubReference("a/b", path="c/d e.gguf", revision="main")),
        ("a/b/resolve/refs%2Fpr%2F1/x.gguf?download=true", HubReference("a/b", path="x.gguf", revision="refs/pr/1")),
    ],
)
def test_addresses_copied_from_a_browser(page: str, parsed: HubReference) -> None:
    assert HubReference.of_address(f"https://huggingface.co/{page}", "https://huggingface.co/") == parsed
    assert HubReference.of_address(f"https://example.org/{page}", "https://huggingface.co") is None


@pytest.mark.parametrize(
    ("page", "code"), [("a/b/blob/main/x.bin", "pickle_refused"), ("a/b/tree/main/Q4", "bad_source")]
)
def test_addresses_of_what_is_no_model(page: str, code: str, tmp_path: Path) -> None:
    with pytest.raises(IntramuralError) as refused:
        parse_source(f"https://huggingface.co/{page}", tmp_path)
    assert refused.value.code == code


@pytest.mark.parametrize("text", ["acme/none", f"{TINY}@v9", f"{TINY}:q8_0", f"{TINY}/other.gguf", "a--b/c"])
async def test_what_is_not_there(shop: Shop, text: str) -> None:
    async with fake.running(one()) as hub:
        error = await refusal(shop, at(hub, text))
    assert isinstance(error, Misasked) and error.code in ("source_not_found", "bad_source") and error.hint


async def test_a_branch_with_a_slash(shop: Shop) -> None:
    async with fake.running(one()) as hub:
        hub.repositories[TINY].refs = frozenset({"refs/pr/1"})
        manifest, _ = await shop.pull(at(hub, f"{TINY}@refs/pr/1"))
    assert manifest.revision == hub.repositories[TINY].commit


# tokens ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["private", "gated"])
async def test_a_token_opens_what_is_closed_and_goes_to_the_hub_alone(shop: Shop, tmp_path: Path, kind: str) -> None:
    token = tmp_path / "token"
    token.write_text("hf_right\n")
    async with fake.running({TINY: Repository({"tiny.gguf": BODY}, **{kind: True})}) as hub:
        error = await refusal(shop, at(hub))
        assert error.code == ("source_not_found" if kind == "private" else "source_denied") and "token" in error.hint
        await shop.pull(at(hub, token=token))
    assert {seen.headers.get("authorization") for seen in hub.web.seen[-3:]} == {"Bearer hf_right"}
    assert not any("authorization" in seen.headers for seen in hub.store.seen)
    assert "hf_right" not in str([*shop.library.list(), error])


@pytest.mark.parametrize("content", [None, b"", b"two words", b"\xff", b"a\nb"])
async def test_token_files_without_a_token(shop: Shop, tmp_path: Path, content: bytes | None) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_bytes(content)
    async with fake.running(one()) as hub:
        error = await refusal(shop, at(hub, token=token))
    assert error.code == "bad_token_file" and hub.web.seen == []


async def test_the_environment_is_not_asked(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("hf_stray")
    for name, value in {"HF_TOKEN": "hf_stray", "HF_TOKEN_PATH": str(tmp_path / "token")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with fake.running(one()) as hub:
        await shop.pull(at(hub))
    assert "hf_stray" not in str(hub.web.seen)
    for seen in (*hub.web.seen, *hub.store.seen):
        assert set(seen.headers) <= {"host", "user-agent", "accept", "accept-encoding", "connection"}
        assert seen.headers["user-agent"].startswith("intramural/")


async def test_the_package_cannot_ask_by_itself() -> None:
    from huggingface_hub import HfApi

    async with fake.running(one()) as hub:
        await at(hub).resolve()
        asked = len(hub.web.seen)
        with pytest.raises(Refused) as refused:
            await asyncio.to_thread(HfApi(endpoint=hub.url, token=False).model_info, TINY)
        assert refused.value.code == "hub_not_asked" and len(hub.web.seen) == asked


# lies -----------------------------------------------------------------------------------------------------------------


def sibling(**changes: Any) -> Any:
    def change(said: dict[str, Any]) -> dict[str, Any]:
        return {**said, "siblings": [{**said["siblings"][0], **changes}]}

    return change


def lfs(**changes: Any) -> Any:
    def change(said: dict[str, Any]) -> dict[str, Any]:
        return sibling(lfs={**said["siblings"][0]["lfs"], **changes})(said)

    return change


TRAVERSALS = [
    "../x.gguf",
    "a/../../x.gguf",
    "/etc/x.gguf",
    "..\\x.gguf",
    "a//x.gguf",
    ".ssh/x.gguf",
    "x\0.gguf",
    "C:x.gguf",
]


@pytest.mark.parametrize("path", TRAVERSALS)
async def test_paths_that_lead_elsewhere(shop: Shop, path: str) -> None:
    async with fake.running(one()) as hub:
        hub.list_as = sibling(rfilename=path)
        assert (await refusal(shop, at(hub))).code == "bad_file_name"
    assert hub.store.seen == [] and shop.incoming() == []


def deep(said: Any) -> Any:
    for _ in range(400):
        said = [said]
    return {"id": TINY, "cardData": {"x": said}}


@pytest.mark.parametrize(
    "list_as",
    [
        lambda said: [],
        lambda said: None,
        lambda said: "x",
        lambda said: {},
        lambda said: {**said, "sha": None},
        lambda said: {**said, "sha": "main"},
        lambda said: {**said, "sha": "../" + "0" * 37},
        lambda said: {**said, "id": "../../etc"},
        lambda said: {**said, "id": 7},
        lambda said: {**said, "siblings": [7]},
        lambda said: {**said, "siblings": "x"},
        lambda said: {**said, "siblings": [{}]},
        lambda said: {**said, "lastModified": "yesterday"},
        lambda said: {**said, "cardData": {"self": 1}},
        lambda said: {**said, "siblings": said["siblings"] + [{**said["siblings"][0], "size": 1, "lfs": None}]},
        deep,
        sibling(rfilename=7),
        sibling(size="many", lfs=None),
        sibling(size=True, lfs=None),
        sibling(size=5),
        lfs(size="many"),
        lfs(size=5),
    ],
)
async def test_lists_that_make_no_sense(shop: Shop, list_as: Any) -> None:
    async with fake.running(one()) as hub:
        hub.list_as = list_as
        error = await refusal(shop, at(hub))
    assert error.code == "source_bad_answer"
    assert hub.store.seen == [] and shop.incoming() == []


@pytest.mark.parametrize("digest", ["", "0" * 63, "0" * 65, "A" * 64, "../" + "0" * 61, 7, None])
async def test_digests_that_are_none(shop: Shop, digest: Any) -> None:
    async with fake.running(one()) as hub:
        hub.list_as = lfs(sha256=digest)
        assert (await refusal(shop, at(hub))).code == "bad_digest"
    assert shop.incoming() == []


async def test_a_list_without_end(shop: Shop) -> None:
    async with fake.running(one()) as hub:
        hub.web.respond = lambda _: Reply(200, {}, b"[", endless=True)
        assert (await refusal(shop, at(hub))).code == "source_too_long"


async def test_another_commit_than_asked_for(shop: Shop) -> None:
    async with fake.running(one()) as hub:
        hub.list_as = lambda said: {**said, "sha": "1" * 40}
        error = await refusal(shop, at(hub, f"{TINY}@{hub.repositories[TINY].commit}"))
    assert error.code == "source_changed"


@pytest.mark.parametrize("header", ["X-Linked-Etag", "X-Linked-Size", "X-Repo-Commit"])
async def test_a_hub_that_contradicts_itself(shop: Shop, header: str) -> None:
    async with fake.running(one()) as hub:
        hub.headers_as = lambda headers: {**headers, header: '"' + "1" * 40 + '"'}
        assert (await refusal(shop, at(hub))).code == "hub_disagrees"
    assert hub.store.seen == []


async def test_a_server_that_says_less_beside_the_file_is_enough(shop: Shop) -> None:
    async with fake.running(one()) as hub:
        hub.headers_as = lambda headers: {"Location": headers["Location"]}
        await shop.pull(at(hub))


async def test_wrong_digest(shop: Shop) -> None:
    """List and store agree on the digest; the bytes have another."""
    async with fake.running(one()) as hub:
        hub.hand_out = lambda request, reply: Reply(200, {}, flipped(BODY, 1000))
        assert (await refusal(shop, at(hub))).code == "digest_mismatch"
    assert shop.incoming() == shop.shelved() == []


async def test_another_size_than_announced(shop: Shop) -> None:
    async with fake.running(one()) as hub:
        hub.hand_out = lambda request, reply: Reply(200, {}, BODY + b"x")
        assert (await refusal(shop, at(hub))).code == "source_wrong_size"


async def test_a_body_without_end_is_cut_at_the_announced_size(shop: Shop) -> None:
    async with fake.running(one()) as hub:
        hub.hand_out = lambda request, reply: Reply(200, {}, BODY, endless=True)
        error = await refusal(shop, at(hub))
    assert (type(error), error.code) == (Untrusted, "source_too_long")
    assert all(file.stat().st_size <= len(BODY) for file in shop.incoming())


async def test_a_body_that_is_short_for_ever_is_kept_for_later(shop: Shop) -> None:
    async with fake.running(one()) as hub:
        honest = hub.hand_out
        hub.hand_out = lambda request, reply: Reply(200, {}, BODY[: 1 << 19], length=None)
        assert (await refusal(shop, at(hub))).code == "source_ended_early"
        assert [file.stat().st_size for file in shop.incoming()] == [1 << 19]
        hub.hand_out = honest
        await shop.pull(at(hub))
    assert hub.store.ranges()[-1] == f"bytes={1 << 19}-"
    shop.check_invariant()


async def test_redirected_to_another_host(shop: Shop) -> None:
    async with fake.running(one()) as hub, serving(lambda _: Reply(200, {}, BODY)) as evil:
        hub.redirect = lambda _: f"{evil.url}/x"
        error = await refusal(shop, at(hub))
    assert error.code == "redirect_refused" and evil.host in error.message
    assert evil.seen == []


async def test_the_list_redirected_to_another_host(shop: Shop) -> None:
    async with fake.running(one()) as hub, serving(lambda _: Reply(200, {}, b"{}")) as evil:
        hub.web.respond = lambda _: Reply(307, {"Location": f"{evil.url}/api/models/x/y"})
        assert (await refusal(shop, at(hub))).code == "redirect_refused"
    assert evil.seen == []


async def test_a_renamed_repository(shop: Shop) -> None:
    """As the hub does it: the old name is redirected to the new one."""
    async with fake.running(one()) as hub:

        def renamed(request: Request) -> Reply:
            if "/acme/old" in request.path:
                return Reply(307, {"Location": request.path.replace("acme/old", TINY) + "?" + request.query})
            return hub.ask(request)

        hub.web.respond = renamed
        manifest, _ = await shop.pull(at(hub, "acme/old"))
    assert manifest.source.startswith(f"hf:{TINY}/")


@pytest.mark.parametrize("status", [429, 503])
async def test_busy_hubs_are_asked_again_and_reported_in_the_end(shop: Shop, status: int) -> None:
    async with fake.running(one()) as hub:
        left = [Reply(status, {"Retry-After": "0"})] * 2
        hub.web.respond = lambda request: left.pop() if left else hub.ask(request)
        manifest, _ = await shop.pull(at(hub))
        shop.library.remove(manifest.name)
        hub.hand_out = lambda request, reply: Reply(status, {"Retry-After": "7200"})
        error = await refusal(shop, at(hub))
    assert isinstance(error, Unavailable) and (error.code, error.retry_after_s) == ("source_busy", 7200)


async def test_a_silent_store(shop: Shop) -> None:
    def stall(request: Request, reply: Reply) -> Reply:
        reply.stall_after = 1000
        return reply

    async with fake.running(one()) as hub:
        hub.hand_out = stall
        assert (await refusal(shop, at(hub))).code == "source_stalled"
    assert [file.stat().st_size for file in shop.incoming()] == [1000 * QUICK.tries]


async def test_certificates(shop: Shop, tmp_path: Path) -> None:
    context, ca_file = certificate(tmp_path, "127.0.0.1")
    async with fake.running(one(), tls=context) as hub:
        error = await refusal(shop, at(hub))
        assert (type(error), error.code) == (Untrusted, "bad_tls") and hub.web.seen == []
        await shop.pull(HubSource(HubReference(TINY), hub.url, None, [hub.store.host], Reach(direct, ca_file)))


# interruptions --------------------------------------------------------------------------------------------------------

PULLING = """
import asyncio, sys
from pathlib import Path
from tests.direct import direct
from tests.library.shop import Shop
from intramural.library import Outside, parse_source
root, source, hub, store = sys.argv[1:]
outside = Outside(hub=hub, redirect_hosts=(store,)).through(direct)
asyncio.run(Shop(Path(root)).pull(parse_source(source, Path("."), outside)))
"""


async def test_a_pull_goes_on_after_kill_9(shop: Shop) -> None:
    """Killed in the middle of the body; the next one asks for the rest only, and the whole is verified."""
    half = 1 << 19

    def stall(request: Request, reply: Reply) -> Reply:
        reply.stall_after = half
        return reply

    async with fake.running(one()) as hub:
        honest, hub.hand_out = hub.hand_out, stall
        argv = (str(shop.root), f"hf:{TINY}", hub.url, hub.store.host)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PULLING, *argv, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        )
        await eventually(lambda: any(file.stat().st_size for file in shop.incoming()))
        process.kill()
        assert await process.wait() == -9
        (came,) = (file.stat().st_size for file in shop.incoming())
        hub.hand_out = honest
        manifest, states = await shop.pull(at(hub))
    assert 0 < came <= half
    assert hub.store.ranges() == [None, f"bytes={came}-"]
    assert manifest.weights == blob_of(BODY)
    assert next(state.done_bytes for state in states if state.step == "fetching" and state.done_bytes) >= came
    shop.check_invariant()


async def test_changed_between_a_kill_and_the_resume(shop: Shop) -> None:
    """The half from before is another file's: noticed by the digest, then fetched anew from the first byte."""
    part = shop.root / "incoming" / f"{blob_of(BODY).digest[7:]}.part"
    part.write_bytes(bytes(1 << 19))
    async with fake.running(one()) as hub:
        await shop.pull(at(hub))
    assert hub.store.ranges() == [f"bytes={1 << 19}-", None]
    shop.check_invariant()


async def test_a_network_cut_in_the_middle(shop: Shop) -> None:
    cuts = [100_000, 300_000]

    def cut(request: Request, reply: Reply) -> Reply:
        reply.cut_after = cuts.pop(0) if cuts else None
        return reply

    async with fake.running(one()) as hub:
        hub.hand_out = cut
        await shop.pull(at(hub))
    assert hub.store.ranges() == [None, "bytes=100000-", "bytes=400000-"]
    assert len({seen.query for seen in hub.store.seen}) == 3  # each address was asked of the hub anew


async def test_a_store_that_changes_the_file_under_us(shop: Shop) -> None:
    def change(request: Request, reply: Reply) -> Reply:
        if "range" in request.headers:
            return Reply(206, {**reply.headers, "ETag": '"other"'}, reply.body)
        reply.cut_after = 1000
        return reply

    async with fake.running(one()) as hub:
        hub.hand_out = change
        assert (await refusal(shop, at(hub))).code == "source_changed"


async def test_two_people_share_one_download(shop: Shop) -> None:
    async with fake.running(one()) as hub:
        first, second = await asyncio.gather(shop.pull(at(hub), "mine"), shop.pull(at(hub), "yours"))
    assert [len(hub.store.seen), first[0].weights, second[0].name] == [1, blob_of(BODY), "yours"]


async def test_a_cancelled_pull_lets_go_of_the_connection(shop: Shop) -> None:
    def stall(request: Request, reply: Reply) -> Reply:
        reply.stall_after = 1000
        return reply

    patient = Limits(stall_timeout_s=100)
    async with fake.running(one()) as hub:
        hub.hand_out = stall
        task = asyncio.ensure_future(shop.pull(at(hub, limits=patient)))
        await eventually(lambda: [file.stat().st_size for file in shop.incoming()] == [1000])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        hub.web.respond = lambda _: Reply(200, {}, b"[", stall_after=1)  # and one that has only begun to ask
        task = asyncio.ensure_future(shop.pull(at(hub, limits=patient)))
        asked = len(hub.web.seen)
        await eventually(lambda: len(hub.web.seen) > asked)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_room_is_looked_for_first(shop: Shop) -> None:
    async with fake.running(one()) as hub:
        hub.list_as = lambda said: lfs(size=1 << 60)(sibling(size=1 << 60)(said))
        error = await refusal(shop, at(hub))
    assert error.code == "disk_full" and hub.store.seen == []


# settings -------------------------------------------------------------------------------------------------------------


async def test_the_settings_say_where_and_how(shop: Shop, tmp_path: Path) -> None:
    context, ca_file = certificate(tmp_path, "127.0.0.1")
    (tmp_path / "token").write_text("hf_right")
    async with fake.running({TINY: Repository({"tiny.gguf": BODY}, private=True)}, tls=context) as hub:
        config = LibraryConfig(
            hub=hub.url + "/",
            hub_token_file=str(tmp_path / "token"),
            ca_file=str(ca_file),
            redirect_hosts=(hub.store.host,),
        )
        outside = Outside.of(config, tmp_path).through(direct)
        manifest: Manifest = (await shop.pull(parse_source(f"hf:{TINY}", tmp_path, outside)))[0]
    assert manifest.trust == "attested"


@pytest.mark.parametrize(
    "text", ["hf:a/b", "https://example.org/x.gguf", "ollama:a", "oci://example.org/a:b", "oci+http://127.0.0.1/a:b"]
)
def test_the_network_can_be_forbidden(text: str, tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        parse_source(text, tmp_path, Outside.of(LibraryConfig(allow_network=False), tmp_path))
    assert refused.value.code == "network_off"


@pytest.mark.parametrize("hub", ["http://example.org", "ftp://example.org", "x", "https://u:p@example.org"])
async def test_addresses_of_hubs_that_are_none(shop: Shop, hub: str) -> None:
    assert (await refusal(shop, HubSource(HubReference(TINY), hub))).code == "bad_url"
