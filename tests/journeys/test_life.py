"""A day in the service's life: chats, the log, the meter, crashes, tampering, the command line."""

import json
import os
import signal
import threading
from pathlib import Path

import pytest
import requests
from tests import databases
from tests.service import ADMIN, ENDLESS, MODEL, Service, eventually


def turn(service: Service, chat_id: str, **body: object) -> tuple[dict, str]:
    """Ask in a chat; the identifiers and the whole answer."""
    answer = service.page("POST", f"/chats/{chat_id}/turns", json={"max_tokens": 12, **body}, stream=True)
    assert answer.status_code == 200, answer.text
    head, text = {}, ""
    for line in answer.iter_lines():
        if not line.startswith(b"data: ") or line == b"data: [DONE]":
            continue
        value = json.loads(line[6:])
        if "assistant_message_id" in value:
            head = value
        else:
            assert "error" not in value, value
            text += "".join(c["delta"].get("content") or "" for c in value["choices"])
    return head, text


def test_a_chat_is_kept_found_edited_regenerated_and_deleted(service: Service) -> None:
    chat = service.page("POST", "/chats", json={"model": MODEL}).json()
    head, said = turn(service, chat["id"], content="Tell me about ZEBRAS please")
    kept = service.page("GET", f"/chats/{chat['id']}").json()
    assert [m["role"] for m in kept["messages"]] == ["user", "assistant"]
    assert kept["messages"][1]["content"] == said
    assert kept["messages"][1]["outcome"] in ("finished", "length")
    assert "ZEBRAS" in kept["title"]
    found = service.page("GET", "/chats", params={"query": "zebras"}).json()["chats"]
    assert chat["id"] in [c["id"] for c in found]
    assert not service.page("GET", "/chats", params={"query": "%_zebras"}).json()["chats"]
    again, _ = turn(service, chat["id"], content=None, replace_from=head["assistant_message_id"])
    edited, _ = turn(service, chat["id"], content="Tell me about lions", replace_from=head["user_message_id"])
    kept = service.page("GET", f"/chats/{chat['id']}").json()
    assert len(kept["messages"]) == 2 and kept["messages"][0]["content"] == "Tell me about lions"
    assert again["request_id"] != edited["request_id"]
    assert service.page("DELETE", f"/chats/{chat['id']}").status_code == 204
    assert service.page("GET", f"/chats/{chat['id']}").status_code == 404


def test_every_act_is_in_the_log_and_no_prompt_is(service: Service) -> None:
    secret_word = "xylophonist"
    client = service.client()
    client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": f"Say {secret_word}"}], max_tokens=4
    )
    entries = service.events()
    answered = next(e for e in entries if e["event"] == "chat.answered")
    asked = next(e for e in entries if e["event"] == "chat.asked" and e["request_id"] == answered["request_id"])
    assert asked["position"] < answered["position"]
    assert answered["outcome"] == "finished"
    assert answered["facts"]["completion_tokens"] >= 1
    assert {"setup.completed", "key.created", "model.shelved", "model.loaded", "service.started"} <= {
        e["event"] for e in entries
    }
    assert secret_word not in json.dumps(entries)
    verdict = service.page("POST", "/audit/verify").json()
    assert verdict["ok"], verdict


def test_usage_is_metered_when_the_client_leaves(service: Service) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Write a long story."}], "stream": True,
            "max_tokens": 2000, **ENDLESS}  # fmt: skip
    headers = {"Authorization": f"Bearer {service.new_key()}"}
    answer = requests.post(
        f"{service.address}/v1/chat/completions", json=body, headers=headers, stream=True, timeout=60
    )
    request_id = answer.headers["X-Request-Id"]
    lines = answer.iter_lines()
    for _ in range(20):
        next(lines)
    answer.close()
    entry = eventually(
        lambda: next((e for e in service.events(event="chat.answered") if e["request_id"] == request_id), None)
    )
    assert entry["outcome"] == "cancelled"
    assert 5 <= entry["facts"]["completion_tokens"] < 2000
    assert entry["facts"]["prompt_tokens"] > 0
    eventually(lambda: service.page("GET", "/models").json()["models"][0]["worker"]["slots_busy"] == 0)


def test_health_while_the_engine_is_saturated_and_metrics_need_a_key(service: Service) -> None:
    stop = threading.Event()
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Write a story."}],
        "stream": True,
        "max_tokens": 400,
        **ENDLESS,
    }
    headers = {"Authorization": f"Bearer {service.new_key()}"}

    def load() -> None:
        with requests.post(
            f"{service.address}/v1/chat/completions", json=body, headers=headers, stream=True, timeout=60
        ) as answer:
            for _ in answer.iter_lines():
                if stop.is_set():
                    break

    threads = [threading.Thread(target=load) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            assert requests.get(f"{service.address}/healthz", timeout=2).status_code == 200
            assert requests.get(f"{service.address}/readyz", timeout=2).status_code == 200
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert requests.get(f"{service.address}/metrics", timeout=10).status_code == 401
    key = {"Authorization": f"Bearer {service.new_key(scopes=['metrics'])}"}
    text = requests.get(f"{service.address}/metrics", headers=key, timeout=10).text
    assert "intramural_" in text and 'outcome="finished"' in text


def test_a_killed_worker_is_an_error_event_and_the_next_request_works(service: Service) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Write a story."}], "stream": True,
            "max_tokens": 2000, **ENDLESS}  # fmt: skip
    headers = {"Authorization": f"Bearer {service.new_key()}"}
    answer = requests.post(
        f"{service.address}/v1/chat/completions", json=body, headers=headers, stream=True, timeout=60
    )
    request_id = answer.headers["X-Request-Id"]
    lines = answer.iter_lines()
    for _ in range(10):
        next(lines)
    worker = service.page("GET", "/models").json()["models"][0]["worker"]
    os.kill(worker["pid"], signal.SIGKILL)
    rest = b"\n".join(lines)
    assert (b'"error"' in rest and rest.endswith(b"data: [DONE]\n")) or b"[DONE]" in rest
    assert b"worker_died" in rest
    client = service.client()
    assert client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "hi"}], max_tokens=3
    ).choices
    entry = next(e for e in service.events(event="chat.answered") if e["request_id"] == request_id)
    assert entry["outcome"] == "failed" and entry["facts"]["completion_tokens"] > 0


def test_the_worker_is_confined_as_the_page_says(service: Service) -> None:
    eventually(lambda: service.page("GET", "/models").json()["models"][0]["worker"])
    worker = service.page("GET", "/models").json()["models"][0]["worker"]
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{worker['pid']}/status").read_text().splitlines() if ":\t" in line
    )
    assert int(status["CapEff"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert {"netns", "landlock", "seccomp"} <= set(worker["layers"])
    if os.getuid() == 0:
        assert status["Uid"].split()[0] != "0"
    assert Path(f"/proc/{worker['pid']}/ns/net").stat().st_ino != Path("/proc/self/ns/net").stat().st_ino


def test_a_changed_byte_is_refused_at_load(fresh: Service) -> None:
    fresh.start()
    fresh.set_up()
    fresh.wait_ready()
    (blob,) = (fresh.data_dir / "library/blobs/sha256").iterdir()
    assert fresh.page("POST", f"/models/{MODEL}/unload").status_code == 200
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        file.seek(50_000_000)
        byte = file.read(1)
        file.seek(50_000_000)
        file.write(bytes([byte[0] ^ 1]))
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
    answer = requests.post(
        f"{fresh.address}/v1/chat/completions",
        json=body,
        headers={"Authorization": f"Bearer {fresh.new_key()}"},
        timeout=60,
    )
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "model_digest_mismatch"
    assert any(e["event"] == "model.load_refused" for e in fresh.events())
    assert fresh.page("GET", "/models").json()["models"][0]["worker"] is None
    done = fresh.command("verify", check=False)
    assert done.returncode == 1 and "model_digest_mismatch" in done.stderr


def test_it_stops_cleanly_and_starts_again_with_everything(fresh: Service) -> None:
    fresh.start()
    fresh.set_up()
    fresh.wait_ready()
    pid = fresh.page("GET", "/models").json()["models"][0]["worker"]["pid"]
    key = fresh.new_key()
    assert fresh.stop() == 0
    assert not Path(f"/proc/{pid}").exists()
    fresh.start()
    assert fresh.setup_link is None
    fresh.sign_in()
    fresh.wait_ready()
    assert fresh.client(key).models.list().data[0].id == MODEL
    assert {"service.stopped", "service.started"} <= {e["event"] for e in fresh.events()}
    # killing the service leaves no worker behind
    pid = fresh.page("GET", "/models").json()["models"][0]["worker"]["pid"]
    fresh.stop(signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{pid}").exists())


@pytest.mark.timeout(400)  # two dozen starts of the program
def test_the_command_line(fresh: Service) -> None:
    # where nothing runs, a command opens the house for itself: a second and a half longer
    assert fresh.command("version")["version"]
    assert [m["name"] for m in fresh.command("ls")] == [MODEL]
    said = fresh.command("run", MODEL, "Say hello.", "--max-tokens", "8")
    assert said["content"] and said["usage"]["completion_tokens"] <= 8
    name, password = ADMIN
    fresh.command("user", "add", name, "--admin", "--password-stdin", stdin=f"{password}\n")
    secret = fresh.command("key", "add", "script", "--user", name)["secret"]
    assert fresh.command("verify")[0]["verdict"] == "matches"
    assert fresh.command("audit", "verify")["ok"] is True
    # the same commands work beside a running service, and reach it
    fresh.start()
    assert fresh.setup_link is None
    fresh.sign_in()
    fresh.wait_ready()
    assert fresh.command("ps")[0]["state"] == "ready"
    assert fresh.command("show", MODEL)["digest"].startswith("sha256:")
    assert fresh.command("audit", "ls", "--limit", "5")
    assert fresh.command("doctor")["serves_models"] is True
    missing = fresh.command("show", "no:such", check=False)
    assert missing.returncode == 1 and "model_not_found" in missing.stderr
    assert fresh.client(secret).models.list().data
    (key,) = fresh.command("key", "ls")
    assert key["name"] == "script"
    fresh.command("key", "rm", key["id"])
    answer = requests.get(f"{fresh.address}/v1/models", headers={"Authorization": f"Bearer {secret}"}, timeout=10)
    assert answer.status_code == 401
    assert fresh.command("audit", "verify")["ok"] is True
    fresh.command("rm", MODEL)
    assert fresh.command("ls") == []
    fresh.command("pull", f"package:{fresh.wheel}")
    assert [m["name"] for m in fresh.command("ls")] == [MODEL]


def test_an_edited_log_names_the_entry(fresh: Service) -> None:
    name, password = ADMIN
    fresh.command("user", "add", name, "--admin", "--password-stdin", stdin=f"{password}\n")
    fresh.command("key", "add", "one", "--user", name)
    assert fresh.command("audit", "verify")["ok"]
    ((position, record),) = databases.query(
        fresh.database, "SELECT position, record FROM audit_entries WHERE event = 'key.created'"
    )
    edited = record.replace(b"inference", b"inferencE").hex()
    literal = f"'\\x{edited}'" if databases.SERVER else f"x'{edited}'"
    databases.query(fresh.database, f"UPDATE audit_entries SET record = {literal} WHERE position = {position}")
    done = fresh.command("audit", "verify", check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["first_wrong"] == position
