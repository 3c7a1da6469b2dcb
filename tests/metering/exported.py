"""Metrics in which everything that can be exported has a value."""

from dataclasses import dataclass

from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from intramural.core.chat import Usage
from intramural.core.work import Work
from intramural.metering import DenialNumbers, Metrics, PoolNumbers, Timing, UsageRow, WorkerNumbers

ROW = UsageRow(
    request_id="req_secret",
    person_id="person_a",
    credential_id="key_secret",
    model="m",
    weights_digest="sha256:00",
    dialect="openai",
    operation="chat",
    outcome="finished",
    prompt_tokens=10,
    completion_tokens=5,
    cached_tokens=4,
    prompt_ms=100,
    completion_ms=80,
    waited_ms=700,
)
TIMING = Timing(first_s=0.2, took_s=0.5, written_s=0.004)


@dataclass
class Counting:
    """An answer on its way."""

    usage: Usage


def everything() -> Metrics:
    """One of each."""
    pool = PoolNumbers(
        workers=[WorkerNumbers("m", "ready", 2, 4, 100, 70)],
        waiting=["m"],
        planned_bytes=100,
        budget_bytes=300,
        loads={"m": (3, 1.5)},
        ended={("m", "room"): 2},
        turned_away={("m", "queue_full"): 4},
        states={"saved": (2, 900), "restored": (1, 400), "failed": (0, 0)},
        states_bytes=500,
    )
    metrics = Metrics("1", lambda: pool, lambda: {"sent": 1, "dropped": 0})
    metrics.request_ended(ROW, TIMING)
    metrics.guarded("phi", "in", {("mrn", "redact"): 1})
    metrics.request_ended(replace(ROW, request_id="b", outcome="failed"), TIMING, Work.BATCH, "worker_died")
    return metrics


def everything_shown() -> str:
    """What a scrape has of it."""
    return everything().rendering(denials=DenialNumbers(True, {("worker", "socket"): 1}))().decode()


def labels_by_name(text: str) -> dict[str, set[str]]:
    """Every sample's name, as a query names it, with the labels it has."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found
