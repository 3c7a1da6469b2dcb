"""The same, from the registry that everybody runs (CNCF Distribution), where `scripts/test-system` could fetch it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urljoin

import httpx2
import pytest
from tests.direct import OUTSIDE, direct
from tests.fakes import distribution
from tests.fakes.gguf_file import tiny_model
from tests.fakes.registry import OCI_INDEX, OCI_MANIFEST, TITLE, digest_of
from tests.fakes.source import blob_of
from tests.library.shop import Shop

from intramural.core.errors import IntramuralError
from intramural.library import Outside, Registries, parse_source

pytestmark = pytest.mark.skipif(distribution.BINARY is None, reason="there is no docker-registry here")

BODY = tiny_model(extra_bytes=3 << 20)


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[str]:
    async with distribution.running(tmp_path) as address:
        yield address


@pytest.fixture
def credentials(tmp_path: Path, host: str) -> Path:
    return distribution.credentials(tmp_path, host)


class Pusher:
    """Pushes as the specification says."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def blob(self, kind: str, body: bytes, title: str) -> dict[str, object]:
        begun = await self._client.post("/v2/team/tiny/blobs/uploads/")
        assert begun.status_code == 202
        url = httpx2.URL(urljoin(str(begun.url), begun.headers["location"])).copy_merge_params(
            {"digest": digest_of(body)}
        )
        assert (await self._client.put(url, content=body)).status_code == 201
        return {"mediaType": kind, "digest": digest_of(body), "size": len(body), "annotations": {TITLE: title}}

    async def manifest(self, tag: str, kind: str, **content: object) -> dict[str, object]:
        body = json.dumps({"schemaVersion": 2, "mediaType": kind, **content}).encode()
        put = await self._client.put(f"/v2/team/tiny/manifests/{tag}", content=body, headers={"Content-Type": kind})
        assert put.status_code == 201, put.text
        return {"mediaType": kind, "digest": digest_of(body), "size": len(body)}


async def test_a_model_from_a_real_registry(shop: Shop, host: str, credentials: Path) -> None:
    async with httpx2.AsyncClient(base_url=f"http://{host}", auth=("me", "password"), trust_env=False) as client:
        push = Pusher(client)
        config = await push.blob("application/vnd.oci.image.config.v1+json", b"{}", "config.json")
        layer = await push.blob("application/octet-stream", BODY, "Tiny.Q4_0.gguf")
        model = await push.manifest("3b", OCI_MANIFEST, config=config, layers=[layer])
        await push.manifest("all", OCI_INDEX, manifests=[model])
    outside = Outside(registries=Registries(credentials=credentials)).through(direct)

    with pytest.raises(IntramuralError) as needed:
        await shop.pull(parse_source(f"oci+http://{host}/team/tiny:3b", Path("/nowhere"), OUTSIDE))
    assert needed.value.code == "registry_login_needed"

    part = shop.root / "incoming" / f"{str(layer['digest'])[7:]}.part"
    part.write_bytes(BODY[:1_234_567])  # what an interrupted pull leaves
    for what, name, trust in (
        ("team/tiny:3b", None, "attested"),
        ("team/tiny:all", "by-index", "attested"),
        (f"team/tiny@{model['digest']}", "by-digest", "attested"),
    ):
        source = parse_source(f"oci+http://{host}/{what}", Path("/nowhere"), outside)
        manifest, _ = await shop.pull(source, name)
        assert (manifest.weights, manifest.trust, manifest.revision) == (blob_of(BODY), trust, model["digest"])
    shop.check_invariant()
