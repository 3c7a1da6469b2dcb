"""Numbers for Prometheus, in a registry of our own. Labels come from short fixed lists and the models there are.

Names and buckets are OpenTelemetry's where its conventions for generative AI have one (`gen_ai_server_…`, with its
dots as underscores and its unit at the end, as Prometheus has it), else ours (`intramural_…`). Nothing is done per
token: the counts of answers on their way are read when somebody scrapes.
"""

from collections import Counter as Tallied
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Protocol

import msgspec
from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from intramural.core.chat import Usage
from intramural.core.work import Work
from intramural.metering.usage import Dialect, Operation, UsageRow

#: The conventions' boundaries, and what lies beyond them on a slow machine with a long prompt.
_FIRST_TOKEN_BUCKETS_S = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0, 120.0,
)  # fmt: skip
#: The conventions' boundaries, and below them: a small model takes two milliseconds a token.
_PER_TOKEN_BUCKETS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
)  # fmt: skip
_DURATION_BUCKETS_S = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 300.0,
)  # fmt: skip
_WAIT_BUCKETS_S = (0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0)
_WRITE_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_WORKER_STATES = ("starting", "ready", "resting", "stopping")
_MEMORY_KINDS = ("planned", "resident")
_TOKEN_TYPES = ("input", "output", "cached")
#: What the conventions call our operations; `rerank` has no name there.
OPERATIONS: Mapping[Operation, str] = {
    "chat": "chat",
    "completion": "text_completion",
    "embedding": "embeddings",
    "rerank": "rerank",
}
PROVIDER = "intramural"
#: Of vectors and ranks it is not measured how long they waited.
WAIT_KNOWN: frozenset[Operation] = frozenset({"chat", "completion"})
#: More names of models than this are one (`_OTHER`): a machine that makes models all day must not fill Prometheus.
MODELS_LIMIT = 200
_OTHER = "(other)"


@dataclass(frozen=True, slots=True)
class AnchorNumbers:
    """How it stands with the anchors of the log. `age_s`: since a checkpoint was put in one; None: never."""

    red: bool = False
    age_s: int | None = None


@dataclass(frozen=True, slots=True)
class DenialNumbers:
    """What confined processes were refused. `red`: something within a day; `counts` since the start, by kind of process
    and call."""

    red: bool = False
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkerNumbers:
    """One worker. `state`: starting, ready, resting (elsewhere, and failing) or stopping; `resident_bytes` with mapped
    weights."""

    model: str
    state: str
    slots_busy: int = 0
    slots: int = 0
    planned_bytes: int = 0
    resident_bytes: int = 0


@dataclass(frozen=True, slots=True)
class PoolNumbers:
    """The workers and the queue at the moment of a scrape, and what became of earlier ones since the start.

    `loads` by model: how many, and the seconds they took; `ended` by model and reason; `turned_away` by model and error
    code: who never got a slot. `states` by result: how many states of conversations were `saved`, `restored`, `failed`,
    and the bytes; `states_bytes`: what is kept of them.
    """

    workers: Sequence[WorkerNumbers] = ()
    waiting: Sequence[str] = ()
    planned_bytes: int = 0
    budget_bytes: int = 0
    loads: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    ended: Mapping[tuple[str, str], int] = field(default_factory=dict)
    turned_away: Mapping[tuple[str, str], int] = field(default_factory=dict)
    states: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    states_bytes: int = 0


class Timing(msgspec.Struct, frozen=True):
    """What a request took, in seconds: `first_s` to the first token (None: there was none), `took_s` to the last,
    `written_s` until its ending was on the disk."""

    first_s: float | None
    took_s: float
    written_s: float


class Counting(Protocol):
    """An answer on its way, whose counts can be read at any time."""

    @property
    def usage(self) -> Usage: ...


class Metrics:
    """What `/metrics` shows. `pool` is asked at each scrape; requests are counted when they end."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(
        self,
        version: str,
        pool: Callable[[], PoolNumbers] = PoolNumbers,
        spans: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self.registry = registry = CollectorRegistry()
        self._models: dict[str, str] = {}
        #: The library looks a series up again each time, which costs more than counting.
        self._counters: dict[tuple[Counter, tuple[str, ...]], Counter] = {}
        self._observed: dict[tuple[Histogram, tuple[str, ...]], Histogram] = {}
        self._tokens = _Tokens(self._named)
        labels = ("dialect", "operation", "model", "class", "outcome")
        self._requests = Counter("intramural_requests", "Requests for inference, ended.", labels, registry=registry)
        self._errors = Counter(
            "intramural_errors",
            "Requests that ended with an error or were refused, by its code (see the reference of errors).",
            ("operation", "code"),
            registry=registry,
        )
        self._engine = Counter(
            "intramural_engine_seconds",
            "Time that engines say they computed, reading prompts and writing answers.",
            ("model", "phase"),
            registry=registry,
        )
        self._guarded = Counter(
            "intramural_guard_found",
            "What the guard found in questions (in) and answers (out), and what it did about it.",
            ("label", "direction", "identifier", "action"),
            registry=registry,
        )
        self._histograms(registry)
        Info("intramural", "The running version.", registry=registry).info({"version": version})
        ProcessCollector(registry=registry)
        self._pool = _PoolCollector(pool, self._named)
        self._spans = spans

    def _histograms(self, registry: CollectorRegistry) -> None:
        asked = ("gen_ai_provider_name", "gen_ai_operation_name", "gen_ai_request_model", "class")
        self._first_token = Histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "From a request's arrival, with its wait, to the first token of its answer.",
            asked,
            buckets=_FIRST_TOKEN_BUCKETS_S,
            registry=registry,
        )
        self._per_token = Histogram(
            "gen_ai_server_time_per_output_token_seconds",
            "Mean time per token after the first, as the engine measured it, of answers that came to their end.",
            asked,
            buckets=_PER_TOKEN_BUCKETS_S,
            registry=registry,
        )
        self._duration = Histogram(
            "gen_ai_server_request_duration_seconds",
            "From a request's arrival to its last token. `error_type`: cancelled, failed, or nothing.",
            (*asked, "error_type"),
            buckets=_DURATION_BUCKETS_S,
            registry=registry,
        )
        self._wait = Histogram(
            "intramural_queue_wait_seconds",
            "Spent waiting for a slot, by chats and completions.",
            ("model", "class"),
            buckets=_WAIT_BUCKETS_S,
            registry=registry,
        )
        self._write = Histogram(
            "intramural_audit_write_seconds",
            "From an answer's end until its record and its usage are on the disk.",
            buckets=_WRITE_BUCKETS_S,
            registry=registry,
        )

    def request_began(self, request_id: str, model: str, work: Work, counting: Counting) -> None:
        """From now until it ends, what `counting` says is part of the tokens."""
        self._tokens.running[request_id] = (model, work, counting)

    def request_left(self, request_id: str) -> None:
        """Whatever became of it: it is not on its way any more."""
        self._tokens.running.pop(request_id, None)

    def request_ended(
        self, row: UsageRow, timing: Timing | None = None, work: Work = Work.INTERACTIVE, code: str | None = None
    ) -> None:
        """Count a request that was let in, when it has ended, by its usage; `code`: of the error it ended with."""
        model = self._named(row.model)
        self._add(self._requests, 1, row.dialect, row.operation, model, work.label, row.outcome)
        if code is not None:
            self._add(self._errors, 1, row.operation, code)
        self._tokens.ended(row, work)
        self._add(self._engine, row.prompt_ms / 1000, model, "input")
        self._add(self._engine, row.completion_ms / 1000, model, "output")
        if row.operation in WAIT_KNOWN:
            self._observe(self._wait, row.waited_ms / 1000, model, work.label)
        labels = (PROVIDER, OPERATIONS[row.operation], model, work.label)
        if row.outcome == "finished" and row.completion_tokens > 1 and row.completion_ms > 0:
            self._observe(self._per_token, row.completion_ms / 1000 / (row.completion_tokens - 1), *labels)
        if timing is None:
            return
        if timing.first_s is not None:
            self._observe(self._first_token, timing.first_s, *labels)
        self._observe(self._duration, timing.took_s, *labels, "" if row.outcome == "finished" else row.outcome)
        self._write.observe(timing.written_s)

    def request_refused(self, dialect: Dialect, operation: Operation, work: Work, code: str) -> None:
        """Count a request that was turned away before a model had anything to do with it, so that it names none."""
        self._add(self._requests, 1, dialect, operation, "", work.label, "refused")
        self._add(self._errors, 1, operation, code)

    def guarded(self, label: str, direction: str, counts: Mapping[tuple[str, str], int]) -> None:
        """Count what the guard found, by class and what was done about it. All of them come from fixed lists."""
        for (kind, action), number in counts.items():
            self._add(self._guarded, number, label, direction, kind, action)

    def render(self) -> bytes:
        """The exposition text; `content_type` says of what kind."""
        return self.rendering()()

    def rendering(
        self,
        *,
        review_missed: bool = False,
        anchors: AnchorNumbers = AnchorNumbers(),
        denials: DenialNumbers = DenialNumbers(),
    ) -> Callable[[], bytes]:
        """What renders this moment. It may be called in a thread of its own: many series take many milliseconds.
        `review_missed`: an activity review is due and was not signed.
        """
        text = "1: an activity review is missed (audit.review_every_days)."
        reviews = GaugeMetricFamily("intramural_review_missed", text, int(review_missed))
        asked = [*self._tokens.collect(), *self._pool.collect(), self._traced(), reviews]
        asked += [*_anchored(anchors), *_denied(denials)]
        whole = CollectorRegistry()
        whole.register(_Moment(self.registry, asked))
        return lambda: generate_latest(whole)

    def _traced(self) -> Metric:
        family = CounterMetricFamily("intramural_spans", "Spans for a collector, if there is one.", labels=["result"])
        for result, number in self._spans().items():
            family.add_metric([result], number)
        return family

    def _add(self, counter: Counter, amount: float, *labels: str) -> None:
        series = self._counters.get((counter, labels))
        if series is None:
            series = self._counters[counter, labels] = counter.labels(*labels)
        series.inc(amount)

    def _observe(self, histogram: Histogram, amount: float, *labels: str) -> None:
        series = self._observed.get((histogram, labels))
        if series is None:
            series = self._observed[histogram, labels] = histogram.labels(*labels)
        series.observe(amount)

    def _named(self, model: str) -> str:
        """The label for a model, which the library must have known."""
        label = self._models.get(model)
        if label is None:
            if len(self._models) >= MODELS_LIMIT:
                return _OTHER
            label = self._models[model] = model
        return label


def _anchored(anchors: AnchorNumbers) -> Iterable[Metric]:
    text = "1: no checkpoint of the log is held outside that is at most a day old, or an anchor holds another history."
    yield GaugeMetricFamily("intramural_anchors_red", text, int(anchors.red))
    text = "Since a checkpoint of the log was put in an anchor. NaN: never."
    yield GaugeMetricFamily("intramural_anchor_age_seconds", text, nan if anchors.age_s is None else anchors.age_s)


def _denied(denials: DenialNumbers) -> Iterable[Metric]:
    text = "1: within a day a confined process tried what none of ours ever tries (and was refused)."
    yield GaugeMetricFamily("intramural_sandbox_denied", text, int(denials.red))
    text = "Such system calls, refused, by kind of process (worker, broker, child) and call."
    family = CounterMetricFamily("intramural_sandbox_denials", text, labels=["process", "call"])
    for key, number in denials.counts.items():
        family.add_metric(key, number)
    yield family


class _Moment(Collector):
    """What is counted as it happens, and what was asked for at this moment."""

    def __init__(self, counted: CollectorRegistry, asked: Sequence[Metric]) -> None:
        self._counted = counted
        self._asked = asked

    def collect(self) -> Iterable[Metric]:
        yield from self._counted.collect()
        yield from self._asked


class _Tokens(Collector):
    """Tokens of ended requests, and of those on their way as their engines count them now."""

    def __init__(self, named: Callable[[str], str]) -> None:
        self.running: dict[str, tuple[str, Work, Counting]] = {}
        self._named = named
        self._ended: Tallied[tuple[str, str, str]] = Tallied()
        #: A counter never goes back: an engine may correct the count of an answer at its end.
        self._shown: dict[tuple[str, str, str], int] = {}

    def ended(self, row: UsageRow, work: Work) -> None:
        self.running.pop(row.request_id, None)
        self._add(self._ended, row.model, work, (row.prompt_tokens, row.completion_tokens, row.cached_tokens))

    def _add(self, to: Tallied[tuple[str, str, str]], model: str, work: Work, counts: tuple[int, int, int]) -> None:
        model = self._named(model)
        for kind, count in zip(_TOKEN_TYPES, counts, strict=True):
            to[model, work.label, kind] += count

    def collect(self) -> Iterable[Metric]:
        now = self._ended.copy()
        for model, work, counting in self.running.values():
            usage = counting.usage
            self._add(now, model, work, (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens))
        family = CounterMetricFamily(
            "intramural_tokens",
            "Tokens as engines count them, also of answers on their way. `cached` is a part of `input`.",
            labels=["model", "class", "type"],
        )
        for key, count in now.items():
            self._shown[key] = max(count, self._shown.get(key, 0))
            family.add_metric(key, self._shown[key])
        yield family


class _PoolCollector(Collector):
    def __init__(self, pool: Callable[[], PoolNumbers], named: Callable[[str], str]) -> None:
        self._pool = pool
        self._named = named
        self._waited_for: set[str] = set()

    def collect(self) -> Iterable[Metric]:
        now = self._pool()
        yield from self._workers(now.workers)
        # None waiting is a number too: it is said of every model that is loaded, or that somebody ever waited for.
        self._waited_for.update(map(self._named, (*now.waiting, *(worker.model for worker in now.workers))))
        waiting = dict.fromkeys(sorted(self._waited_for), 0) | Tallied(map(self._named, now.waiting))
        yield self._gauge("intramural_queue_length", "Requests waiting for a slot.", ("model",), waiting)
        yield GaugeMetricFamily("intramural_memory_planned_bytes", "Planned for all workers.", now.planned_bytes)
        yield GaugeMetricFamily("intramural_memory_budget_bytes", "What may be planned for.", now.budget_bytes)
        yield from self._past(now)
        yield from self._kept(now)

    def _workers(self, workers: Sequence[WorkerNumbers]) -> Iterable[Metric]:
        states: Tallied[tuple[str, str]] = Tallied()
        busy: Tallied[str] = Tallied()
        slots: Tallied[str] = Tallied()
        memory: Tallied[tuple[str, str]] = Tallied()
        for worker in workers:
            model = self._named(worker.model)
            for state in _WORKER_STATES:
                states[model, state] += worker.state == state
            busy[model] += worker.slots_busy
            slots[model] += worker.slots
            for kind, amount in zip(_MEMORY_KINDS, (worker.planned_bytes, worker.resident_bytes), strict=True):
                memory[model, kind] += amount
        yield self._gauge("intramural_workers", "Worker processes by state.", ("model", "state"), states)
        yield self._gauge("intramural_slots_busy", "Slots that are writing an answer.", ("model",), busy)
        yield self._gauge("intramural_slots", "Slots of all workers.", ("model",), slots)
        yield self._gauge(
            "intramural_worker_memory_bytes",
            "Memory of workers: planned, and resident as the kernel says it, mapped weights included.",
            ("model", "kind"),
            memory,
        )

    def _past(self, now: PoolNumbers) -> Iterable[Metric]:
        loads = SummaryMetricFamily("intramural_worker_load_seconds", "Loads that came to be ready.", labels=["model"])
        for model, (number, seconds) in self._summed(now.loads).items():
            loads.add_metric([model], number, seconds)
        yield loads
        for name, text, label, counts in (
            ("intramural_worker_ends", "Workers that are no more, by why; `room`: evicted.", "reason", now.ended),
            ("intramural_turned_away", "Who never got a slot, by error code.", "code", now.turned_away),
        ):
            family = CounterMetricFamily(name, text, labels=["model", label])
            sums: Tallied[tuple[str, str]] = Tallied()
            for (model, reason), number in counts.items():
                sums[self._named(model), reason] += number
            for key, number in sums.items():
                family.add_metric(key, number)
            yield family

    def _kept(self, now: PoolNumbers) -> Iterable[Metric]:
        for place, (name, text) in enumerate(
            (
                ("intramural_states", "What was computed of conversations: saved, restored, or neither was possible."),
                ("intramural_states_bytes", "Bytes of that."),
            )
        ):
            family = CounterMetricFamily(name, text, labels=["result"])
            for result, numbers in now.states.items():
                family.add_metric([result], numbers[place])
            yield family
        yield GaugeMetricFamily("intramural_states_kept_bytes", "What is kept of it on the disk.", now.states_bytes)

    def _summed(self, loads: Mapping[str, tuple[int, float]]) -> Mapping[str, tuple[int, float]]:
        sums: dict[str, tuple[int, float]] = {}
        for model, (number, seconds) in loads.items():
            before = sums.get(self._named(model), (0, 0.0))
            sums[self._named(model)] = (before[0] + number, before[1] + seconds)
        return sums

    @staticmethod
    def _gauge(
        name: str, text: str, labels: Sequence[str], values: Mapping[str, int] | Mapping[tuple[str, str], int]
    ) -> Metric:
        family = GaugeMetricFamily(name, text, labels=labels)
        for key, value in values.items():
            family.add_metric([key] if isinstance(key, str) else key, value)
        return family
