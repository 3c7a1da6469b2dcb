"""Models from OCI registries, against one on loopback that lies."""

import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.direct import direct
from tests.fakes.gguf_file import tiny_model, tiny_projector, tiny_set
from tests.fakes.registry import (
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    OLLAMA,
    Registry,
    basic,
    digest_of,
    error,
)
from tests.fakes.source import blob_of, flipped
from tests.fakes.web import Reply, Request, WebServer, certificate, file_reply, serving
from tests.library.shop import Shop

from intramural.core.errors import Broken, IntramuralError, Misasked, Missing, Refused, Unavailable, Untrusted
from intramural.library import Manifest, Outside, parse_source
from intramural.library.sources.challenge import Challenge, best, parse_challenges
from intramural.library.sources.credentials import login_for
from intramural.library.sources.reach import Limits, Reach
from intramural.library.sources.reference import parse_ollama, parse_reference, suggestion_of
from intramural.library.sources.registry import Registries

BODY = tiny_model(extra_bytes=200_000)
QUICK = Limits(connect_timeout_s=5, answer_timeout_s=5, stall_timeout_s=0.2, backoff_s=0.001, tries=3)
APACHE = b"Apache License Version 2.0, January 2004"
RAW = "application/vnd.cncf.model.weight.v1.raw"


@contextlib.asynccontextmanager
async def open_registry(registry: Registry, **other: Any) -> AsyncIterator[WebServer]:
    async with serving(registry, **other) as server:
        registry.url = server.url
        yield server


@pytest.fixture
def registry() -> Registry:
    """One model, as Ollama publishes them."""
    made = Registry()
    licence = made.layer(f"{OLLAMA}.license", APACHE)
    made.manifest("3b", made.layer(f"{OLLAMA}.model", BODY), licence, kind=DOCKER_MANIFEST)
    return made


async def pull(shop: Shop, server: WebServer, what: str = "library/tiny:3b", **decided: Any) -> Manifest:
    decided = {"reach": Reach(direct, limits=QUICK), **decided}
    kind = "oci" if server.url.startswith("https") else "oci+http"
    source = parse_source(f"{kind}://{server.host}/{what}", Path("/nowhere"), Outside(registries=Registries(**decided)))
    manifest, _ = await shop.pull(source)
    shop.check_invariant()
    return manifest


async def refusal(shop: Shop, server: WebServer, what: str = "library/tiny:3b", **decided: Any) -> IntramuralError:
    with pytest.raises(IntramuralError) as raised:
        await pull(shop, server, what, **decided)
    assert shop.shelved() == shop.library.list() == []
    return raised.value


def paths(server: WebServer) -> list[str]:
    return [request.path for request in server.seen]


# honest registries ------------------------------------------------------------------------------------------------


async def test_a_model_by_tag_is_attested(shop: Shop, registry: Registry) -> None:
    async with open_registry(registry) as server:
        manifest = await pull(shop, server)
    assert (manifest.name, manifest.trust, manifest.licence) == ("tiny:3b", "attested", "Apache-2.0")
    assert manifest.revision == digest_of(registry.manifests["3b"][1])
    assert manifest.source == f"oci+http://{server.host}/library/tiny:3b"
    assert (manifest.weights, manifest.weights_name) == (blob_of(BODY), "tiny-3b.gguf")
    assert [request.headers.get("authorization") for request in server.seen] == [None] * 3
    assert OCI_MANIFEST in server.seen[0].headers["accept"] and DOCKER_MANIFEST in server.seen[0].headers["accept"]


async def test_a_model_by_digest_is_pinned(shop: Shop, registry: Registry) -> None:
    digest = digest_of(registry.manifests["3b"][1])
    async with open_registry(registry) as server:
        manifest = await pull(shop, server, f"library/tiny:3b@{digest}")
    assert (manifest.trust, manifest.revision, manifest.name) == ("attested", digest, "tiny:3b")
    assert paths(server)[0].endswith(digest)


async def test_an_index_with_one_model_among_statements(shop: Shop, registry: Registry) -> None:
    model = registry.manifest("x", registry.layer(RAW, BODY, "Tiny.Q4_0.gguf"))
    statement = {**registry.manifest("y"), "annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
    registry.manifest("all", statement, model, kind=OCI_INDEX)
    async with open_registry(registry) as server:
        manifest = await pull(shop, server, "library/tiny:all")
    assert (manifest.weights_name, manifest.revision) == ("Tiny.Q4_0.gguf", model["digest"])


MEDIA = [
    (f"{OLLAMA}.model", None),
    ("application/vnd.docker.ai.gguf.v3", None),
    ("application/vnd.docker.ai.gguf", "x/weights.gguf"),
    ("application/vnd.cncf.model.weight.v1.gguf", None),
    (RAW, "model.gguf"),
    ("application/octet-stream", "model.gguf"),
    ("application/vnd.oci.image.layer.v1", "model.gguf"),
]


@pytest.mark.parametrize(("kind", "title"), MEDIA)
async def test_layers_of_every_kind(shop: Shop, registry: Registry, kind: str, title: str | None) -> None:
    registry.manifest("3b", registry.layer(kind, BODY, title), annotations={"org.opencontainers.image.licenses": "MIT"})
    async with open_registry(registry) as server:
        manifest = await pull(shop, server)
    assert (manifest.weights, manifest.licence) == (blob_of(BODY), "MIT")
    assert manifest.weights_name == (title or "tiny-3b.gguf").rpartition("/")[2]


async def test_a_projector_comes_along_and_one_of_several_is_picked(shop: Shop, registry: Registry) -> None:
    layers = [registry.layer(RAW, tiny_model(seed=n), f"seer-7b-{q}.gguf") for n, q in enumerate(("Q4_0", "Q8_0"))]
    registry.manifest("3b", *layers, registry.layer(RAW, tiny_projector().build(), "mmproj-seer-7b-f16.gguf"))
    async with open_registry(registry) as server:
        ambiguous = await refusal(shop, server)
        manifest = await pull(shop, server, "library/tiny:3b#seer-7b-Q8_0.gguf")
    assert ambiguous.code == "source_ambiguous" and "#seer-7b-Q4_0.gguf" in ambiguous.hint
    assert [file.name for file in manifest.files] == ["seer-7b-Q8_0.gguf", "mmproj-seer-7b-f16.gguf"]


@pytest.mark.parametrize("titled", [True, False])
async def test_a_split_model(shop: Shop, registry: Registry, titled: bool) -> None:
    """Layers with the names of shards, or several of Ollama's without names, in order."""
    layers = []
    for number, shard in enumerate(tiny_set(3), start=1):
        title = f"Big/tiny-3b-0000{number}-of-00003.gguf" if titled else None
        layers.append(registry.layer(RAW if titled else f"{OLLAMA}.model", shard.build(), title))
    registry.manifest("3b", *(reversed(layers) if titled else layers))
    async with open_registry(registry) as server:
        manifest = await pull(shop, server)
        registry.manifest("less", *layers[1:])
        if titled:
            shop.library.remove(manifest.name)
            assert (await refusal(shop, server, "library/tiny:less")).code == "shard_missing"
    assert [file.name for file in manifest.files] == [f"tiny-3b-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    assert [file.blob.digest for file in manifest.files] == [layer["digest"] for layer in layers]


@pytest.mark.parametrize("said", ["text/plain; charset=utf-8", "application/json"])
async def test_a_manifest_sent_as_plain_text_says_itself_what_it_is(shop: Shop, registry: Registry, said: str) -> None:
    registry.manifest_type = said
    async with open_registry(registry) as server:
        assert (await pull(shop, server)).name == "tiny:3b"


async def test_bytes_elsewhere_need_leave_and_get_no_secret(shop: Shop, registry: Registry) -> None:
    def storage(request: Request) -> Reply:
        return file_reply(request, registry.blobs[request.path[1:]])

    registry.scheme = "bearer"
    async with serving(storage) as elsewhere, open_registry(registry) as server:
        registry.storage = elsewhere.url
        error = await refusal(shop, server)
        assert (type(error), error.code) == (Refused, "redirect_refused")
        assert elsewhere.seen == [], "nobody asked a host that is not allowed"
        await pull(shop, server, hosts=(elsewhere.host,))
    assert elsewhere.seen and all("authorization" not in request.headers for request in elsewhere.seen)


async def test_an_interrupted_layer_is_resumed(shop: Shop, registry: Registry) -> None:
    def cut(request: Request, reply: Reply) -> Reply:
        reply.cut_after = 70_000
        return reply

    registry.on_blob = cut
    registry.manifest("3b", registry.layer(RAW, BODY, "tiny.gguf"))
    async with open_registry(registry) as server:
        assert (await pull(shop, server)).weights == blob_of(BODY)
    assert server.ranges()[1:] == [None, "bytes=70000-", "bytes=140000-"]


# logins -----------------------------------------------------------------------------------------------------------


def credentials(folder: Path, host: str, login: str, mode: int = 0o600) -> Path:
    file = folder / "registries.json"
    file.write_text(json.dumps({"auths": {host: {"auth": basic(login).removeprefix("Basic ")}}, "credsStore": "x"}))
    file.chmod(mode)
    return file


async def test_a_token_for_anybody(shop: Shop, registry: Registry) -> None:
    registry.scheme = "bearer"
    async with open_registry(registry) as server:
        await pull(shop, server)
    assert registry.asked_scopes == ["repository:library/tiny:pull"], "not what the registry would have liked"
    sent = [request.headers.get("authorization") for request in server.seen]
    assert sent == [None, None, "Bearer token-1", "Bearer token-1", "Bearer token-1"]


@pytest.mark.parametrize("scheme", ["bearer", "basic"])
async def test_a_login_from_the_credentials_file(shop: Shop, registry: Registry, scheme: str, tmp_path: Path) -> None:
    registry.scheme, registry.login = scheme, "me:pass:word"
    async with open_registry(registry) as server:
        needed = await refusal(shop, server)
        wrong = await refusal(shop, server, credentials=credentials(tmp_path, server.host, "me:other"))
        unknown = await refusal(shop, server, credentials=credentials(tmp_path, "other.example", "me:pass:word"))
        await pull(shop, server, credentials=credentials(tmp_path, server.host, "me:pass:word"))
    codes = [needed.code, wrong.code, unknown.code]
    assert codes == ["registry_login_needed", "registry_login_refused", "registry_login_needed"]
    assert not any("pass:word" in str(error) for error in (needed, wrong, unknown))


async def test_a_token_that_runs_out_in_mid_layer_is_asked_for_anew(shop: Shop, registry: Registry) -> None:
    registry.scheme = "bearer"
    registry.manifest("3b", registry.layer(RAW, BODY, "tiny.gguf"))

    def cut(request: Request, reply: Reply) -> Reply:
        registry.tokens.clear()
        reply.cut_after = 150_000
        return reply

    registry.on_blob = cut
    async with open_registry(registry) as server:
        await pull(shop, server)
    assert registry.issued == 2


async def test_a_registry_that_takes_no_token_is_not_asked_for_ever(shop: Shop, registry: Registry) -> None:
    registry.scheme = "bearer"
    registry.manifest("3b", registry.layer(RAW, BODY, "tiny.gguf"))
    async with open_registry(registry) as server:
        registry.on_blob = lambda _, reply: error(
            401, "DENIED", {"WWW-Authenticate": f'Bearer realm="{server.url}/token"'}
        )
        assert (await refusal(shop, server)).code == "source_denied"
        assert registry.issued == 2
        registry.on_manifest = lambda _: error(
            401, "DENIED", {"WWW-Authenticate": f'Bearer realm="{server.url}/token"'}
        )
        assert (await refusal(shop, server)).code == "registry_login_needed"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601])
async def test_credentials_that_others_could_read(shop: Shop, registry: Registry, mode: int, tmp_path: Path) -> None:
    registry.scheme, registry.login = "basic", "me:password"
    async with open_registry(registry) as server:
        error = await refusal(shop, server, credentials=credentials(tmp_path, server.host, "me:password", mode))
    assert (type(error), error.code) == (Refused, "credentials_exposed")
    assert all("authorization" not in request.headers for request in server.seen)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"auths":[]}', b'{"auths":{"h":{"auth":"%"}}}', b'{"auths":{"h":{"auth":"bm9jb2xvbg=="}}}',
     b'{"auths":{"h":{"registrytoken":"a b"}}}', b" " * (2 << 20)],
)  # fmt: skip
def test_credentials_that_make_no_sense(body: bytes, tmp_path: Path) -> None:
    file = tmp_path / "registries.json"
    file.write_bytes(body)
    file.chmod(0o600)
    with pytest.raises(Misasked) as refused:
        login_for("h", file)
    assert refused.value.code == "credentials_unreadable"
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(Misasked):
        login_for("h", tmp_path / "fifo")


def test_credentials_by_any_spelling_and_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "registries.json"
    secret = basic("me:secret").removeprefix("Basic ")
    file.write_text(
        json.dumps({"auths": {"https://index.docker.io/v1/": {"auth": secret}, "h": {"registrytoken": "t"}}})
    )
    file.chmod(0o600)
    login = login_for("docker.io", file)
    assert login is not None and login.basic == basic("me:secret")
    assert secret not in repr(login)
    ready = login_for("h", file)
    assert ready is not None and ready.token == "t"
    assert login_for("other", file) is login_for("h", None) is login_for("h", tmp_path / "absent") is None


async def test_a_token_server_elsewhere_needs_leave(shop: Shop, registry: Registry, tmp_path: Path) -> None:
    registry.scheme, registry.login = "bearer", "me:password"
    async with serving(registry) as elsewhere, open_registry(registry) as server:
        registry.realm = f"{elsewhere.url}/token"
        file = credentials(tmp_path, server.host, "me:password")
        error = await refusal(shop, server, credentials=file)
        assert (type(error), error.code) == (Refused, "host_refused")
        assert elsewhere.seen == []
        await pull(shop, server, credentials=file, hosts=(elsewhere.host,))


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "registry_login_unknown"),
        ('Negotiate realm="x"', "registry_login_unknown"),
        ("Bearer", "registry_bad_challenge"),
        ('Bearer realm="token"', "registry_bad_challenge"),
        ('Bearer realm="file:///etc/passwd"', "registry_bad_challenge"),
        ('Bearer realm="http://[::1/"', "registry_bad_challenge"),
        ('Bearer realm="https://me:secret@example.org/"', "bad_url"),
        ('Bearer realm="https://example.org/token"', "host_refused"),
        ('Bearer realm="http://example.org/token"', "bad_url"),
    ],
)
async def test_challenges_that_lead_nowhere(shop: Shop, registry: Registry, header: str, code: str) -> None:
    registry.on_manifest = lambda _: error(401, "DENIED", {"WWW-Authenticate": header})
    async with open_registry(registry) as server:
        assert (await refusal(shop, server)).code == code


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token":5}', b'{"token":"a\\r\\nX: y"}', b'{"token":""}'])
async def test_a_token_server_that_sends_none(shop: Shop, registry: Registry, body: bytes) -> None:
    registry.scheme = "bearer"
    async with serving(lambda _: Reply(200, {}, body)) as elsewhere, open_registry(registry) as server:
        registry.realm = elsewhere.url
        refused = await refusal(shop, server, hosts=(elsewhere.host,))
    assert isinstance(refused, Broken) and refused.code in ("registry_bad_token", "source_bad_answer")


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('Bearer realm="https://a/t",service="s"', [("bearer", {"realm": "https://a/t", "service": "s"})]),
        ('basic realm="a, b", BEARER Realm=x', [("basic", {"realm": "a, b"}), ("bearer", {"realm": "x"})]),
        (r'Basic realm="say \"hi\""', [("basic", {"realm": 'say "hi"'})]),
        ("Negotiate, Basic", [("negotiate", {}), ("basic", {})]),
        ("", []),
        ('="x"', []),
    ],
)
def test_challenges(header: str, found: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges(header) == [Challenge(scheme, parameters) for scheme, parameters in found]


@given(st.text(alphabet='Bearbsic realm="\\,xy/: =', max_size=300))
def test_any_header_is_read_without_harm(header: str) -> None:
    challenge = best(parse_challenges(header))
    assert challenge is None or challenge.scheme in ("bearer", "basic")


def test_a_token_is_not_asked_for_unencrypted() -> None:
    with pytest.raises(Refused):
        Challenge("bearer", {"realm": "http://127.0.0.1/token"}).token_url("a", "https")
    asked = Challenge("bearer", {"realm": "https://a/t?x=1", "service": "s&p"}).token_url("b/c", "https")
    assert asked == "https://a/t?x=1&service=s%26p&scope=repository%3Ab%2Fc%3Apull"


# lies -------------------------------------------------------------------------------------------------------------


def short(_: Request, reply: Reply) -> Reply:
    return Reply(reply.status, reply.headers, reply.body[:-5], length=None)


def endless(_: Request, reply: Reply) -> Reply:
    return Reply(reply.status, {}, reply.body, endless=True)


def other_bytes(_: Request, reply: Reply) -> Reply:
    return Reply(reply.status, reply.headers, flipped(reply.body, 5))


def other_length(_: Request, reply: Reply) -> Reply:
    return Reply(200, {}, reply.body + b"more")


def stalled(_: Request, reply: Reply) -> Reply:
    return Reply(reply.status, reply.headers, reply.body, stall_after=min(100, len(reply.body)))


def changed_on_resume(request: Request, reply: Reply) -> Reply:
    if "range" in request.headers:
        return Reply(206, {**reply.headers, "ETag": '"other"'}, flipped(reply.body, 0))
    reply.cut_after = 100_000
    return reply


def changed_unseen_on_resume(request: Request, reply: Reply) -> Reply:
    """The same ETag, other bytes: only the digest tells."""
    if "range" in request.headers:
        return Reply(206, reply.headers, flipped(reply.body, 0))
    reply.cut_after = 100_000
    return reply


def busy(_: Request, __: Reply) -> Reply:
    return Reply(503, {"Retry-After": "0"})


def too_many(_: Request, __: Reply) -> Reply:
    return Reply(429, {"Retry-After": "7200"})


def elsewhere(_: Request, __: Reply) -> Reply:
    return Reply(302, {"Location": "http://169.254.169.254/latest/meta-data"})


LIES: list[tuple[Callable[[Request, Reply], Reply], type[IntramuralError], str]] = [
    (short, Broken, "source_ended_early"),
    (endless, Untrusted, "source_too_long"),
    (other_bytes, Untrusted, "digest_mismatch"),
    (other_length, Untrusted, "source_wrong_size"),
    (stalled, Unavailable, "source_stalled"),
    (changed_on_resume, Untrusted, "source_changed"),
    (changed_unseen_on_resume, Untrusted, "digest_mismatch"),
    (busy, Unavailable, "source_busy"),
    (too_many, Unavailable, "source_busy"),
    (elsewhere, Refused, "redirect_refused"),
]


@pytest.mark.parametrize(("lie", "kind", "code"), LIES)
async def test_layers_that_lie(
    shop: Shop, registry: Registry, lie: Callable[[Request, Reply], Reply], kind: type[IntramuralError], code: str
) -> None:
    registry.manifest("3b", registry.layer(RAW, BODY, "tiny.gguf"))
    registry.on_blob = lie
    async with open_registry(registry) as server:
        error = await refusal(shop, server)
    assert (type(error), error.code) == (kind, code)


LAYERS = [
    ({"digest": "sha256:../../../../etc/passwd"}, "bad_digest"),
    ({"digest": "sha512:" + "0" * 128}, "bad_digest"),
    ({"size": 2**62}, "disk_full"),
    ({"size": 2**70}, "bad_size"),
    ({"size": -1}, "bad_size"),
    ({"size": 1.5}, "bad_registry_manifest"),
    ({"annotations": {"org.opencontainers.image.title": "../../../x.gguf"}}, "bad_file_name"),
    ({"annotations": {"org.opencontainers.image.title": "/etc/x.gguf"}}, "bad_file_name"),
    ({"annotations": {"org.cncf.model.filepath": "a/../../x.gguf"}}, "bad_file_name"),
    ({"annotations": {"org.opencontainers.image.title": "x\x1b[2J.gguf"}}, "bad_file_name"),
    ({"annotations": {"org.opencontainers.image.title": 5}}, "bad_registry_manifest"),
    ({"mediaType": f"{OLLAMA}.adapter"}, "adapter_unsupported"),
    ({"mediaType": "application/vnd.kitops.modelkit.model.v1.tar"}, "weights_packed"),
    ({"mediaType": "application/vnd.cncf.model.weight.v1.tar+gzip"}, "weights_packed"),
    ({"mediaType": "application/x-python-pickle", "annotations": {}}, "source_has_no_gguf"),
]


@pytest.mark.parametrize(("change", "code"), LAYERS)
async def test_manifests_whose_layers_lie(shop: Shop, registry: Registry, change: dict[str, Any], code: str) -> None:
    registry.manifest("3b", {**registry.layer(f"{OLLAMA}.model", BODY, "model.gguf"), **change})
    async with open_registry(registry) as server:
        error = await refusal(shop, server)
    assert error.code == code
    assert len(server.seen) == 1, "no layer was asked for"


ANY_LAYERS = b",".join([b'{"mediaType":"x","digest":"x","size":1}'] * 3000)


async def test_a_file_named_twice_is_refused(shop: Shop, registry: Registry) -> None:
    twice = [registry.layer(RAW, tiny_model(seed=n), f"{n}/x.gguf") for n in (1, 2)]
    registry.manifest("3b", *twice)
    async with open_registry(registry) as server:
        assert (await refusal(shop, server)).code == "duplicate_file"


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"", OCI_MANIFEST, "bad_registry_manifest"),
        (b"null", OCI_MANIFEST, "bad_registry_manifest"),
        (b"[" * 100_000, OCI_MANIFEST, "bad_registry_manifest"),
        (b'{"schemaVersion":1,"layers":[]}', OCI_MANIFEST, "bad_registry_manifest"),
        (b'{"schemaVersion":2,"layers":[]}', OCI_MANIFEST, "source_has_no_gguf"),
        (b'{"schemaVersion":2,"layers":[]}', "text/html", "bad_registry_manifest"),
        (b'{"schemaVersion":2,"manifests":[]}', OCI_INDEX, "source_empty"),
        (b'{"schemaVersion":2,"mediaType":"another","layers":[]}', OCI_MANIFEST, "bad_registry_manifest"),
        (b'{"schemaVersion":2,"layers":[%s]}' % ANY_LAYERS, OCI_MANIFEST, "bad_registry_manifest"),
        (b" " * (5 << 20), OCI_MANIFEST, "source_too_long"),
    ],
)  # fmt: skip
async def test_what_is_no_manifest(shop: Shop, registry: Registry, body: bytes, kind: str, code: str) -> None:
    registry.put("3b", kind, body)
    async with open_registry(registry) as server:
        assert (await refusal(shop, server)).code == code


async def test_an_endless_manifest(shop: Shop, registry: Registry) -> None:
    registry.on_manifest = lambda _: Reply(200, {"Content-Type": OCI_MANIFEST}, b"{", endless=True)
    async with open_registry(registry) as server:
        assert (await refusal(shop, server)).code == "source_too_long"


async def test_indexes_in_indexes_in_circles(shop: Shop, registry: Registry) -> None:
    inner = registry.manifest("inner", registry.manifest("m", registry.layer(RAW, BODY, "a.gguf")), kind=OCI_INDEX)
    registry.manifest("nested", inner, kind=OCI_INDEX)
    registry.manifest("disguised", {**inner, "mediaType": OCI_MANIFEST}, kind=OCI_INDEX)
    async with open_registry(registry) as server:
        assert (await refusal(shop, server, "library/tiny:nested")).code == "source_empty"
        assert (await refusal(shop, server, "library/tiny:disguised")).code == "bad_registry_manifest"
    assert len(server.seen) == 3, "one level, and no further"


async def test_an_index_of_several_models_lists_them(shop: Shop, registry: Registry) -> None:
    listed = [registry.manifest(str(n), registry.layer(RAW, tiny_model(seed=n), "a.gguf")) for n in (1, 2)]
    registry.manifest("all", *listed, kind=OCI_INDEX)
    async with open_registry(registry) as server:
        several = await refusal(shop, server, "library/tiny:all")
        assert several.code == "source_ambiguous"
        manifest = await pull(shop, server, f"library/tiny@{listed[1]['digest']}")
    assert listed[1]["digest"] in several.hint
    assert manifest.trust == "attested"


async def test_manifests_that_are_not_what_was_asked_for(shop: Shop, registry: Registry) -> None:
    model = registry.manifest("m", registry.layer(RAW, BODY, "a.gguf"))
    registry.manifest("all", model, kind=OCI_INDEX)
    other = registry.manifest("other", registry.layer(RAW, tiny_model(seed=2), "a.gguf"))
    registry.manifests[model["digest"]] = registry.manifests[other["digest"]]
    registry.manifest("long", {**other, "size": other["size"] + 1}, kind=OCI_INDEX)
    async with open_registry(registry) as server:
        for what in (f"library/tiny@{model['digest']}", "library/tiny:all", "library/tiny:long"):
            error = await refusal(shop, server, what)
            assert (type(error), error.code) == (Untrusted, "registry_digest_mismatch")
        registry.manifest_headers = {"Docker-Content-Digest": "sha256:" + "0" * 64}
        assert (await refusal(shop, server, "library/tiny:other")).code == "registry_digest_mismatch"


async def test_a_licence_that_is_another_one_is_refused_and_a_lost_one_unknown(shop: Shop, registry: Registry) -> None:
    registry.blobs[digest_of(APACHE)] = b"MIT license" + b" " * (len(APACHE) - 11)
    async with open_registry(registry) as server:
        assert (await refusal(shop, server)).code == "registry_digest_mismatch"
        del registry.blobs[digest_of(APACHE)]
        assert (await pull(shop, server)).licence == "unknown"


async def test_a_moved_tag_is_another_revision(shop: Shop, registry: Registry) -> None:
    async with open_registry(registry) as server:
        first = await pull(shop, server)
        registry.manifest("3b", registry.layer(f"{OLLAMA}.model", tiny_model(seed=4)))
        with pytest.raises(IntramuralError) as taken:
            await pull(shop, server)
        pinned = await pull(shop, server, f"library/tiny:3b@{first.revision}")
    assert taken.value.code == "model_name_taken"
    assert (pinned.revision, pinned.weights) == (first.revision, first.weights)


async def test_what_is_not_there(shop: Shop, registry: Registry) -> None:
    async with open_registry(registry) as server:
        for what in ("library/tiny:other", "library/absent:3b", "library/tiny:3b#other.gguf"):
            assert isinstance(await refusal(shop, server, what), Missing)
    gone = await refusal(shop, server)
    assert (type(gone), gone.code) == (Unavailable, "source_unreachable")


async def test_certificates_are_checked(shop: Shop, registry: Registry, tmp_path: Path) -> None:
    context, trusted = certificate(tmp_path, "127.0.0.1")
    async with open_registry(registry, tls=context) as server:
        error = await refusal(shop, server)
        assert (type(error), error.code) == (Untrusted, "bad_tls")
        assert server.seen == []
        manifest = await pull(shop, server, reach=Reach(direct, trusted, limits=QUICK))
    assert manifest.source == f"oci://{server.host}/library/tiny:3b"


# names ------------------------------------------------------------------------------------------------------------

HEX = "0" * 64


@pytest.mark.parametrize(
    ("text", "manifest_url", "name"),
    [
        ("//h.example/a/b:c", "https://h.example/v2/a/b/manifests/c", "b:c"),
        ("//H.example:5000/a", "https://h.example:5000/v2/a/manifests/latest", "a"),
        ("//[::1]:5000/a:B", "https://[::1]:5000/v2/a/manifests/B", "a:b"),
        (f"//h.example/a:t@sha256:{HEX}#x.gguf", f"https://h.example/v2/a/manifests/sha256:{HEX}", "a:t"),
        ("//docker.io/ai/smollm2", "https://registry-1.docker.io/v2/ai/smollm2/manifests/latest", "smollm2"),
    ],
)
def test_names_of_models_in_registries(text: str, manifest_url: str, name: str) -> None:
    reference = parse_reference(text[2:])
    assert (reference.url("manifests", reference.manifest), suggestion_of(reference)) == (manifest_url, name)
    assert reference.text == text


@pytest.mark.parametrize(
    ("text", "manifest_url"),
    [
        ("m", "https://registry.ollama.ai/v2/library/m/manifests/latest"),
        ("me/m:3b", "https://registry.ollama.ai/v2/me/m/manifests/3b"),
        ("hf.co/me/M-GGUF:Q4_K_M", "https://hf.co/v2/me/M-GGUF/manifests/Q4_K_M"),
        (f"m@sha256:{HEX}", f"https://registry.ollama.ai/v2/library/m/manifests/sha256:{HEX}"),
    ],
)
def test_names_of_models_at_ollama(text: str, manifest_url: str) -> None:
    reference = parse_ollama(text)
    assert reference.url("manifests", reference.manifest) == manifest_url
    assert parse_ollama(reference.text).url("manifests", reference.manifest) == manifest_url


@pytest.mark.parametrize(
    "text",
    [
        "//", "//h", "//h/", "//h/..", "//h/a/../b", "//h/a//b", "//h/a:", "//h/a:..", "//h/a:b/c", "//h/a@sha256:0",
        "//h/a@", "//h/a#", "//h/a#../x.gguf", "//h/a#x/y.gguf", "//h/a#x.bin", "//h/a?x=y", "//h/a%2f..", "//me@h/a",
        "//h h/a", "//h/a b", "//h\\x/a", "//h/a:b:c", f"//h/{'a' * 256}", "//h/a\r\nX: y", "h/a:b", "//../a", "//-h/a",
    ],
)  # fmt: skip
def test_names_that_lead_elsewhere(text: str) -> None:
    with pytest.raises(Misasked) as refused:
        parse_source(f"oci:{text}", Path("/nowhere"))
    assert refused.value.code == "bad_source"


@pytest.mark.parametrize("text", ["oci://h.example/a:b", "ollama:m", "oci+http://127.0.0.1:5000/a"])
def test_with_the_network_off_nothing_is_asked(text: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_source(text, Path("/nowhere"), Outside(allowed=False))
    assert refused.value.code == "network_off"


async def test_unencrypted_registries_only_on_this_machine(shop: Shop) -> None:
    with pytest.raises(Misasked) as refused:
        await shop.pull(parse_source("oci+http://registry.example.org/a:b", Path("/nowhere")))
    assert refused.value.code == "bad_url"
