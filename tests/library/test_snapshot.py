"""Safetensors snapshots: each file and all together, from a hub to the shelf, into a bundle and out, never loaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.direct import REACH
from tests.fakes import hub as fake
from tests.fakes import onnx_file
from tests.fakes.gguf_file import tiny_model
from tests.fakes.hub import Hub, Repository
from tests.fakes.safetensors_file import CONFIG, TEMPLATE, encoded, tiny_shards, tiny_snapshot, tiny_weights
from tests.fakes.source import blob_of, flipped
from tests.fakes.web import Reply
from tests.library.shop import Shop

from intramural.core.errors import IntramuralError, Misasked, Missing, Refused, Untrusted
from intramural.library import FileSource, HubSource, Malformed, Manifest, ModelFacts, ModelFile, Source
from intramural.library.examination import examine_bytes
from intramural.library.manifest import Role, pieces
from intramural.library.provenance import read_anchors
from intramural.library.provenance.bundle import lay_out, write_bundle
from intramural.library.snapshot import SnapshotFlaw
from intramural.library.sources.bundle import BundleSource
from intramural.library.sources.hub import HubReference
from intramural.library.sources.snapshots import snapshot_in

REPOSITORY = "acme/Tiny-1B"
#: Files as they lie in a repository beside a model; none of them may ever be asked for.
NEVER = {
    "modeling_tiny.py": b"import os",
    "pytorch_model.bin": b"\x80\x04",
    "training_args.pt": b"PK",
    "optimizer.pkl": b"\x80",
    "last.ckpt": b"\x80",
    "original/model.safetensors": b"x",
    "sub/config.json": b"{}",
    "README.md": b"# Tiny",
    "run.sh": b"#!/bin/sh",
}
SMALL = frozenset({"config.json", "tokenizer_config.json", "generation_config.json", "README.md"})


def examine(files: Mapping[str, bytes]) -> ModelFacts | None:
    """As the confined process does, with all files of a model."""
    return examine_bytes([_file(body) for body in files.values()], pieces(_listed(files)))


def _file(body: bytes) -> Any:
    return (lambda offset, size: body[offset : offset + size]), len(body)


def _listed(files: Mapping[str, bytes]) -> tuple[ModelFile, ...]:
    def role(name: str) -> Role:
        return "weights" if name.endswith((".safetensors", ".gguf", ".onnx")) else "support"

    return tuple(ModelFile(name, role(name), blob_of(body)) for name, body in files.items())


def changed(**files: Any) -> dict[str, bytes]:
    """A whole model in which some JSON files are others; `__` in a name is a dot."""
    said = {name.replace("__", "."): body if isinstance(body, bytes) else encoded(body) for name, body in files.items()}
    return {**tiny_snapshot(), **said}


# what the reader says -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("files", [tiny_snapshot(), tiny_shards()])
def test_an_honest_snapshot(files: dict[str, bytes]) -> None:
    facts = examine(files)
    assert facts is not None
    assert (facts.architecture, facts.parameters, facts.quantisation) == ("llama", 32, "F16")
    assert (facts.trained_context_tokens, facts.template, facts.findings) == (128, TEMPLATE, ())
    assert (facts.shape.layers, facts.shape.kv_heads, facts.shape.key_length) == (2, (1, 1), 4)


@pytest.mark.parametrize("name", [*tiny_snapshot(), *tiny_shards()])
def test_a_file_alone_says_nothing_yet(name: str) -> None:
    body = {**tiny_snapshot(), **tiny_shards()}[name]
    assert examine({name: body}) is None


def test_other_families_name_things_otherwise() -> None:
    bloom = {"model_type": "bloom", "n_layer": 3, "n_embed": 16, "n_head": 4, "vocab_size": 99, "seq_length": 2048}
    facts = examine(changed(config__json=bloom))
    assert facts is not None and facts.trained_context_tokens == 2048
    assert (facts.shape.layers, facts.shape.heads, facts.shape.embedding_length) == (3, 4, 16)
    inner = {**CONFIG, "intermediate_size": [16, 32], "quantization_config": {"quant_method": "fp8"}}
    facts = examine(changed(config__json={"model_type": "gemma3", "text_config": inner}))
    assert facts is not None and (facts.architecture, facts.quantisation) == ("gemma3", "FP8")
    assert facts.shape.feed_forward_length == 32


S = SnapshotFlaw
SHARDS = tiny_shards()
INDEX = "model.safetensors.index.json"
LAST = "model-00002-of-00002.safetensors"


def config(**values: Any) -> dict[str, bytes]:
    return changed(config__json={**CONFIG, **values})


def without(files: dict[str, bytes], name: str) -> dict[str, bytes]:
    return {each: body for each, body in files.items() if each != name}


def index(**where: str) -> dict[str, bytes]:
    return {**SHARDS, INDEX: encoded({"weight_map": {f"{name}.weight": file for name, file in where.items()}})}


FIRST = "model-00001-of-00002.safetensors"
HOSTILE: list[tuple[SnapshotFlaw, dict[str, bytes], str | None]] = [
    (S.CONFIG_MISSING, without(tiny_snapshot(), "config.json"), None),
    (S.TOKENIZER_MISSING, {"model.onnx": onnx_file.model(), "config.json": tiny_snapshot()["config.json"]}, None),
    (S.FILE_UNKNOWN, changed(modeling_tiny__py=b"import os"), None),
    (S.FILE_TWICE, {**SHARDS, f"other.{INDEX.partition('.')[2]}": SHARDS[INDEX]}, None),
    (S.FILE_SIZE, changed(config__json=encoded({**CONFIG, "x": "x" * (1 << 20)})), None),
    (S.MIXED, changed(model__gguf=tiny_model()), None),
    (S.MIXED, without(tiny_snapshot(), "model.safetensors"), None),
    (S.UTF8, changed(config__json=b'{"\xff": 1}'), None),
    (S.UTF8, changed(tokenizer__json=b'{"\xff": 1}'), None),
    (S.UTF8, changed(chat_template__jinja=b"\xff"), None),
    (S.UTF8, changed(tokenizer_config__json=b'{"chat_template": "\\ud800"}'), "chat_template"),
    (S.JSON, changed(config__json=b"[]"), None),
    (S.JSON, changed(tokenizer__json=b"[]"), None),
    (S.JSON, changed(tokenizer__json=b'{"a": ' + b"[" * 100_000), None),
    (S.JSON, changed(tokenizer__json=b'{"a": {"b" 1}}'), None),
    (S.JSON, changed(tokenizer__json=b'{"a": 1} {}'), None),
    (S.JSON, changed(special_tokens_map__json=b'{"a": Infinity}'), "a"),
    (S.JSON, changed(generation_config__json=b'{"a": 1} x'), None),
    (S.DUPLICATE, changed(config__json=b'{"model_type": "a", "model_type": "b"}'), "model_type"),
    (S.CUSTOM_CODE, config(auto_map={"AutoModel": "modeling_tiny.Tiny"}), "auto_map"),
    (S.CUSTOM_CODE, config(vision_config={"deep": [{"auto_map": {"AutoModel": "m.T"}}]}), "auto_map"),
    (S.CUSTOM_CODE, config(custom_pipelines={"x": {"impl": "x.Y"}}), "custom_pipelines"),
    (S.CUSTOM_CODE, changed(tokenizer_config__json={"auto_map": {"AutoTokenizer": ["t.T", None]}}), "auto_map"),
    (S.MISSING_KEY, config(model_type=None), "model_type"),
    (S.MISSING_KEY, config(model_type="../x"), "model_type"),
    (S.MISSING_KEY, config(vocab_size=None), "vocab_size"),
    (S.MISSING_KEY, config(max_position_embeddings=0), "max_position_embeddings"),
    (S.SCHEMA, config(hidden_size="8"), "hidden_size"),
    (S.SCHEMA, config(num_hidden_layers=True), "num_hidden_layers"),
    (S.SCHEMA, config(quantization_config={"quant_method": 7}), "quantization_config"),
    (S.SCHEMA, changed(tokenizer_config__json={"chat_template": 7}), "chat_template"),
    (S.SCHEMA, changed(tokenizer_config__json={"chat_template": [{"name": "a", "template": 1}]}), "chat_template"),
    (S.KEY_RANGE, config(num_hidden_layers=513), "num_hidden_layers"),
    (S.KEY_RANGE, config(num_attention_heads=-1), "num_attention_heads"),
    (S.TENSOR_TWICE, {**SHARDS, LAST: tiny_weights("a.weight")}, "a.weight"),
    (S.INDEX, {**SHARDS, INDEX: b"{}"}, "weight_map"),
    (S.INDEX, index(a=FIRST), "b.weight"),
    (S.INDEX, index(a=FIRST, b=LAST, c=LAST), "c.weight"),
    (S.INDEX, index(a=LAST, b=LAST), "a.weight"),
    (S.INDEX, index(a=FIRST, b="../../x.bin"), "b.weight"),
]


@pytest.mark.parametrize(("flaw", "files", "field"), HOSTILE)
def test_refused_by_name(flaw: SnapshotFlaw, files: dict[str, bytes], field: str | None) -> None:
    with pytest.raises(Malformed) as refused:
        examine(files)
    assert (refused.value.code, refused.value.field) == (flaw, field)


def test_every_flaw_has_a_row() -> None:
    assert {flaw for flaw, *_ in HOSTILE} == set(SnapshotFlaw)


@pytest.mark.parametrize("name", ["chat_template.jinja", "tokenizer_config.json"])
def test_templates_are_audited_wherever_they_are(name: str) -> None:
    def with_(text: str) -> dict[str, bytes]:
        return {**tiny_snapshot(), name: text.encode() if name.endswith("jinja") else encoded({"chat_template": text})}

    with pytest.raises(Malformed) as refused:
        examine(with_("{{ messages.__class__ }}"))
    assert refused.value.code == "template_underscores"
    found = examine(with_("{{ messages | shuffle }}"))
    assert found is not None and [each.code for each in found.findings] == ["template_filter"]


# from a hub to the shelf ----------------------------------------------------------------------------------------------


def at(hub: Hub, text: str = REPOSITORY) -> HubSource:
    return HubSource(HubReference.parse(text), hub.url, None, [hub.store.host], REACH)


async def refused_of(shop: Shop, source: Source) -> IntramuralError:
    with pytest.raises(IntramuralError) as error:
        await shop.pull(source)
    shop.check_invariant()
    return error.value


async def refusal(shop: Shop, source: Source) -> IntramuralError:
    error = await refused_of(shop, source)
    assert shop.library.list() == []
    return error


async def pulled(shop: Shop, files: Mapping[str, bytes], text: str = REPOSITORY) -> tuple[Manifest, Hub]:
    async with fake.running({REPOSITORY: Repository({**NEVER, **files}, small=SMALL)}) as hub:
        manifest, states = await shop.pull(at(hub, text))
    assert states[-1].step == "shelved"
    shop.check_invariant()
    return manifest, hub


@pytest.mark.parametrize("files", [tiny_snapshot(), tiny_shards()])
async def test_a_snapshot_arrives_whole_and_nothing_else_does(shop: Shop, files: dict[str, bytes]) -> None:
    manifest, hub = await pulled(shop, files)
    assert (manifest.name, manifest.format, manifest.trust) == ("tiny-1b:safetensors", "safetensors", "attested")
    assert {file.name: file.blob for file in manifest.files} == {name: blob_of(body) for name, body in files.items()}
    commit = hub.repositories[REPOSITORY].commit
    assert (manifest.source, manifest.revision) == (f"hf:{REPOSITORY}:safetensors@{commit}", commit)
    asked = {path for _, path in hub.paths() if "/resolve/" in path}
    assert asked == {f"/{REPOSITORY}/resolve/{commit}/{name}" for name in files}
    assert shop.library.list() == [manifest]
    await shop.library.verify(manifest)
    for load in (manifest, shop.library.get(manifest.name)):
        with pytest.raises(Refused) as refused:
            await shop.library.open_verified(load)
        assert refused.value.code == "no_engine_for_format" and "GGUF" in refused.value.hint


async def test_beside_gguf_it_has_to_be_asked_for(shop: Shop) -> None:
    files = {**tiny_snapshot(), "tiny-Q4_0.gguf": tiny_model()}
    plain, _ = await pulled(shop, files)
    assert (plain.format, plain.name) == ("gguf", "tiny:q4_0")
    snapshot, _ = await pulled(shop, files, f"{REPOSITORY}:safetensors")
    assert snapshot.format == "safetensors"
    async with fake.running({REPOSITORY: Repository({"tiny-Q4_0.gguf": tiny_model()})}) as hub:
        with pytest.raises(Missing) as missing:
            await at(hub, f"{REPOSITORY}:safetensors").resolve()
    assert missing.value.code == "source_not_found"


@pytest.mark.parametrize(
    ("files", "code"),
    [
        (without(tiny_snapshot(), "config.json"), "snapshot_config_missing"),
        (without(tiny_shards(), LAST), "shard_missing"),
        ({"adapter_model.safetensors": b"x", "config.json": b"{}"}, "adapter_unsupported"),
        ({"a.safetensors": b"x", "b.safetensors": b"y", "config.json": b"{}"}, "source_ambiguous"),
        (config(auto_map={"AutoModel": "m.T"}), "snapshot_custom_code"),
        (changed(chat_template__jinja=b"{{ x.__class__ }}"), "template_underscores"),
    ],
)
async def test_what_is_refused_is_refused_before_the_weights_come(
    shop: Shop, files: dict[str, bytes], code: str
) -> None:
    async with fake.running({REPOSITORY: Repository(files)}) as hub:
        assert (await refusal(shop, at(hub))).code == code
        weights = {blob_of(body).digest[7:] for name, body in files.items() if name.endswith(".safetensors")}
        assert not weights & {seen.path.strip("/") for seen in hub.store.seen}
    assert shop.shelved() == []


async def test_weights_that_lie(shop: Shop) -> None:
    honest = tiny_snapshot()
    for hostile in (honest["model.safetensors"] + b"PK\x03\x04", b"\x80\x04" + bytes(64)):
        files = {**honest, "model.safetensors": hostile}
        async with fake.running({REPOSITORY: Repository(files, small=SMALL)}) as hub:
            assert (await refusal(shop, at(hub))).code.startswith("safetensors_")
    assert shop.shelved() == []


async def test_files_in_git_that_are_not_what_the_commit_says(shop: Shop) -> None:
    def other(said: dict[str, Any]) -> dict[str, Any]:
        for each in said["siblings"]:
            if each["rfilename"] == "config.json":
                each["blobId"] = "0" * 40
        return said

    async with fake.running({REPOSITORY: Repository(tiny_snapshot(), small=SMALL)}) as hub:
        hub.list_as = other
        assert (await refusal(shop, at(hub))).code == "git_digest_mismatch"


async def test_a_store_that_hands_out_something_else(shop: Shop) -> None:
    async with fake.running({REPOSITORY: Repository(tiny_snapshot(), small=SMALL)}) as hub:
        hub.hand_out = lambda request, reply: Reply(reply.status, reply.headers, flipped(reply.body, 0))
        assert isinstance(await refusal(shop, at(hub)), Untrusted)


async def test_a_suspicious_template_is_quarantined(shop: Shop) -> None:
    files = changed(chat_template__jinja=b"{{ messages | shuffle }}")
    manifest, _ = await pulled(shop, files)
    assert manifest.is_quarantined and manifest.quarantine[0].field == "chat_template.jinja"


async def test_through_a_bundle(shop: Shop, tmp_path: Path) -> None:
    manifest, _ = await pulled(shop, tiny_shards())
    layout = lay_out([(manifest, None)], {}, made_ms=1)
    await write_bundle(tmp_path / "models.bundle", layout, shop.library.open_unverified, key=None)
    other = Shop(tmp_path / "other")
    source = BundleSource(tmp_path / "models.bundle", read_anchors(tmp_path), other.library.missing, now_s=1.0)
    (arrived,) = await other.library.pull_all(source, lambda _: None)
    other.check_invariant()
    assert (arrived.files, arrived.digest, arrived.format) == (manifest.files, manifest.digest, "safetensors")


async def test_from_a_folder_of_this_machine(shop: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "Tiny 1B"
    folder.mkdir()
    for name, body in {**tiny_shards(), "modeling_tiny.py": b"import os", "old.bin": b"x"}.items():
        (folder / name).write_bytes(body)
    manifest, _ = await shop.pull(FileSource(folder))
    assert (manifest.name, manifest.format, manifest.trust) == ("tiny-1b:safetensors", "safetensors", "local")
    assert {file.name for file in manifest.files} == set(tiny_shards())
    shop.check_invariant()
    (folder / "config.json").unlink()
    assert (await refused_of(shop, FileSource(folder))).code == "snapshot_config_missing"


# names ----------------------------------------------------------------------------------------------------------------


def test_of_several_sets_the_usual_one() -> None:
    names = ["config.json", "consolidated.safetensors", *SHARDS, *NEVER]
    found = snapshot_in(names, "X")
    assert found is not None and found.weights == (FIRST, LAST)
    assert not set(found.support) & set(NEVER)
    assert snapshot_in(NEVER, "X") is None


def test_old_shards_are_numbered_behind_an_underscore() -> None:
    names = ["model_00002-of-00002.safetensors", "model_00001-of-00002.safetensors", "config.json"]
    found = snapshot_in(names, "bloom")
    assert found is not None and found.name == "bloom:safetensors"
    assert found.weights == ("model_00001-of-00002.safetensors", "model_00002-of-00002.safetensors")


def test_a_file_of_weights_alone_cannot_be_named() -> None:
    with pytest.raises((Refused, Misasked)) as refused:
        HubReference.parse(f"{REPOSITORY}/model.safetensors")
    assert refused.value.code == "safetensors_not_served" and ":safetensors" in refused.value.hint
