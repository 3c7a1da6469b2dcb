"""Numbers for Prometheus. No person, no prompt, no key: only dialects, models, outcomes and counts."""

from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from intramural.metering.usage import UsageRow

METRICS_CONTENT_TYPE = CONTENT_TYPE_LATEST
#: Seconds: from a warm cache to a model that had to be loaded first.
_FIRST_TOKEN_BUCKETS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120)


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """One worker at this moment, for the gauges."""

    model: str
    state: str
    slots: int
    slots_busy: int
    rss_bytes: int


class Metrics:
    """A registry of our own, so that no library's numbers slip in."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        labels = ["dialect", "operation", "model", "outcome"]
        self._requests = Counter(
            "intramural_requests", "Generations and embeddings that ended.", labels, registry=registry
        )
        self._tokens = Counter(
            "intramural_tokens", "Tokens, by the engine's count.", ["model", "kind"], registry=registry
        )
        self._first_token = Histogram(
            "intramural_first_token_seconds",
            "From the request to its first event.",
            ["model"],
            buckets=_FIRST_TOKEN_BUCKETS,
            registry=registry,
        )
        self._waited = Histogram(
            "intramural_queue_seconds",
            "From the request to its slot.",
            ["model"],
            buckets=_FIRST_TOKEN_BUCKETS,
            registry=registry,
        )
        self._queued = Gauge("intramural_queued_requests", "Requests that wait for a slot.", registry=registry)
        self._slots = Gauge("intramural_worker_slots", "Slots of a worker.", ["model", "state"], registry=registry)
        self._busy = Gauge("intramural_worker_slots_busy", "Slots in use.", ["model", "state"], registry=registry)
        self._rss = Gauge("intramural_worker_resident_bytes", "Resident memory.", ["model", "state"], registry=registry)

    def answered(self, row: UsageRow, *, first_token_s: float | None) -> None:
        """A generation or embedding ended."""
        self._requests.labels(row.dialect, row.operation, row.model, row.outcome).inc()
        self._tokens.labels(row.model, "prompt").inc(row.prompt_tokens)
        self._tokens.labels(row.model, "completion").inc(row.completion_tokens)
        self._tokens.labels(row.model, "cached").inc(row.cached_tokens)
        self._waited.labels(row.model).observe(row.waited_ms / 1000)
        if first_token_s is not None:
            self._first_token.labels(row.model).observe(first_token_s)

    def exposition(self, *, queued: int, workers: Sequence[WorkerLoad]) -> bytes:
        """Everything in Prometheus's text form."""
        self._queued.set(queued)
        for gauge in (self._slots, self._busy, self._rss):
            gauge.clear()
        for each in workers:
            self._slots.labels(each.model, each.state).set(each.slots)
            self._busy.labels(each.model, each.state).set(each.slots_busy)
            self._rss.labels(each.model, each.state).set(each.rss_bytes)
        return generate_latest(self._registry)
