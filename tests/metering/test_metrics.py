"""The Prometheus registry: right numbers, bounded labels, nothing personal."""

from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families
from tests.metering.exported import ROW, TIMING, Counting

from intramural.core.chat import Usage
from intramural.core.work import Work
from intramural.metering import AnchorNumbers, DenialNumbers, Metrics, PoolNumbers, WorkerNumbers
from intramural.metering.metrics import MODELS_LIMIT


def samples(metrics: Metrics) -> dict[tuple[str, str], float]:
    """Value by name and by label values, joined in the order of the labels' names (`le` left out of nothing)."""
    return {
        (sample.name, " ".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_a_request_that_ended() -> None:
    metrics = Metrics("1.2.3")
    metrics.request_ended(ROW, TIMING)
    metrics.request_ended(replace(ROW, request_id="other"), TIMING)
    found = samples(metrics)
    who = "class=interactive dialect=openai model=m operation=chat outcome=finished"
    assert found["intramural_requests_total", who] == 2
    tokens = [found["intramural_tokens_total", f"class=interactive model=m type={kind}"] for kind in
              ("input", "output", "cached")]  # fmt: skip
    assert tokens == [20, 10, 8]
    where = "class=interactive{} gen_ai_operation_name=chat gen_ai_provider_name=intramural gen_ai_request_model=m{}"
    assert found["gen_ai_server_time_to_first_token_seconds_bucket", where.format("", " le=0.1")] == 0
    assert found["gen_ai_server_time_to_first_token_seconds_bucket", where.format("", " le=0.25")] == 2
    assert found["gen_ai_server_time_per_output_token_seconds_sum", where.format("", "")] == 0.04
    assert found["gen_ai_server_request_duration_seconds_sum", where.format(" error_type=", "")] == 1
    assert found["intramural_queue_wait_seconds_bucket", "class=interactive le=0.5 model=m"] == 0
    assert found["intramural_queue_wait_seconds_bucket", "class=interactive le=1.0 model=m"] == 2
    assert found["intramural_engine_seconds_total", "model=m phase=output"] == 0.16
    assert found["intramural_audit_write_seconds_bucket", "le=0.005"] == 2
    assert found["intramural_info", "version=1.2.3"] == 1


def test_what_failed_and_what_was_refused() -> None:
    metrics = Metrics("1")
    metrics.request_ended(replace(ROW, outcome="failed"), replace(TIMING, first_s=None), Work.BATCH, "worker_died")
    metrics.request_refused("ollama", "embedding", Work.INTERACTIVE, "model_not_found")
    found = samples(metrics)
    assert found["intramural_errors_total", "code=worker_died operation=chat"] == 1
    assert found["intramural_errors_total", "code=model_not_found operation=embedding"] == 1
    who = "class=interactive dialect=ollama model= operation=embedding outcome=refused"
    assert found["intramural_requests_total", who] == 1
    names = {name for name, _ in found}
    assert "gen_ai_server_time_to_first_token_seconds_count" not in names
    assert "gen_ai_server_time_per_output_token_seconds_count" not in names  # successful answers only
    durations = [labels for name, labels in found if name == "gen_ai_server_request_duration_seconds_count"]
    assert len(durations) == 1
    assert "class=batch error_type=failed" in durations[0]


def test_a_wait_that_nobody_measured_is_not_said_to_be_none() -> None:
    metrics = Metrics("1")
    metrics.request_ended(replace(ROW, operation="embedding", waited_ms=0), replace(TIMING, first_s=None))
    assert not any(name.startswith("intramural_queue_wait") for name, _ in samples(metrics))


def test_tokens_count_while_an_answer_is_on_its_way_and_never_go_back() -> None:
    metrics = Metrics("1")
    counting = Counting(Usage(10, 3))
    metrics.request_began(ROW.request_id, "m", Work.INTERACTIVE, counting)
    output = ("intramural_tokens_total", "class=interactive model=m type=output")
    assert samples(metrics)[output] == 3
    counting.usage = Usage(10, 6)
    assert samples(metrics)[output] == 6
    metrics.request_ended(ROW, TIMING)  # the engine's last word: five
    assert samples(metrics)[output] == 6
    metrics.request_ended(replace(ROW, request_id="next"), TIMING)
    assert samples(metrics)[output] == 10


def test_one_that_left_without_an_ending_counts_no_more() -> None:
    metrics = Metrics("1")
    metrics.request_began("r", "m", Work.INTERACTIVE, Counting(Usage(10, 3)))
    metrics.request_left("r")
    metrics.request_left("r")
    assert not any(name == "intramural_tokens_total" for name, _ in samples(metrics))


def test_the_pool_is_asked_at_each_scrape() -> None:
    now = [PoolNumbers()]
    metrics = Metrics("1", lambda: now[0])
    assert not any(name == "intramural_queue_length" for name, _ in samples(metrics))
    now[0] = PoolNumbers(
        workers=[WorkerNumbers("m", "ready", 2, 4, 100, 70), WorkerNumbers("m", "starting", 0, 4, 100, 7)],
        waiting=["m", "n", "m"],
        planned_bytes=200,
        budget_bytes=300,
        loads={"m": (3, 1.5)},
        ended={("m", "room"): 2},
        turned_away={("m", "queue_full"): 4},
        states={"saved": (2, 900), "restored": (1, 400), "failed": (0, 0)},
        states_bytes=500,
    )
    found = samples(metrics)
    assert found["intramural_queue_length", "model=m"] == 2
    assert found["intramural_queue_length", "model=n"] == 1
    states = [found["intramural_workers", f"model=m state={state}"] for state in ("starting", "ready", "stopping")]
    assert states == [1, 1, 0]
    assert found["intramural_slots_busy", "model=m"] == 2
    assert found["intramural_slots", "model=m"] == 8
    assert found["intramural_worker_memory_bytes", "kind=planned model=m"] == 200
    assert found["intramural_worker_memory_bytes", "kind=resident model=m"] == 77
    assert found["intramural_memory_planned_bytes", ""] == 200
    assert found["intramural_memory_budget_bytes", ""] == 300
    assert found["intramural_worker_load_seconds_count", "model=m"] == 3
    assert found["intramural_worker_load_seconds_sum", "model=m"] == 1.5
    assert found["intramural_turned_away_total", "code=queue_full model=m"] == 4
    assert found["intramural_states_total", "result=saved"] == 2
    assert found["intramural_states_bytes_total", "result=restored"] == 400
    assert found["intramural_states_kept_bytes", ""] == 500
    assert found["intramural_worker_ends_total", "model=m reason=room"] == 2
    now[0] = PoolNumbers()
    assert samples(metrics)["intramural_queue_length", "model=n"] == 0


def test_anchors_are_red_or_not_and_of_an_age() -> None:
    def said(anchors: AnchorNumbers) -> set[str]:
        text = Metrics("1").rendering(anchors=anchors)().decode()
        return {line for line in text.splitlines() if line.startswith("intramural_anchor")}

    assert said(AnchorNumbers(True, 90_000)) == {"intramural_anchors_red 1.0", "intramural_anchor_age_seconds 90000.0"}
    assert said(AnchorNumbers()) == {"intramural_anchors_red 0.0", "intramural_anchor_age_seconds NaN"}


def test_what_was_refused_is_a_number_and_an_alarm() -> None:
    def said(denials: DenialNumbers) -> set[str]:
        text = Metrics("1").rendering(denials=denials)().decode()
        return {line for line in text.splitlines() if line.startswith("intramural_sandbox")}

    assert said(DenialNumbers()) == {"intramural_sandbox_denied 0.0"}
    assert said(DenialNumbers(True, {("worker", "socket"): 3})) == {
        "intramural_sandbox_denied 1.0",
        'intramural_sandbox_denials_total{call="socket",process="worker"} 3.0',
    }


def test_the_process_is_there_and_registries_are_apart() -> None:
    first, second = Metrics("1"), Metrics("1")
    first.request_ended(ROW)
    assert samples(first)["process_resident_memory_bytes", ""] > 0
    assert not any(name == "intramural_requests_total" for name, _ in samples(second))


def test_nobody_is_named() -> None:
    metrics = Metrics("1")
    metrics.request_began("req_other_secret", "m", Work.INTERACTIVE, Counting(Usage(1, 1)))
    metrics.request_ended(ROW, TIMING)
    text = metrics.render()
    assert b"person_a" not in text
    assert b"secret" not in text


def test_names_of_models_are_bounded() -> None:
    metrics = Metrics("1", lambda: PoolNumbers([WorkerNumbers("late", "ready")], ["later"]))
    for number in range(MODELS_LIMIT + 50):
        metrics.request_ended(replace(ROW, model=f"m{number}"), TIMING)
    families = text_string_to_metric_families(metrics.render().decode())
    models = {
        sample.labels[label]
        for family in families
        for sample in family.samples
        for label in ("model", "gen_ai_request_model")
        if label in sample.labels
    }
    assert len(models) == MODELS_LIMIT + 1
    assert "(other)" in models
    assert "late" not in models
