"""Models from elsewhere, through the real program: settings, confined inspection, audit."""

import asyncio
import base64
import json
from pathlib import Path

from tests.fakes import hub as fake_hub
from tests.fakes.gguf_file import tiny_model, tiny_projector, tiny_set
from tests.fakes.hub import Repository
from tests.fakes.registry import OLLAMA, Registry
from tests.fakes.web import serving
from tests.service import Service


async def test_a_model_from_a_registry_with_a_login_and_one_from_this_disk(fresh: Service, tmp_path: Path) -> None:
    registry = Registry(scheme="bearer", login="me:crane-ledger-41")
    registry.manifest("3b", registry.layer(f"{OLLAMA}.model", tiny_model(seed=1)))
    file = tmp_path / "mine.gguf"
    file.write_bytes(tiny_model(seed=2))
    file.chmod(0o644)
    async with serving(registry) as server:
        registry.url = server.url
        fresh.data_dir.mkdir(mode=0o700)
        credentials = fresh.data_dir / "registries.json"
        auth = base64.b64encode(b"me:crane-ledger-41").decode()
        credentials.write_text(json.dumps({"auths": {server.host: {"auth": auth}}}))
        credentials.chmod(0o600)
        await asyncio.to_thread(fresh.command, "pull", f"oci+http://{server.host}/library/tiny:3b")
    await asyncio.to_thread(fresh.command, "pull", f"file:{file}")
    assert file.stat().st_nlink == 2, "linked, not copied"
    fresh.start().set_up()
    shelved = {e["facts"]["source"]: e["facts"]["trust"] for e in fresh.events() if e["event"] == "model.shelved"}
    assert shelved[f"oci+http://{server.host}/library/tiny:3b"] == "attested"
    assert shelved["file:mine.gguf"] == "local"
    assert "crane-ledger-41" not in json.dumps(fresh.events())


async def test_a_split_model_with_its_projector_from_a_private_hub(fresh: Service, tmp_path: Path) -> None:
    """By the settings alone; each shard, the set and the projector are read in confinement."""
    token = tmp_path / "token"
    token.write_text("hf_right\n")
    files = {f"big-Q4_0-{n:05}-of-00003.gguf": file.build() for n, file in enumerate(tiny_set(3), start=1)}
    files["mmproj-F16.gguf"] = tiny_projector().build()
    async with fake_hub.running({"acme/big": Repository(files, private=True)}) as hub:
        fresh.settings |= {
            "INTRAMURAL_LIBRARY_HUB": hub.url,
            "INTRAMURAL_LIBRARY_HUB_TOKEN_FILE": str(token),
            "INTRAMURAL_LIBRARY_REDIRECT_HOSTS": hub.store.host,
        }
        await asyncio.to_thread(fresh.command, "pull", "hf:acme/big:q4_0")
        commit = hub.repositories["acme/big"].commit
    fresh.start().set_up()
    source = f"hf:acme/big/big-Q4_0-00001-of-00003.gguf@{commit}"
    shelved = {e["facts"]["source"]: e["facts"]["trust"] for e in fresh.events() if e["event"] == "model.shelved"}
    assert shelved[source] == "attested"
    assert "hf_right" not in json.dumps(fresh.events())
