"""The ONNX worker, confined as in production, with real models: an embedding model and a reranker.

What it says is held against ONNX Runtime asked directly, and against what the sentences mean.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tokenizers
from tests.onnx_models import BGE, MINILM, unpacked

from intramural.core.clock import SystemClock
from intramural.core.config import ServingConfig
from intramural.core.errors import Misasked
from intramural.sandbox import probe
from intramural.serving import ModelToServe, OpenFile, Pool, SandboxedSpawner, ServingPlan
from intramural.serving.model import Pooling

MiB = 2**20


def served(folder: Path, pooling: Pooling, context_tokens: int = 512) -> ModelToServe:
    async def opened() -> list[OpenFile]:
        return [
            OpenFile("weights", os.open(folder / "model.onnx", os.O_RDONLY)),
            OpenFile("tokenizer", os.open(folder / "tokenizer.json", os.O_RDONLY)),
        ]

    plan = ServingPlan(context_tokens, 2, 300 * MiB)
    return ModelToServe(folder.name, f"sha256:{folder.name}", opened, plan, pooling=pooling, runner="onnx")


@asynccontextmanager
async def running(run_dir: Path) -> AsyncIterator[Pool]:
    posture = await probe()
    pool = Pool(ServingConfig(threads=1), SystemClock(), SandboxedSpawner(run_dir, posture.level, posture), 2000 * MiB)
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


@pytest.fixture(scope="module")
def bge() -> Path:
    return unpacked(BGE)


@pytest.fixture(scope="module")
def minilm() -> Path:
    return unpacked(MINILM)


def directly(folder: Path, texts: list[Any]) -> Any:
    """What ONNX Runtime says, one text (or pair) at a time."""
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    rows = []
    for text in texts:
        found = tokenizer.encode(*text) if isinstance(text, tuple) else tokenizer.encode(text)
        feed = {
            "input_ids": np.array([found.ids], np.int64),
            "attention_mask": np.array([found.attention_mask], np.int64),
            "token_type_ids": np.array([found.type_ids], np.int64),
        }
        rows.append(session.run(None, feed)[0][0])
    return rows


def angle(one: Any, other: Any) -> float:
    return float(np.dot(one, other) / (np.linalg.norm(one) * np.linalg.norm(other)))


@pytest.mark.parametrize("pooling", ["cls", "mean"])
async def test_its_vectors_are_the_runtimes_own_whatever_they_are_asked_with(
    bge: Path, tmp_path: Path, pooling: Pooling
) -> None:
    texts = ["A cat sleeps on the sofa.", "Taxes are due in April.", "short", *["x " * n for n in range(1, 20)]]
    async with running(tmp_path / "run") as pool:
        model = served(bge, pooling)
        found = await pool.embed(model, texts)
        (worker,) = pool.status().workers
        assert {"landlock", "seccomp"} <= set(worker.layers)
        tokens = tuple(token.id for token in await pool.tokenize(model, texts[0], special=True))
        by_tokens = await pool.embed(model, [tokens])
    expected = [raw[0] if pooling == "cls" else raw.mean(axis=0) for raw in directly(bge, texts)]
    for vector, wanted in zip(found.vectors, expected, strict=True):
        assert np.allclose(vector, wanted / np.linalg.norm(wanted), atol=1e-5)
    assert by_tokens.vectors == found.vectors[:1]
    assert found.prompt_tokens == 9 + 8 + 3 + sum(range(3, 22))


async def test_what_means_the_same_is_near(bge: Path, tmp_path: Path) -> None:
    alike = [
        ("A cat sleeps on the sofa.", "The kitten is taking a nap on the couch."),
        ("How do I reset my password?", "I forgot my login and want a new one."),
        ("The patient has high blood pressure.", "Hypertension was diagnosed."),
        ("Interest rates were raised by the central bank.", "Borrowing money has become more expensive."),
    ]
    async with running(tmp_path / "run") as pool:
        model = served(bge, "cls")
        left = (await pool.embed(model, [one for one, _ in alike])).vectors
        right = (await pool.embed(model, [other for _, other in alike])).vectors
    for at, vector in enumerate(left):
        assert max(range(len(right)), key=lambda other: angle(vector, right[other])) == at, alike[at]


CASES = [
    (
        "How many people live in Berlin?",
        [
            "Berlin is known for its museums and its nightlife.",
            "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometres.",
            "New York City is the most populous city of the United States.",
        ],
        1,
    ),
    (
        "what causes tides",
        [
            "The rise and fall of the sea is caused by the gravity of the Moon and the Sun.",
            "Tide is a brand of laundry detergent that was introduced in 1946.",
            "High waves are dangerous for small boats.",
        ],
        0,
    ),
    (
        "python read file line by line",
        [
            "Pythons are large snakes that are not venomous.",
            "Lines at the counter were long this morning.",
            "Open the file and iterate over it: for line in open(path): print(line)",
        ],
        2,
    ),
]


async def test_the_passage_that_answers_is_first(minilm: Path, tmp_path: Path) -> None:
    async with running(tmp_path / "run") as pool:
        model = served(minilm, "rank")
        for query, documents, best in CASES:
            ranking = await pool.rerank(model, query, documents)
            assert max(range(len(documents)), key=ranking.scores.__getitem__) == best, query
            raw = [float(row[0]) for row in directly(minilm, [(query, each) for each in documents])]
            assert ranking.scores == pytest.approx(raw, abs=1e-4)


async def test_what_is_too_long_is_named_and_cut_only_when_told(minilm: Path, bge: Path, tmp_path: Path) -> None:
    long = "word " * 600
    async with running(tmp_path / "run") as pool:
        ranks, embeds = served(minilm, "rank"), served(bge, "cls")
        with pytest.raises(Misasked) as caught:
            await pool.rerank(ranks, "word", ["a", long])
        assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "documents[1]")
        cut = await pool.rerank(ranks, "word", [long, "word " * 50], 50)
        assert cut.scores[0] == pytest.approx(cut.scores[1], abs=1e-4)
        with pytest.raises(Misasked, match="`input` has 602 tokens; this model takes 512"):
            await pool.embed(embeds, [long])
        with pytest.raises(Misasked) as caught:
            await pool.embed(embeds, ["a", (101, 40_000, 102)])
        assert (caught.value.code, caught.value.param) == ("invalid_token", "input[1]")
        with pytest.raises(Misasked) as caught:
            await pool.detokenize(embeds, [40_000])
        assert caught.value.code == "invalid_token"


async def test_tokens_and_back(bge: Path, tmp_path: Path) -> None:
    async with running(tmp_path / "run") as pool:
        model = served(bge, "cls")
        tokens = await pool.tokenize(model, "Tokenisation, of a word.")
        assert [token.piece for token in tokens] == [b"token", b"##isation", b",", b"of", b"a", b"word", b"."]
        assert await pool.detokenize(model, [token.id for token in tokens]) == "tokenisation, of a word."


async def test_a_client_that_leaves_stops_its_work(bge: Path, tmp_path: Path) -> None:
    async with running(tmp_path / "run") as pool:
        model = served(bge, "cls")
        await pool.load(model)
        left = asyncio.create_task(pool.embed(model, ["word " * 500] * 16))
        await asyncio.sleep(0.3)  # it computes, or is about to
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        assert len((await pool.embed(model, ["hello"])).vectors) == 1  # it does not wait for sixteen long texts


async def test_the_runtime_has_nothing_built_in_that_reports() -> None:
    library = Path(onnxruntime.__file__).parent / "capi"
    (binary,) = library.glob("onnxruntime_pybind11_state*.so")
    content = binary.read_bytes()
    for mark in (b"OneDsTelemetry", b"ORT_DISABLE_TELEMETRY", b"events.data.microsoft.com"):
        assert mark not in content, "from 1.29 on its wheels report to their maker"
