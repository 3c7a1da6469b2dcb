"""How much was used, by whom, with which model: rows in the database, numbers for Prometheus, spans.

Promises: one row per request and ending, from the engine's own counts, durable before `record` returns (or with the
transaction it was given); sums by UTC day, person and model.
Never: sees prompt or answer text; puts a person's name into a metric or a span; refuses anybody anything;
sends anything anywhere, but spans to the collector that an administrator named.

Read in this order: `usage`, `metrics`, `traces`.
"""

from intramural.metering.metrics import Metrics, PoolNumbers, Timing, WorkerNumbers
from intramural.metering.traces import Traces, parse_endpoint
from intramural.metering.usage import By, Dialect, Meter, Operation, Outcome, Sum, UsageRow

__all__ = [
    "By",
    "Dialect",
    "Meter",
    "Metrics",
    "Operation",
    "Outcome",
    "PoolNumbers",
    "Sum",
    "Timing",
    "Traces",
    "UsageRow",
    "WorkerNumbers",
    "parse_endpoint",
]
