"""The real engine with options: what they may change of an answer, and what not."""

import hashlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.families.adapters import write_adapter
from tests.families.families import ROWS
from tests.families.running import worker
from tests.families.tiny import write
from tests.serving.pools import model, request

from intramural.core.chat import Delta
from intramural.core.clock import SystemClock
from intramural.core.config import ServingConfig
from intramural.sandbox import probe
from intramural.serving import EngineOptions, OpenFile, Pool, SandboxedSpawner, ServingPlan, WorkerProcess

REPEATED = "One fox, two hens, three owls. " * 8


@asynccontextmanager
async def running(tmp_path: Path, weights: Path, options: EngineOptions, **more: Any) -> AsyncIterator[WorkerProcess]:
    plan = ServingPlan(more.pop("context_tokens", 512), 1, 2**30)
    async with worker(tmp_path / "run", weights, plan, options=options, **more) as started:
        yield started


async def answer(started: WorkerProcess, prompt: str, tokens: int = 24) -> dict[str, Any]:
    body = {"prompt": prompt, "n_predict": tokens, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
    status, text = await started.ask_whole("POST", "/completion", json.dumps(body).encode(), stall_s=60.0)
    assert status == 200, text[:300]
    found: dict[str, Any] = json.loads(text)
    return found


async def test_guessing_ahead_changes_no_answer(weights: Path, tmp_path: Path) -> None:
    prompts = (REPEATED, "The capital of France is")
    async with running(tmp_path, weights, EngineOptions()) as plain:
        expected = [(await answer(plain, prompt))["content"] for prompt in prompts]
    drafts = {}
    for options, draft in (
        (EngineOptions(speculative="ngram"), None),
        (EngineOptions(speculative="draft", draft="itself"), weights),
    ):
        async with running(tmp_path, weights, options, draft=draft) as started:
            found = [await answer(started, prompt) for prompt in prompts]
        assert [each["content"] for each in found] == expected
        drafts[options.speculative] = found[0]["timings"].get("draft_n_accepted", 0)
    assert min(drafts.values()) > 0


@pytest.mark.parametrize("kv", ["q8_0", "q4_0"])
async def test_a_quantised_cache_is_smaller_and_still_makes_sense(weights: Path, tmp_path: Path, kv: Any) -> None:
    async with running(tmp_path, weights, EngineOptions(), context_tokens=8192) as plain:
        plain_bytes = plain.rss_bytes()
    async with running(tmp_path, weights, EngineOptions(kv=kv), context_tokens=8192) as started:
        assert started.rss_bytes() < plain_bytes - 60 * 2**20  # of 180 MiB in 16 bits
        assert "owls" in (await answer(started, REPEATED))["content"]


async def test_32k_tokens_on_a_small_machine(weights: Path, tmp_path: Path) -> None:
    """Trained for 8k; the slot has all that was planned, and answers."""
    options = EngineOptions(kv="q4_0", rope="yarn", stretch=4.0)
    async with running(tmp_path, weights, options, context_tokens=32768) as started:
        _, slots = await started.ask_whole("GET", "/slots", b"", stall_s=10.0)
        assert [slot["n_ctx"] for slot in json.loads(slots)] == [32768]
        assert started.rss_bytes() < 500 * 2**20
        assert (await answer(started, "The capital of France is"))["content"].strip()


async def test_windows_as_long_as_the_context(tmp_path: Path) -> None:
    row = next(each for each in ROWS if each.name == "gemma3")
    file = write(tmp_path / "sliding.gguf", row.architecture, row.family, row.size)
    texts = set()
    for full in (False, True):
        async with running(tmp_path, file, EngineOptions(full_windows=full), context_tokens=2048) as started:
            text = (await answer(started, "abc " * 100, 8))["content"]
            texts.add(hashlib.sha256(text.encode()).hexdigest())
    assert len(texts) == 1


async def test_experts_in_ordinary_memory(tmp_path: Path) -> None:
    """An engine without a card has them nowhere else: it takes the order and answers as before."""
    row = next(each for each in ROWS if each.name == "qwen3moe")
    file = write(tmp_path / "mixture.gguf", row.architecture, row.family, row.size)
    texts = set()
    for options in (EngineOptions(), EngineOptions(gpu_layers=1, experts_on_cpu=2)):
        async with running(tmp_path, file, options) as started:
            texts.add((await answer(started, "abc", 8))["content"])
    assert len(texts) == 1


async def test_adapters_by_request(weights: Path, tmp_path: Path) -> None:
    """Loaded once, applied to whom it is meant for; everybody else's answers stay as they are, byte by byte."""
    changed = write_adapter(tmp_path / "adapter.gguf")
    asked = request("The capital of France is", seed=1, temperature=0.0, max_tokens=12)
    texts: dict[str, list[str]] = {}
    posture = await probe()
    pool = Pool(
        ServingConfig(threads=1), SystemClock(), SandboxedSpawner(tmp_path / "run", posture.level, posture), 2**31
    )
    await pool.start()
    try:
        plain = model("plain", weights=weights, slots=1, context_tokens=512)

        async def opened() -> list[OpenFile]:
            return [*await plain.open_files(), OpenFile("adapter", os.open(changed, os.O_RDONLY))]

        both = replace(plain, name="both", open_files=opened)
        base, law = replace(both, scales=(0.0,)), replace(both, scales=(1.0,))
        for name, served in (("without", plain), ("base", base), ("law", law), ("base", base), ("law", law)):
            events = [event async for event in pool.chat(served, asked)]
            texts.setdefault(name, []).append("".join(each.text for each in events if isinstance(each, Delta)))
        assert len(pool.status().workers) == 2
    finally:
        await pool.close()
    assert texts["base"] == texts["without"] * 2
    assert texts["base"][0] not in texts["law"]
