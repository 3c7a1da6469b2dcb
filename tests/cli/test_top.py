"""`top`: the arithmetic on scrapes, what is shown, and the command against a running service and none."""

import io
import os
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.console import Console
from tests import preloaded

from intramural.cli.top import Scrape, Window, fitting, frame, percentile, picture, read
from intramural.metering import Metrics, PoolNumbers, Timing, UsageRow, WorkerNumbers

ROW = UsageRow("r", "p", "c", "m", "d", "openai", "chat", "finished", 40, 20, 10)


def service() -> Metrics:
    workers = [WorkerNumbers("m", "ready", 1, 4, 100, 70)]
    return Metrics("1", lambda: PoolNumbers(workers, ["m", "n"], 100, 300, ended={("m", "room"): 2}))


def scraped(metrics: Metrics, at_s: float) -> Scrape:
    return read(metrics.render().decode(), at_s)


@pytest.mark.parametrize("width", [20, 80, 200])
def test_a_narrow_terminal_shows_fewer_columns_not_narrower_ones(width: int) -> None:
    row = ("smollm2:135m-instruct-q4_1", "ready", "0/4", "0", "1.0", "2.0", "-", "175 ms", "242 ms", "951 MB", "929 MB",
           "0", "0")  # fmt: skip
    columns = fitting([row], width)
    assert columns[0] == 0, "what it is about"
    assert len(columns) == {20: 1, 80: 8, 200: 13}[width]


def test_rates_since_the_scrape_before() -> None:
    metrics = service()
    metrics.request_ended(ROW, Timing(0.2, 1, 0))
    before = scraped(metrics, 10)
    for number in range(4):
        metrics.request_ended(replace(ROW, request_id=str(number)), Timing(0.03, 1, 0))
    shown = frame(before, scraped(metrics, 12))
    assert shown.requests_per_s == 2
    assert shown.output_per_s == 40
    assert (shown.slots_busy, shown.slots, shown.queued) == (1, 4, 2)
    assert (shown.planned_bytes, shown.budget_bytes) == (100, 300)
    m, n = shown.models
    assert (m.model, m.state, m.queued, m.input_per_s, m.cached_share) == ("m", "ready", 1, 80, 0.25)
    assert (m.resident_bytes, m.evictions, m.crashes) == (70, 2, 0)
    assert (n.model, n.state, n.queued, n.cached_share, n.first_token_p50_s) == ("n", "not loaded", 1, None, None)
    assert shown.first_token_p95_s is not None
    assert 0.02 < shown.first_token_p95_s <= 0.04  # not the slow one of before


@pytest.mark.parametrize(("share", "wanted"), [(0.5, 0.25), (1.0, 1.0)])
def test_percentiles_as_prometheus_reckons(share: float, wanted: float) -> None:
    metrics = service()
    for first_s in (0.2, 0.9):
        metrics.request_ended(replace(ROW, request_id=str(first_s)), Timing(first_s, 1, 0))
    assert percentile(Scrape(0, {}), scraped(metrics, 1), share) == pytest.approx(wanted)


def test_beyond_the_last_bucket_is_its_boundary() -> None:
    metrics = service()
    metrics.request_ended(ROW, Timing(1000.0, 1000, 0))
    assert percentile(Scrape(0, {}), scraped(metrics, 1), 0.5) == 120


def test_a_window_forgets_what_is_old_and_one_look_counts_everything() -> None:
    metrics = service()
    window, whole = Window(10), Window(10, since_start=True)
    metrics.request_ended(ROW, Timing(0.2, 1, 0))
    for at_s in (0, 5, 10, 15):
        shown, all_time = window.add(scraped(metrics, at_s)), whole.add(scraped(metrics, at_s))
    assert shown.window_s == 10
    assert shown.first_token_p50_s is None
    assert all_time.first_token_p50_s is not None
    assert all_time.since_start


def test_a_restarted_service_shows_no_negative_rates() -> None:
    metrics = service()
    metrics.request_ended(ROW, Timing(0.2, 1, 0))
    shown = frame(scraped(metrics, 0), scraped(service(), 1))
    assert shown.requests_per_s == 0
    assert shown.first_token_p50_s is None


def test_the_picture_names_the_model_and_is_safe_to_print() -> None:
    metrics = Metrics("1", lambda: PoolNumbers([WorkerNumbers("a\x1b[2Jb", "ready", 1, 4, 10**9, 0)]))
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(picture(frame(Scrape(0, {}), scraped(metrics, 1))))
    text = console.export_text()
    assert "1/4" in text and "1.0 GB" in text
    assert "\x1b" not in text


def run(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {
        **{k: v for k, v in os.environ.items() if not k.startswith("INTRAMURAL_")},
        "INTRAMURAL_DATA_DIR": str(tmp_path / "data"),
    }
    return preloaded.run(["top", *words], environ)


def test_without_a_service_there_is_nothing_to_see_and_nothing_is_made(tmp_path: Path) -> None:
    done = run(tmp_path, "--once")
    assert done.returncode == 1
    assert "service_not_running" in done.stderr
    assert not (tmp_path / "data" / "intramural.db").exists()
