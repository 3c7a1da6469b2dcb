"""What a running service tells those who watch it, and what it never tells."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import get_args

import requests
from prometheus_client.parser import text_string_to_metric_families
from tests.fakes.collector import Collector
from tests.service import ADMIN, ENDLESS, MODEL, Service

from intramural.core.work import Work
from intramural.guard import LABELS, Deed, Kind
from intramural.metering import Dialect, Operation, Outcome

ROOT = Path(__file__).parents[2]
PROMPT = "Pelagic wombats juggle xylophones."


def metrics(service: Service) -> str:
    key = {"Authorization": f"Bearer {service.new_key(name='watcher-zebra', scopes=['metrics'])}"}
    return requests.get(f"{service.address}/metrics", headers=key, timeout=10).text


def test_every_label_value_is_of_a_short_list_and_nobody_is_in_it(service: Service) -> None:
    key = service.new_key(name="program-okapi")
    client = service.client(key)
    body = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 8}
    whole = requests.post(f"{service.address}/v1/chat/completions", json=body, headers=bearer(key), timeout=60)
    assert whole.status_code == 200
    client.completions.create(model=MODEL, prompt=PROMPT, max_tokens=4, user="tapir-user")
    unknown = {**body, "model": "quokka-model"}
    assert requests.post(f"{service.address}/v1/chat/completions", json=unknown, headers=bearer(key)).status_code == 404
    text = metrics(service)
    codes = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/reference/errors.md").read_text("utf-8"), re.MULTILINE))
    operations = {"chat", "text_completion", "embeddings", "rerank"}
    allowed: dict[str, set[str]] = {
        "model": {MODEL, ""},
        "gen_ai_request_model": {MODEL},
        "gen_ai_provider_name": {"intramural"},
        "gen_ai_operation_name": operations,
        "error_type": {"", "cancelled", "failed"},
        "dialect": set(get_args(Dialect)),
        "operation": set(get_args(Operation)),
        "outcome": {*get_args(Outcome), "refused"},
        "class": {work.label for work in Work},
        "code": codes,
        "type": {"input", "output", "cached"},
        "phase": {"input", "output"},
        "state": {"starting", "ready", "stopping", "resting"},
        "kind": {"planned", "resident"},
        "result": {"sent", "dropped", "saved", "restored", "failed"},
        "label": set(LABELS),
        "direction": {"in", "out"},
        "identifier": {kind.value for kind in Kind},
        "action": {deed.value for deed in Deed},
        "reason": {"idle", "room", "unloaded", "shutdown", "crashed", "misbehaved", "not_started"},
    }
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            for label, value in sample.labels.items():
                if label in ("le", "version"):
                    continue
                assert value in allowed[label], f"{sample.name} has {label}={value!r}"
    for secret in (
        "Pelagic",
        "wombats",
        "okapi",
        "zebra",
        "tapir",
        "quokka",
        ADMIN[0] + '"',
        whole.headers["X-Request-Id"],
    ):
        assert secret not in text, secret
    assert 'code="model_not_found"' in text


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_tokens_are_seen_while_an_answer_is_written_and_memory_as_the_kernel_has_it(service: Service) -> None:
    def written() -> float:
        return value(metrics(service), "intramural_tokens_total", type="output")

    before = written()
    body = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 2000, "stream": True,
            **ENDLESS}  # fmt: skip
    with requests.post(
        f"{service.address}/v1/chat/completions", json=body, headers=bearer(service.new_key()), stream=True, timeout=60
    ) as answer:
        lines = answer.iter_lines()
        for _ in range(30):
            next(lines)
        assert written() > before
        shown = metrics(service)
        assert value(shown, "intramural_slots_busy", model=MODEL) >= 1
        resident = value(shown, "intramural_worker_memory_bytes", model=MODEL, kind="resident")
        pid = service.page("GET", "/models").json()["models"][0]["worker"]["pid"]
        status = Path(f"/proc/{pid}/status").read_text("ascii")
        kernel = int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE).group(1)) * 1024  # type: ignore[union-attr]  # every process has it
        assert abs(resident - kernel) < 0.2 * kernel


def value(text: str, name: str, **where: str) -> float:
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and where.items() <= sample.labels.items()
    )


def test_a_batchs_lines_are_a_class_of_their_own(service: Service) -> None:
    client = service.client()
    who = {"dialect": "openai", "outcome": "finished", "model": MODEL, "class": "batch"}
    before = value(metrics(service), "intramural_requests_total", **who)  # other files' batches, of the same service
    body = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 4}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    file = client.files.create(file=("lines.jsonl", json.dumps(line).encode()), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    end = time.monotonic() + 60
    while client.batches.retrieve(batch.id).status not in ("completed", "failed") and time.monotonic() < end:
        time.sleep(0.2)
    assert value(metrics(service), "intramural_requests_total", **who) == before + 1


def test_traces_go_to_the_collector_that_was_named_and_say_nothing_of_anybody(fresh: Service) -> None:
    with Collector() as collector:
        fresh.settings["INTRAMURAL_TRACES_ENDPOINT"] = collector.endpoint
        fresh.start()
        fresh.set_up()
        fresh.wait_ready()
        key = fresh.new_key(name="program-okapi")
        body = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 8}
        done = requests.post(f"{fresh.address}/v1/chat/completions", json=body, headers=bearer(key), timeout=60)
        spans = collector.spans(at_least=5)
        (started,) = fresh.events(event="service.started")
        fresh.stop()
    whole, *parts = spans
    assert whole["name"] == f"chat {MODEL}"
    assert [part["name"] for part in parts] == ["wait", "prompt", "answer", "record"]
    attributes = {each["key"]: each["value"] for each in whole["attributes"]}
    usage = done.json()["usage"]
    assert attributes["gen_ai.usage.input_tokens"] == {"intValue": str(usage["prompt_tokens"])}
    assert attributes["gen_ai.usage.output_tokens"] == {"intValue": str(usage["completion_tokens"])}
    assert started["facts"]["traces_endpoint"] == collector.endpoint  # and the log says so
    answer = done.json()["choices"][0]["message"]["content"]
    for secret in ("Pelagic", "wombats", "okapi", key, done.headers["X-Request-Id"], answer):
        assert secret not in json.dumps(spans)


def test_one_look_at_top(service: Service) -> None:
    service.client().chat.completions.create(model=MODEL, messages=[{"role": "user", "content": PROMPT}], max_tokens=8)
    shown = service.command("top", "--every", "0.2")
    assert shown["since_start"]
    assert shown["first_token_p50_s"] > 0
    assert 0 < shown["planned_bytes"] <= shown["budget_bytes"]
    (line,) = shown["models"]
    assert line["model"] == MODEL
    assert line["state"] == "ready"
    assert line["slots"] >= 1
    assert line["resident_bytes"] > 0
    assert PROMPT not in json.dumps(shown)


def test_top_is_live_in_a_terminal_until_q(service: Service) -> None:
    ours, theirs = pty.openpty()
    environ = {**service.environ, "TERM": "xterm", "COLUMNS": "140", "LINES": "30"}
    command = [sys.executable, "-m", "intramural", "top", "--every", "0.2"]
    process = subprocess.Popen(command, env=environ, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    shown, end = b"", time.monotonic() + 60
    timer = threading.Timer(60, process.kill)
    timer.start()
    try:
        while shown.count(MODEL.encode()) < 3 and time.monotonic() < end:  # three frames: it is live
            if select.select([ours], [], [], 1)[0]:
                shown += os.read(ours, 65536)
        os.write(ours, b"q")
        while process.poll() is None and time.monotonic() < end:
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    os.read(ours, 65536)
                except OSError:  # the terminal's other end is closed
                    break
        assert process.wait(30) == 0
    finally:
        timer.cancel()
        os.close(ours)
        if process.stderr is not None:
            process.stderr.close()
    assert b"MODEL" in shown
    assert MODEL.encode() in shown
