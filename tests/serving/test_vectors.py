"""Vectors and ranks from the real engine, with tiny encoders of random weights: what is shown is the way, not quality.

The tokenizer of `families.bert` makes one token of every letter or sign, besides one before and one behind a text.
"""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes.spawner import PlainSpawner
from tests.families.families import bert
from tests.families.tiny import Size, write
from tests.serving.pools import model, running

from intramural.core.errors import Misasked
from intramural.serving import ModelToServe, Pool
from intramural.serving.model import Pooling
from intramural.serving.vectors import TOGETHER

CONTEXT = 512


@asynccontextmanager
async def encoder(folder: Path, pooling: Pooling) -> AsyncIterator[tuple[Pool, ModelToServe]]:
    weights = write(folder / f"{pooling}.gguf", "bert", bert(pooling), Size(context=CONTEXT))
    async with running(PlainSpawner(real=True)) as pool:
        yield pool, replace(model(weights=weights, context_tokens=CONTEXT), pooling=pooling)


def norm(vector: tuple[float, ...]) -> float:
    return math.sqrt(math.fsum(x * x for x in vector))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
async def test_an_encoder_takes_what_its_context_takes_and_names_what_is_longer(
    tmp_path: Path, pooling: Pooling
) -> None:
    async with encoder(tmp_path, pooling) as (pool, served):
        texts = ["a", "b" * 63, "c" * 64, "d" * 200, "e" * (CONTEXT - 2)]
        found = await pool.embed(served, texts)
        assert found.prompt_tokens == sum(len(text) + 2 for text in texts)
        assert [norm(vector) for vector in found.vectors] == pytest.approx([1.0] * len(texts), abs=1e-5)
        with pytest.raises(Misasked, match=f"`input` has {CONTEXT + 1} tokens; this model takes {CONTEXT}") as caught:
            await pool.embed(served, ["e" * (CONTEXT - 1)])
        assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "input")
        many = ["a"] * (TOGETHER + 3)
        with pytest.raises(Misasked) as caught:
            await pool.embed(served, [*many, "f" * 600, "a"])
        assert (caught.value.code, caught.value.param) == ("context_length_exceeded", f"input[{len(many)}]")


async def test_many_inputs_are_each_as_if_alone_and_in_order(tmp_path: Path) -> None:
    async with encoder(tmp_path, "mean") as (pool, served):
        texts = [f"text {number * 7}" for number in range(2 * TOGETHER + 1)]
        together = await pool.embed(served, texts)
        for number in (0, 1, TOGETHER, 2 * TOGETHER):
            alone = await pool.embed(served, [texts[number]])
            assert together.vectors[number] == pytest.approx(alone.vectors[0], abs=1e-4)
        tokens = tuple(token.id for token in await pool.tokenize(served, texts[5], special=True))
        by_tokens = await pool.embed(served, [tokens, texts[6]])
        assert by_tokens.vectors[0] == pytest.approx(together.vectors[5], abs=1e-4)
        with pytest.raises(Misasked) as caught:
            await pool.embed(served, ["a", (5, 100_000)])
        assert (caught.value.code, caught.value.param) == ("invalid_token", "input[1]")


async def test_a_reranker_scores_every_document_and_cuts_only_when_told(tmp_path: Path) -> None:
    async with encoder(tmp_path, "rank") as (pool, served):
        documents = [f"{chr(97 + number % 26) * (number + 1)} {number}" for number in range(TOGETHER + 2)]
        ranking = await pool.rerank(served, "what", documents)
        assert len(set(ranking.scores)) == len(documents)
        assert ranking.prompt_tokens == sum(4 + 4 + len(text) - 1 for text in documents)
        alone = await pool.rerank(served, "what", [documents[-1]])
        assert alone.scores == pytest.approx(ranking.scores[-1:], abs=1e-4)
        with pytest.raises(Misasked) as caught:
            await pool.rerank(served, "what", ["a", "b" * 600])
        assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "documents[1]")
        cut = await pool.rerank(served, "what", ["b" * 600, "b" * 100], max_tokens_per_document=100)
        assert cut.scores[0] == pytest.approx(cut.scores[1], abs=1e-4)
        with pytest.raises(Misasked, match="makes no embeddings"):
            await pool.embed(served, ["a"])


async def test_tokens_and_back(tmp_path: Path) -> None:
    async with encoder(tmp_path, "mean") as (pool, served):
        tokens = await pool.tokenize(served, "ab c")
        assert b"".join(token.piece for token in tokens) == b" ab c"
        assert await pool.detokenize(served, [token.id for token in tokens]) == " ab c"
        assert len(await pool.tokenize(served, "ab c", special=True)) == 5
        with pytest.raises(Misasked, match="does not rank"):
            await pool.rerank(served, "a", ["b"])
