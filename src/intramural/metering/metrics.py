"""Numbers for Prometheus, in a registry of our own. Labels come from short fixed lists: no people, no text."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from intramural.metering.usage import Dialect, Operation, UsageRow

#: From a cached prompt on a small model (ms) to a long prompt on a slow machine (minutes).
_FIRST_TOKEN_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_WAIT_BUCKETS_S = (0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0)
_WORKER_STATES = ("starting", "ready", "stopping")


@dataclass(frozen=True, slots=True)
class PoolNumbers:
    """The state of the workers at the moment of a scrape."""

    workers: Mapping[str, int] = field(default_factory=dict)  # state -> how many
    queued: int = 0
    slots_busy: int = 0
    slots: int = 0
    planned_bytes: int = 0
    budget_bytes: int = 0


class Metrics:
    """What `/metrics` shows. `pool` is asked at each scrape; everything else is counted as it happens."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, version: str, pool: Callable[[], PoolNumbers] = PoolNumbers) -> None:
        self.registry = registry = CollectorRegistry()
        labels = ("dialect", "operation", "outcome")
        self._requests = Counter("intramural_requests", "Requests for inference.", labels, registry=registry)
        self._tokens = Counter("intramural_tokens", "Tokens by kind, as engines count.", ("kind",), registry=registry)
        self._first_token = Histogram(
            "intramural_first_token_seconds",
            "From a request's arrival to the first token of its answer.",
            ("dialect", "operation"),
            buckets=_FIRST_TOKEN_BUCKETS_S,
            registry=registry,
        )
        self._wait = Histogram(
            "intramural_queue_wait_seconds", "Spent waiting for a slot.", buckets=_WAIT_BUCKETS_S, registry=registry
        )
        Info("intramural", "The running version.", registry=registry).info({"version": version})
        ProcessCollector(registry=registry)
        registry.register(_PoolCollector(pool))

    def request_ended(self, row: UsageRow) -> None:
        """Count a request that was let in, when it has ended, by its usage."""
        self._requests.labels(row.dialect, row.operation, row.outcome).inc()
        self._tokens.labels("prompt").inc(row.prompt_tokens)
        self._tokens.labels("cached").inc(row.cached_tokens)
        self._tokens.labels("completion").inc(row.completion_tokens)
        self._wait.observe(row.waited_ms / 1000)

    def request_refused(self, dialect: Dialect, operation: Operation) -> None:
        """Count a request that policy, a limit or the full queue turned away."""
        self._requests.labels(dialect, operation, "refused").inc()

    def first_token(self, dialect: Dialect, operation: Operation, seconds: float) -> None:
        """Note how long the first token took."""
        self._first_token.labels(dialect, operation).observe(seconds)

    def render(self) -> bytes:
        """The exposition text; `content_type` says of what kind."""
        return generate_latest(self.registry)


class _PoolCollector(Collector):
    def __init__(self, pool: Callable[[], PoolNumbers]) -> None:
        self._pool = pool

    def collect(self) -> Iterable[Metric]:
        now = self._pool()
        workers = GaugeMetricFamily("intramural_workers", "Worker processes by state.", labels=["state"])
        for state in _WORKER_STATES:
            workers.add_metric([state], now.workers.get(state, 0))
        yield workers
        yield GaugeMetricFamily("intramural_queue_length", "Requests waiting for a slot.", now.queued)
        yield GaugeMetricFamily("intramural_slots_busy", "Slots that are writing an answer.", now.slots_busy)
        yield GaugeMetricFamily("intramural_slots", "Slots of all workers.", now.slots)
        yield GaugeMetricFamily("intramural_memory_planned_bytes", "Planned for all workers.", now.planned_bytes)
        yield GaugeMetricFamily("intramural_memory_budget_bytes", "What may be planned for.", now.budget_bytes)
