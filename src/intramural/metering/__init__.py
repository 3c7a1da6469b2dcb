"""How much was used, by whom, with which model: rows in the database and numbers for Prometheus.

Promises: one row per request and ending, from the engine's own counts, durable before `record` returns (or with the
transaction it was given); sums by UTC day, person and model.
Never: sees prompt or answer text; puts a person's name into a metric; refuses anybody anything.

Read in this order: `usage`, `metrics`.
"""

from intramural.metering.metrics import Metrics, PoolNumbers, Timing, Work, WorkerNumbers
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
    "UsageRow",
    "Work",
    "WorkerNumbers",
]
