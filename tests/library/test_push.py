"""A model on its way to a registry, and back from there as the same bytes."""

import json
from pathlib import Path

import pytest
from tests.direct import REACH, REGISTRIES
from tests.fakes import distribution
from tests.fakes.gguf_file import tiny_model, tiny_set
from tests.fakes.registry import Registry, error
from tests.fakes.source import FilesSource, LyingSource
from tests.fakes.web import Reply, Request, serving
from tests.library.shop import Shop

from intramural.core.errors import IntramuralError
from intramural.library import Defaults, Outside, Push, Pushed, Registries, Said, parse_reference, parse_source

BODY = tiny_model(extra_bytes=3 << 20)
TALKS = Defaults(system="Be brief.", temperature=0.5, max_tokens=9, messages=(Said("user", "hi"),))


async def _shelved(shop: Shop) -> None:
    await shop.pull(LyingSource(BODY, chunk_bytes=1 << 20), "tiny")
    shop.library.put_derived(shop.library.derived("tiny", "tiny", TALKS), "tiny")


async def _push(shop: Shop, where: str, registries: Registries | None = None) -> tuple[str, list[Pushed]]:
    states: list[Pushed] = []
    job = Push(parse_reference(where, "http"), registries or REGISTRIES, shop.library.open_unverified)
    return await job.run(shop.library.get("tiny"), states.append), states


async def test_there_and_back(shop: Shop) -> None:
    await _shelved(shop)
    registry = Registry(repository="team/tiny", scheme="bearer", login="me:password")
    async with serving(registry) as server:
        registry.url = server.url
        login = distribution.credentials(shop.root.parent, server.host)
        registries = Registries(login, reach=REACH)
        digest, states = await _push(shop, f"{server.host}/team/tiny:3b", registries)
        assert registry.asked_scopes == ["repository:team/tiny:pull,push"]
        manifest = json.loads(registry.manifests["3b"][1])
        kinds = {layer["mediaType"].rpartition(".")[2]: layer["digest"] for layer in manifest["layers"]}
        assert set(kinds) == {"model", "system", "params", "messages"}
        assert registry.blobs[kinds["model"]] == BODY
        assert json.loads(registry.blobs[kinds["params"]]) == {"temperature": 0.5, "num_predict": 9}
        assert registry.blobs[kinds["system"]] == b"Be brief."
        assert states[-1] == Pushed(None)
        done = [each.done_bytes for each in states if each.blob and each.blob.size_bytes == len(BODY)]
        assert done == sorted(done) and done[-1] == len(BODY)
        puts = sum(request.method == "PUT" for request in server.seen)
        assert (await _push(shop, f"{server.host}/team/tiny:3b", registries))[0] == digest
        assert sum(request.method == "PUT" for request in server.seen) == puts + 1, "only the manifest went again"
        back = parse_source(f"oci+http://{server.host}/team/tiny:3b", Path("/nowhere"), Outside(registries=registries))
        again, _ = await shop.pull(back, "back")
        assert (again.files[0].blob, again.revision, again.licence) == (shop.library.get("tiny").weights, digest, "MIT")


async def test_a_set_goes_with_its_names(shop: Shop) -> None:
    await shop.pull(FilesSource([file.build() for file in tiny_set(3)]), "tiny")
    registry = Registry(repository="team/tiny")
    async with serving(registry) as server:
        await _push(shop, f"{server.host}/team/tiny")
        layers = json.loads(registry.manifests["latest"][1])["layers"]
        assert [layer["annotations"]["org.opencontainers.image.title"] for layer in layers] == [
            file.name for file in shop.library.get("tiny").files
        ]


def _elsewhere(_: Request) -> Reply:
    return Reply(202, {"Location": "http://127.0.0.2:9/upload"})


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (lambda _: Reply(202), "registry_bad_upload"),
        (_elsewhere, "host_refused"),
        (lambda _: Reply(202, {"Location": "https://192.0.2.1/upload"}), "host_refused"),
        (lambda _: error(403, "DENIED"), "source_denied"),
        (lambda _: Reply(200), "source_bad_answer"),
    ],
)
async def test_a_registry_cannot_send_the_bytes_elsewhere(shop: Shop, lie: object, code: str) -> None:
    await _shelved(shop)
    registry = Registry(repository="team/tiny")
    registry.on_upload = lie  # type: ignore[assignment]  # a parameter of the test
    async with serving(registry) as server:
        with pytest.raises(IntramuralError) as caught:
            await _push(shop, f"{server.host}/team/tiny:3b")
    assert caught.value.code == code
    assert registry.manifests == {}


async def test_without_encryption_only_to_this_machine(shop: Shop) -> None:
    await _shelved(shop)
    with pytest.raises(IntramuralError) as caught:
        await _push(shop, "registry.example.org/team/tiny:3b")
    assert caught.value.code == "bad_url"


@pytest.mark.skipif(distribution.BINARY is None, reason="there is no docker-registry here")
async def test_a_real_registry_takes_it(shop: Shop, tmp_path: Path) -> None:
    await _shelved(shop)
    folder = tmp_path / "registry"
    folder.mkdir()
    async with distribution.running(folder) as host:
        registries = Registries(distribution.credentials(folder, host), reach=REACH)
        digest, _ = await _push(shop, f"{host}/team/tiny:3b", registries)
        with pytest.raises(IntramuralError) as needed:
            await _push(shop, f"{host}/team/tiny:3b")
        assert needed.value.code == "registry_login_needed" and "write to" in needed.value.message
        back = parse_source(f"oci+http://{host}/team/tiny:3b", Path("/nowhere"), Outside(registries=registries))
        again, _ = await shop.pull(back, "back")
        assert (again.revision, again.weights) == (digest, shop.library.get("tiny").weights)
