"""What was used: one row per generation or embedding, in the engine's own counts, and numbers for Prometheus.

Promises: a row is written in the same transaction as the audit event of the ending, whatever the ending was.
Never: holds text of prompts or answers; puts people's names into metrics.

Read in this order: `usage`, `metrics`.
"""

from intramural.metering.metrics import METRICS_CONTENT_TYPE, Metrics, WorkerLoad
from intramural.metering.usage import USAGE_INSERT, Meter, SummaryBy, UsageRow, UsageSum

__all__ = [
    "METRICS_CONTENT_TYPE",
    "USAGE_INSERT",
    "Meter",
    "Metrics",
    "SummaryBy",
    "UsageRow",
    "UsageSum",
    "WorkerLoad",
]
