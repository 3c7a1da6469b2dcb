"""`intramural top`: what the service does now, in the terminal, from the numbers that `/metrics` shows everybody."""

import asyncio
import os
import sys
import termios
import time
import tty
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from intramural.cli.render import plain, size
from intramural.cli.root import DEFAULT, Common, cli

if TYPE_CHECKING:
    from rich.console import ConsoleOptions, RenderableType

    from intramural.cli.client import Client

_ANSWERS = "gen_ai_server_time_to_first_token_seconds_bucket"
#: Rates and percentiles are over at most this long.
WINDOW_S = 60.0
_SHORTEST_S, _LONGEST_S = 0.2, 60.0

#: Labels, sorted by name, and the value.
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Scrape:
    """The service's numbers at `at_s` of this program's clock: by name, then by labels."""

    at_s: float
    values: Mapping[str, Mapping[Labels, float]]

    def total(self, name: str, **where: str) -> float:
        """The sum of all series of `name` with these labels."""
        return sum(
            value for labels, value in self.values.get(name, {}).items() if where.items() <= dict(labels).items()
        )

    def models(self) -> set[str]:
        """Every model that a worker or somebody waiting is of."""
        names = ("intramural_slots", "intramural_queue_length", "intramural_tokens_total")
        return {dict(labels).get("model", "") for name in names for labels in self.values.get(name, {})} - {""}


@dataclass(frozen=True)
class ModelLine:
    """One model now; tokens per second and first token (None: none) over the window."""

    model: str
    state: str
    slots_busy: int
    slots: int
    queued: int
    input_per_s: float
    output_per_s: float
    cached_share: float | None
    first_token_p50_s: float | None
    first_token_p95_s: float | None
    planned_bytes: int
    resident_bytes: int
    evictions: int
    crashes: int


@dataclass(frozen=True)
class Frame:
    """What is shown at once. `window_s`: over how long, up to now, rates are; and percentiles, unless `since_start`.
    Memory in bytes."""

    window_s: float
    requests_per_s: float
    errors_per_s: float
    slots_busy: int
    slots: int
    queued: int
    output_per_s: float
    first_token_p50_s: float | None
    first_token_p95_s: float | None
    planned_bytes: int
    budget_bytes: int
    models: Sequence[ModelLine] = field(default_factory=list)
    since_start: bool = False


def read(text: str, at_s: float) -> Scrape:
    """The numbers of an exposition text."""
    from prometheus_client.parser import text_string_to_metric_families

    values: dict[str, dict[Labels, float]] = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values[sample.name][tuple(sorted(sample.labels.items()))] = sample.value
    return Scrape(at_s, values)


def frame(before: Scrape, now: Scrape, first: Scrape | None = None) -> Frame:
    """What to show `now`, with rates since `before`, and percentiles since `first` if that is another scrape."""
    first = first or before
    span_s = max(now.at_s - before.at_s, 1e-9)

    def rate(name: str, **where: str) -> float:
        return max(0.0, now.total(name, **where) - before.total(name, **where)) / span_s

    return Frame(
        window_s=span_s,
        requests_per_s=rate("intramural_requests_total"),
        errors_per_s=rate("intramural_errors_total"),
        slots_busy=int(now.total("intramural_slots_busy")),
        slots=int(now.total("intramural_slots")),
        queued=int(now.total("intramural_queue_length")),
        output_per_s=rate("intramural_tokens_total", type="output"),
        first_token_p50_s=percentile(first, now, 0.5),
        first_token_p95_s=percentile(first, now, 0.95),
        planned_bytes=int(now.total("intramural_memory_planned_bytes")),
        budget_bytes=int(now.total("intramural_memory_budget_bytes")),
        models=[_line(before, now, first, model, span_s) for model in sorted(now.models())],
    )


def _line(before: Scrape, now: Scrape, first: Scrape, model: str, span_s: float) -> ModelLine:
    def grown(name: str, **where: str) -> float:
        return max(0.0, now.total(name, model=model, **where) - before.total(name, model=model, **where))

    states = ("ready", "resting", "starting", "stopping")
    state = next((s for s in states if now.total("intramural_workers", model=model, state=s)), "not loaded")
    read_tokens = grown("intramural_tokens_total", type="input")
    return ModelLine(
        model=model,
        state=state,
        slots_busy=int(now.total("intramural_slots_busy", model=model)),
        slots=int(now.total("intramural_slots", model=model)),
        queued=int(now.total("intramural_queue_length", model=model)),
        input_per_s=read_tokens / span_s,
        output_per_s=grown("intramural_tokens_total", type="output") / span_s,
        cached_share=grown("intramural_tokens_total", type="cached") / read_tokens if read_tokens else None,
        first_token_p50_s=percentile(first, now, 0.5, gen_ai_request_model=model),
        first_token_p95_s=percentile(first, now, 0.95, gen_ai_request_model=model),
        planned_bytes=int(now.total("intramural_worker_memory_bytes", model=model, kind="planned")),
        resident_bytes=int(now.total("intramural_worker_memory_bytes", model=model, kind="resident")),
        evictions=int(now.total("intramural_worker_ends_total", model=model, reason="room")),
        crashes=int(now.total("intramural_worker_ends_total", model=model, reason="crashed")),
    )


def percentile(before: Scrape, now: Scrape, share: float, **where: str) -> float | None:
    """The time to the first token that `share` of the answers since `before` did not exceed, as Prometheus reckons it:
    even within a bucket, the last boundary beyond the last bucket. None where there was no answer."""
    counts: dict[float, float] = defaultdict(float)
    for scrape, sign in ((now, 1), (before, -1)):
        for labels, value in scrape.values.get(_ANSWERS, {}).items():
            found = dict(labels)
            if where.items() <= found.items():
                counts[float(found["le"])] += sign * value
    bounds = sorted(counts)
    if not bounds or counts[bounds[-1]] <= 0:
        return None
    rank, low, below = share * counts[bounds[-1]], 0.0, 0.0
    for bound in bounds:
        if counts[bound] >= rank:
            within = counts[bound] - below
            return low if bound == float("inf") or not within else low + (bound - low) * (rank - below) / within
        low, below = bound, counts[bound]
    return low


class Window:
    """The scrapes of the last while, to compare the newest with; with `since_start`, percentiles are of all answers."""

    def __init__(self, window_s: float = WINDOW_S, *, since_start: bool = False) -> None:
        self._window_s = window_s
        self._first = Scrape(0.0, {}) if since_start else None
        self._scrapes: deque[Scrape] = deque()

    def add(self, scrape: Scrape) -> Frame:
        """What to show now."""
        self._scrapes.append(scrape)
        while len(self._scrapes) > 2 and scrape.at_s - self._scrapes[1].at_s >= self._window_s:
            self._scrapes.popleft()
        shown = frame(self._scrapes[0], scrape, self._first)
        return replace(shown, since_start=self._first is not None)


# showing --------------------------------------------------------------------------------------------------------------


#: Headings in the order of the columns, each with its importance: where a terminal is narrow, the greatest number goes
#: first.
_HEADINGS = {
    "STATE": 1, "BUSY": 2, "QUEUE": 3, "IN/S": 8, "OUT/S": 4, "CACHED": 9, "FIRST P50": 5, "P95": 6, "PLANNED": 10,
    "ACTUAL": 7, "EVICTED": 12, "CRASHED": 11,
}  # fmt: skip
_BETWEEN = 2


def picture(shown: Frame) -> "RenderableType":
    """A frame for people."""
    from rich.console import Group
    from rich.text import Text

    head = (
        f"slots {shown.slots_busy}/{shown.slots}   queue {shown.queued}   {shown.output_per_s:.1f} tokens/s   "
        f"{shown.requests_per_s:.2f} requests/s   {shown.errors_per_s:.2f} errors/s\n"
        f"first token p50 {_time(shown.first_token_p50_s)}  p95 {_time(shown.first_token_p95_s)}   "
        f"memory {size(shown.planned_bytes)} of {size(shown.budget_bytes)}"
    )
    over = f"over {shown.window_s:.0f} s"
    told = (
        f"rates {over}, first token since the start" if shown.since_start else f"rates and first token {over}; q ends"
    )
    foot = Text(told, style="dim")
    return Group(Text(head), Text(), _Models(shown.models), Text(), foot)


def fitting(rows: Sequence[Sequence[str]], width: int) -> Sequence[int]:
    """Which columns of `rows` (model, then those of `_HEADINGS`) fit into `width` characters."""
    headings = ("MODEL", *_HEADINGS)
    widths = [max(map(len, column)) + _BETWEEN for column in zip(headings, *rows, strict=True)]
    kept = sorted(range(len(headings)), key=lambda at: _HEADINGS.get(headings[at], 0))
    while len(kept) > 1 and sum(widths[at] for at in kept) - _BETWEEN > width:
        kept.pop()
    return sorted(kept)


@dataclass(frozen=True, slots=True)
class _Models:
    """The table, as wide as there is room for."""

    lines: Sequence[ModelLine]

    def __rich_console__(self, _: object, options: "ConsoleOptions") -> "Iterator[RenderableType]":
        from rich.table import Table
        from rich.text import Text

        rows = [_cells(line) for line in self.lines]
        table = Table(box=None, header_style="bold", pad_edge=False)
        columns = fitting(rows, options.max_width)
        for at in columns:
            table.add_column(("MODEL", *_HEADINGS)[at], justify="left" if at < 2 else "right", no_wrap=True)
        for row in rows:
            table.add_row(*(Text(row[at]) for at in columns))
        yield table


def _cells(line: ModelLine) -> Sequence[str]:
    return (
        plain(line.model),
        line.state,
        f"{line.slots_busy}/{line.slots}",
        str(line.queued),
        f"{line.input_per_s:.1f}",
        f"{line.output_per_s:.1f}",
        "-" if line.cached_share is None else f"{line.cached_share:.0%}",
        _time(line.first_token_p50_s),
        _time(line.first_token_p95_s),
        size(line.planned_bytes),
        size(line.resident_bytes),
        str(line.evictions),
        str(line.crashes),
    )


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


@contextmanager
def _keys(pressed: asyncio.Event) -> Iterator[None]:
    """Sets `pressed` when q is typed, if somebody can type; the terminal is as before afterwards."""
    if not sys.stdin.isatty():
        yield
        return
    terminal, loop = sys.stdin.fileno(), asyncio.get_running_loop()
    before = termios.tcgetattr(terminal)

    def typed() -> None:
        if os.read(terminal, 64).lower() in (b"", b"q"):
            pressed.set()

    tty.setcbreak(terminal)
    loop.add_reader(terminal, typed)
    try:
        yield
    finally:
        loop.remove_reader(terminal)
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


async def _frames(client: "Client", window: "Window", every_s: float, enough: asyncio.Event) -> AsyncGenerator[Frame]:
    """Frames until `enough`, the first one after `every_s`."""
    window.add(read(await client.text("/metrics"), time.monotonic()))
    while True:
        try:
            async with asyncio.timeout(every_s):
                await enough.wait()
            return
        except TimeoutError:
            yield window.add(read(await client.text("/metrics"), time.monotonic()))


@cli.command
def top(
    *,
    once: Annotated[bool, Parameter(negative="", help="One look, over one interval, and no more.")] = False,
    every_s: Annotated[float, Parameter(name="--every", help="Seconds between two looks.")] = 1.0,
    common: Common = DEFAULT,
) -> None:
    """Show what the service does now: models, slots, queue, tokens per second, first token, memory. q ends it.

    With --json, or where the output is no terminal, one look is printed, as with --once.
    """
    every_s = min(max(every_s, _SHORTEST_S), _LONGEST_S)

    live = not once and common.out.mode == "rich" and sys.stdout.isatty()

    async def act(client: "Client") -> None:
        enough, window = asyncio.Event(), Window(since_start=not live)
        with _keys(enough) if live else nullcontext():
            async with aclosing(_frames(client, window, every_s, enough)) as frames:
                if live:
                    await _live(frames)
                else:
                    _print(common, await anext(frames))

    common.ask(act, running=True)


def _print(common: Common, shown: Frame) -> None:
    record: dict[str, Any] = asdict(shown)
    match common.out.mode:
        case "json":
            common.out.json(record)
        case "quiet":
            print(f"{shown.output_per_s:.1f}")
        case _:
            common.out.show(picture(shown))


async def _live(frames: AsyncGenerator[Frame]) -> None:
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(highlight=False), screen=True, auto_refresh=False) as live:
        async for shown in frames:
            live.update(picture(shown), refresh=True)
