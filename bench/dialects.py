"""The dialects next to each other: one conversation, asked in each of them, and what each costs over plain chat.

The main figure is the processor time of the service's own process (the engine is another): what a request costs before
and after its tokens, and what each token costs, from requests for few and for many tokens. Other programs on the
machine change it little. The clock's figures are beside it: to the first text, between texts, in all.

Every round asks in every way once, in an order of its own, and a way's ratio is to the chat completion of the same
round. The conversation is always the same, at temperature 0 and without penalties, and its answer is longer than what
is asked for: so the engine computes the same tokens for all, and has the prompt in its cache.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
from tests.service import MODEL, Service

from bench._service import running
from bench.table import show

ROUNDS = 40
FEW, MANY = 4, 52
STAND_IN_TOKENS_PER_S = 600
SYSTEM = "You are a storyteller. Your stories are long."
TURNS = (
    ("user", "Tell me of a river."),
    ("assistant", "Once there was a river that came from a high mountain."),
    ("user", "Go on, and tell me of everything it saw on its way to the sea."),
)
#: The conversation as the starter model's template renders it, for ways that take a text.
RENDERED = "".join(
    f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in (("system", SYSTEM), *TURNS)
) + "<|im_start|>assistant\n"  # fmt: skip
#: How long the service has for what it does after the last byte.
SETTLE_S = 0.02

Json = dict[str, Any]


@dataclass(frozen=True)
class Way:
    """One way to ask: where, what for a number of tokens, and what stands before each piece of text."""

    name: str
    path: str
    body: Callable[[int], Json]
    mark: bytes
    streamed: bool = True


@dataclass(frozen=True)
class Timed:
    """One request. `cpu_ms` is the service's processor time; `texts` counts pieces, -1 where all came at once."""

    cpu_ms: float
    first_ms: float
    between_ms: float
    total_ms: float
    texts: int


def _messages() -> list[Json]:
    return [{"role": role, "content": text} for role, text in TURNS]


def _chat(tokens: int) -> Json:
    messages = [{"role": "system", "content": SYSTEM}, *_messages()]
    return {"messages": messages, "max_tokens": tokens, "temperature": 0}


def _responses(tokens: int) -> Json:
    return {"instructions": SYSTEM, "input": _messages(), "max_output_tokens": tokens, "temperature": 0, "store": False}


def _stored(tokens: int) -> Json:
    return {**_responses(tokens), "store": True}


def _completion(tokens: int) -> Json:
    return {"prompt": RENDERED, "max_tokens": tokens, "temperature": 0}


def _anthropic(tokens: int) -> Json:
    return {"system": SYSTEM, "messages": _messages(), "max_tokens": tokens, "temperature": 0}


def _ollama(tokens: int) -> Json:
    return {"options": {"num_predict": tokens, "temperature": 0, "repeat_penalty": 1.0}}


def _ollama_chat(tokens: int) -> Json:
    return {**_ollama(tokens), "messages": _chat(tokens)["messages"]}


def _generate(tokens: int) -> Json:
    return {**_ollama(tokens), "prompt": RENDERED, "raw": True}


STREAMED = (
    Way("chat completions", "/v1/chat/completions", _chat, b'"content":"'),
    Way("completions", "/v1/completions", _completion, b'"text":"'),
    Way("responses", "/v1/responses", _responses, b'"type":"response.output_text.delta"'),
    Way("responses, stored", "/v1/responses", _stored, b'"type":"response.output_text.delta"'),
    Way("Anthropic messages", "/v1/messages", _anthropic, b'"text_delta"'),
    Way("Ollama chat", "/api/chat", _ollama_chat, b'"content":"'),
    Way("Ollama generate", "/api/generate", _generate, b'"response":"'),
)
WHOLE = tuple(replace(way, streamed=False) for way in STREAMED)


@dataclass
class Asker:
    """Asks a service, and reads its processor clock."""

    session: aiohttp.ClientSession
    address: str
    headers: dict[str, str]
    clock: int  # the service's processor clock, all its threads

    async def ask(self, way: Way, tokens: int) -> Timed:
        body = json.dumps({"model": MODEL, "stream": way.streamed, **way.body(tokens)}).encode()
        times: list[float] = []
        cpu_s = time.clock_gettime(self.clock)
        began_s = time.perf_counter()
        async with self.session.post(self.address + way.path, data=body, headers=self.headers) as answer:
            assert answer.status == 200, await answer.text()
            async for line in answer.content:
                if way.mark in line and way.mark + b'"' not in line:
                    times.append(time.perf_counter())
        ended_s = time.perf_counter()
        await asyncio.sleep(SETTLE_S)
        cpu_ms = (time.clock_gettime(self.clock) - cpu_s) * 1000
        if not way.streamed:
            return Timed(cpu_ms, 0, 0, (ended_s - began_s) * 1000, -1)
        between = (times[-1] - times[0]) / max(1, len(times) - 1)
        return Timed(cpu_ms, (times[0] - began_s) * 1000, between * 1000, (ended_s - began_s) * 1000, len(times))


@dataclass(frozen=True)
class Cost:
    """What one way cost in one round: few tokens, then many."""

    few: Timed
    many: Timed

    @property
    def token_us(self) -> float:
        """Processor time of one token."""
        return (self.many.cpu_ms - self.few.cpu_ms) / (MANY - FEW) * 1000

    @property
    def request_ms(self) -> float:
        """Processor time of a request besides its tokens."""
        return self.few.cpu_ms - FEW * self.token_us / 1000


async def measure(asker: Asker, ways: Sequence[Way], rounds: int) -> dict[str, list[Cost]]:
    chance = random.Random(1)
    for way in ways:  # warm up, and see that all say the same
        await asker.ask(way, FEW)
        told = await asker.ask(way, MANY)
        assert not way.streamed or told.texts >= MANY - 4, f"{way.name}: {told.texts} texts"
    found: dict[str, list[Cost]] = {way.name: [] for way in ways}
    for _ in range(rounds):
        for way in chance.sample(ways, len(ways)):
            found[way.name].append(Cost(await asker.ask(way, FEW), await asker.ask(way, MANY)))
    return found


def ratio(costs: Sequence[Cost], plain: Sequence[Cost], figure: Callable[[Cost], float], *, quartiles: bool) -> str:
    """The median of the rounds' ratios to the plain chat, with its quartiles."""
    ratios = [figure(a) / figure(b) for a, b in zip(costs, plain, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.2f}×" + (f" ({low:.2f}…{high:.2f})" if quartiles else "")


def rows(found: dict[str, list[Cost]], figures: Sequence[tuple[Callable[[Cost], float], str]]) -> list[list[str]]:
    """One row a way: each figure's median, and its ratio (the last one's with quartiles)."""
    plain = found["chat completions"]
    table = []
    for name, costs in found.items():
        row = [name]
        for figure, form in figures:
            row.append(form.format(statistics.median(map(figure, costs))))
            row.append(ratio(costs, plain, figure, quartiles=figure is figures[-1][0]))
        table.append(row)
    return table


def main(rounds: int = ROUNDS, *, stand_in: bool = False) -> None:
    rate = STAND_IN_TOKENS_PER_S if stand_in else None
    with running(stand_in_tokens_per_s=rate) as service:
        headers = {"Authorization": f"Bearer {service.new_key()}", "Content-Type": "application/json"}
        streamed, whole = asyncio.run(_measured(service, headers, rounds))
    engine = "the stand-in engine" if stand_in else "one engine thread"
    note = (
        f"{rounds} rounds, {engine}, load {os.getloadavg()[1]:.1f}; "
        "medians, ratios to the chat completions of the same round (quartiles)."
    )
    processor = [(lambda c: c.request_ms, "{:.2f}"), (lambda c: c.token_us, "{:.0f}"), (_cpu, "{:.2f}")]
    columns = ["", "request, ms", "", "token, µs", "", f"{MANY} tokens, ms", "aim: ≤ 1.10×"]
    show("Processor time of the service, streamed", note, columns, rows(streamed, processor))
    show("Processor time of the service, whole", note, columns, rows(whole, processor))
    clock = [(lambda c: c.few.first_ms, "{:.1f}"), (lambda c: c.many.between_ms, "{:.2f}"), (_total, "{:.0f}")]
    columns = ["", "first text, ms", "", "between, ms", "", f"{MANY} tokens, ms", "aim: ≤ 1.10×"]
    show("By the clock, streamed", note, columns, rows(streamed, clock))
    show("By the clock, whole", note, ["", f"{MANY} tokens, ms", "aim: ≤ 1.10×"], rows(whole, [(_total, "{:.0f}")]))


def _cpu(cost: Cost) -> float:
    return cost.many.cpu_ms


def _total(cost: Cost) -> float:
    return cost.many.total_ms


async def _measured(service: Service, headers: dict[str, str], rounds: int) -> tuple[dict[str, list[Cost]], ...]:
    clock = (~service.pid << 3) | 2  # Linux's name for the processor clock of another process
    async with aiohttp.ClientSession() as session:
        asker = Asker(session, service.address, headers, clock)
        return await measure(asker, STREAMED, rounds), await measure(asker, WHOLE, rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--stand-in", action="store_true", help="with the stand-in engine of the tests")
    chosen = parser.parse_args()
    main(chosen.rounds, stand_in=chosen.stand_in)
