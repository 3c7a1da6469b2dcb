"""What the metrics cost: a request, its spans where traces are on, and a scrape. (For a token nothing is run.)

Per request: beginning, ending and every histogram it moves. A scrape: 5 models with a worker each, 40 answers on their
way, all series there are. For scale: a request through the gateway takes milliseconds.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from bench.table import show
from intramural.core.chat import Usage
from intramural.core.clock import SystemClock
from intramural.core.work import Work
from intramural.metering import Metrics, PoolNumbers, Timing, UsageRow, WorkerNumbers
from intramural.metering.traces import message, spans

ROUNDS = 15
REQUESTS = 2_000
MODELS = [f"model{n}" for n in range(5)]
ROW = UsageRow("r", "p", "c", MODELS[0], "d", "openai", "chat", "finished", 40, 20, 10, 80, 40, 5)
TIMING = Timing(0.2, 1.0, 0.002)


@dataclass
class _Answer:
    usage: Usage


def main() -> None:
    """Run it."""
    nothing, counted = _interleaved(lambda: _requests(None), lambda: _requests(_metrics()))
    _, traced = _interleaved(lambda: 0.0, lambda: _traced())
    scraped = _scrape()
    rows = [
        ["one request", f"{nothing * 1e6:.2f} µs", f"{counted * 1e6:.2f} µs", f"+{(counted - nothing) * 1e6:.1f} µs"],
        ["one request's spans", "0 (off)", f"{traced * 1e6:.2f} µs", f"+{traced * 1e6:.1f} µs"],
        ["one scrape", "-", f"{scraped * 1e3:.2f} ms", f"{scraped / 15:.4%} of one core, every 15 s"],
    ]
    show("What metrics cost", f"Medians of {ROUNDS} interleaved rounds.", ["", "without", "with", "more"], rows)


def _interleaved(one: Callable[[], float], other: Callable[[], float]) -> tuple[float, float]:
    pairs = [(one(), other()) for _ in range(ROUNDS)]
    return statistics.median(first for first, _ in pairs), statistics.median(second for _, second in pairs)


def _metrics(pool: PoolNumbers | None = None) -> Metrics:
    return Metrics("1", lambda: pool or PoolNumbers())


def _requests(metrics: Metrics | None) -> float:
    """Seconds a request."""
    rows = [replace(ROW, request_id=str(n)) for n in range(REQUESTS)]
    answer = _Answer(Usage(1, 1))
    began = time.perf_counter()
    for row in rows:
        if metrics is not None:
            metrics.request_began(row.request_id, row.model, Work.INTERACTIVE, answer)
            metrics.request_ended(row, TIMING)
            metrics.request_left(row.request_id)
    return (time.perf_counter() - began) / REQUESTS


def _traced() -> float:
    """Seconds a request, for its spans and their JSON; the collector is not there."""
    clock = SystemClock()
    began = time.perf_counter()
    for _ in range(REQUESTS // 10):
        msgspec.json.encode(message(spans(ROW, TIMING, Work.INTERACTIVE, None, clock)))
    return (time.perf_counter() - began) / (REQUESTS // 10)


def _scrape() -> float:
    metrics = _metrics(PoolNumbers([WorkerNumbers(m, "ready", 1, 4, 1, 1) for m in MODELS], MODELS, 1, 2))
    for model in MODELS:
        for dialect in ("openai", "anthropic", "ollama", "mcp", "page", "cli"):
            for outcome in ("finished", "cancelled", "failed"):
                row = replace(ROW, model=model, dialect=dialect, outcome=outcome)
                metrics.request_ended(row, TIMING, Work.BATCH if outcome == "failed" else Work.INTERACTIVE)
    for number in range(40):
        metrics.request_began(str(number), MODELS[number % 5], Work.INTERACTIVE, _Answer(Usage(1, 1)))
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        metrics.render()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


if __name__ == "__main__":
    main()
