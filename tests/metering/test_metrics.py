"""The Prometheus registry: right numbers, nothing personal."""

from prometheus_client.parser import text_string_to_metric_families

from intramural.metering import Metrics, PoolNumbers, UsageRow

ROW = UsageRow(
    "req_secret", "person_a", "key_secret", "m", "sha256:00", "openai", "chat", "finished", 10, 5, 4, waited_ms=700
)


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value for family in families for each in family.samples
    }


def test_requests_tokens_and_waiting() -> None:
    metrics = Metrics("1.2.3")
    metrics.request_ended(ROW)
    metrics.request_ended(ROW)
    metrics.request_refused("openai", "embedding")
    metrics.first_token("openai", "chat", 0.2)
    found = samples(metrics)
    finished = (("dialect", "openai"), ("operation", "chat"), ("outcome", "finished"))
    refused = (("dialect", "openai"), ("operation", "embedding"), ("outcome", "refused"))
    assert found[("intramural_requests_total", finished)] == 2
    assert found[("intramural_requests_total", refused)] == 1
    tokens = [found[("intramural_tokens_total", (("kind", kind),))] for kind in ("prompt", "completion", "cached")]
    assert tokens == [20, 10, 8]
    assert found[("intramural_queue_wait_seconds_count", ())] == 2
    assert found[("intramural_queue_wait_seconds_bucket", (("le", "0.5"),))] == 0
    assert found[("intramural_queue_wait_seconds_bucket", (("le", "1.0"),))] == 2
    where = (("dialect", "openai"), ("operation", "chat"))
    assert found[("intramural_first_token_seconds_bucket", (*where[:1], ("le", "0.25"), *where[1:]))] == 1
    assert found[("intramural_info", (("version", "1.2.3"),))] == 1


def test_the_pool_is_asked_at_each_scrape() -> None:
    now = [PoolNumbers()]
    metrics = Metrics("1", lambda: now[0])
    assert samples(metrics)[("intramural_queue_length", ())] == 0
    now[0] = PoolNumbers({"ready": 2, "starting": 1}, 7, 3, 8, 100, 200)
    found = samples(metrics)
    assert found[("intramural_queue_length", ())] == 7
    workers = {dict(labels)["state"]: value for (name, labels), value in found.items() if name == "intramural_workers"}
    assert workers == {"starting": 1, "ready": 2, "stopping": 0}
    names = ("slots_busy", "slots", "memory_planned_bytes", "memory_budget_bytes")
    assert [found[(f"intramural_{name}", ())] for name in names] == [3, 8, 100, 200]


def test_the_process_is_there_and_registries_are_apart() -> None:
    first, second = Metrics("1"), Metrics("1")
    first.request_ended(ROW)
    assert samples(first)[("process_resident_memory_bytes", ())] > 0
    assert not any(name == "intramural_requests_total" for name, _ in samples(second))


def test_nobody_is_named() -> None:
    metrics = Metrics("1")
    metrics.request_ended(ROW)
    text = metrics.render()
    assert b"person_a" not in text
    assert b"secret" not in text
