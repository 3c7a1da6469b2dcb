"""How much was used, by whom, with which model: rows in the database, numbers for Prometheus, spans.

Promises: one row per request and ending, from the engine's own counts, durable before `record` returns (or with the
transaction it was given); sums by UTC day, person and model.
Of every limit, what is used and held; whether there is room for more is decided by a pure function.
Never: sees prompt or answer text; puts a person's name into a metric or a span; refuses anybody anything (services do,
by what `quotas` decides); sends anything anywhere, but spans to the collector that an administrator named.

Read in this order: `usage`, `windows`, `quotas`, `ledger`, `quota_rows`, `rates`, `metrics`, `traces`.
"""

from intramural.metering.ledger import Charge, Ledger, Reservation
from intramural.metering.metrics import AnchorNumbers, DenialNumbers, Metrics, PoolNumbers, Timing, WorkerNumbers
from intramural.metering.quota_rows import QuotaRows
from intramural.metering.quotas import (
    MEASURES,
    SUBJECTS,
    UNITS,
    Amounts,
    Asker,
    Limit,
    Measure,
    Price,
    Refusal,
    Standing,
    Subject,
    applying,
)
from intramural.metering.quotas import checked as checked_limit
from intramural.metering.quotas import prices as parse_prices
from intramural.metering.quotas import shown as shown_amount
from intramural.metering.rates import PAUSE_S, Rate
from intramural.metering.traces import Traces, parse_endpoint
from intramural.metering.usage import By, Dialect, Meter, Operation, Outcome, Sum, UsageRow
from intramural.metering.windows import PERIODS, Period, zone_of

__all__ = [
    "MEASURES",
    "PAUSE_S",
    "PERIODS",
    "SUBJECTS",
    "UNITS",
    "Amounts",
    "AnchorNumbers",
    "Asker",
    "By",
    "Charge",
    "DenialNumbers",
    "Dialect",
    "Ledger",
    "Limit",
    "Measure",
    "Meter",
    "Metrics",
    "Operation",
    "Outcome",
    "Period",
    "PoolNumbers",
    "Price",
    "QuotaRows",
    "Rate",
    "Refusal",
    "Reservation",
    "Standing",
    "Subject",
    "Sum",
    "Timing",
    "Traces",
    "UsageRow",
    "WorkerNumbers",
    "applying",
    "checked_limit",
    "parse_endpoint",
    "parse_prices",
    "shown_amount",
    "zone_of",
]
