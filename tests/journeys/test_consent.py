"""Consent, notices, labels and declared uses around real answers of a real model."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.journeys.test_deprovisioning import PASSWORD, Somebody, last_error
from tests.service import MODEL, Service

SAY = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
GENERATED = "X-Intramural-Generated"


def pupil(service: Service, name: str, age: str = "13-15") -> Somebody:
    one = Somebody(service, name)
    answer = service.page("POST", "/ages", json={"people": [{"username": name, "age": age}]})
    assert answer.json() == {"changed": 1}, answer.text
    return one


def consent(service: Service, *names: str, **more: Any) -> str:
    body = {"people": [{"username": name} for name in names], "features": ["use"], "how": "paper", **more}
    answer = service.page("POST", "/consents", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["recorded"][0])


def ask(service: Service, key: str, path: str = "/v1/chat/completions", **body: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {key}", "anthropic-version": "2023-06-01"}
    return requests.post(f"{service.address}{path}", json=body or SAY, headers=headers, timeout=60)


def code(answer: requests.Response) -> str:
    return "" if answer.ok else str(answer.json()["error"]["code"])


# consent --------------------------------------------------------------------------------------------------------------


def test_an_answer_on_its_way_ends_when_the_consent_is_withdrawn(service: Service) -> None:
    one = pupil(service, "withdrawn")
    assert code(ask(service, one.key)) == "consent_needed"
    consent_id = consent(service, "withdrawn")
    answer = one.stream()
    began_s = time.monotonic()
    service.page("DELETE", f"/consents/{consent_id}")
    assert last_error(answer) == "consent_needed"
    print(f"ended {time.monotonic() - began_s:.1f} s after it was withdrawn")
    [entry] = one.answered()
    assert (entry["outcome"], entry["facts"]["error"]) == ("failed", "consent_needed")
    assert code(ask(service, one.key)) == "consent_needed"
    assert one.me() == 200, "they still get at what is theirs"


def test_a_consent_that_runs_out_ends_what_runs(service: Service) -> None:
    one = pupil(service, "run-out")
    consent(service, "run-out", until_ms=int(time.time() * 1000) + 4_000)
    assert last_error(one.stream()) == "consent_needed"


def test_a_younger_pupil_is_guarded_more_closely(service: Service) -> None:
    one = pupil(service, "guarded", "under-13")
    consent(service, "guarded")
    said = {**SAY, "messages": [{"role": "user", "content": "Write to mia.k@example.org, please."}]}
    stopped = ask(service, one.key, **said)
    assert code(stopped) == "guard_stopped" and "mia.k" not in stopped.text
    assert code(ask(service, one.key)) == ""
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    assert code(ask(service, one.key, **SAY, tools=tools)) == "off_for_age"
    kept = ask(service, one.key, "/v1/responses", model=MODEL, input="Hi", max_output_tokens=16)
    assert code(kept) == "off_for_age"
    passing = ask(service, one.key, "/v1/responses", model=MODEL, input="Hi", max_output_tokens=16, store=False)
    assert code(passing) == ""
    why = service.command("policy", "explain", "guarded", "files.create", check=False)
    assert why.returncode == 1 and json.loads(why.stdout)["rule"] == "off_for_age"


# labels ---------------------------------------------------------------------------------------------------------------

BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": SAY,
    "/v1/completions": {"model": MODEL, "prompt": "Hi", "max_tokens": 2},
    "/v1/responses": {"model": MODEL, "input": "Hi", "max_output_tokens": 16},
    "/v1/messages": SAY,
    "/api/chat": {**{k: v for k, v in SAY.items() if k != "max_tokens"}, "options": {"num_predict": 2}},
    "/api/generate": {"model": MODEL, "prompt": "Hi", "options": {"num_predict": 2}},
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", BODIES)
def test_every_answer_says_which_model_wrote_it(service: Service, path: str, stream: bool) -> None:
    key = service.new_key()
    answer = ask(service, key, path, **BODIES[path], stream=stream)
    assert answer.status_code == 200, answer.text
    receipt = requests.get(
        f"{service.address}{answer.headers['X-Intramural-Receipt']}", headers={"Authorization": f"Bearer {key}"}
    ).json()
    model = receipt["statement"]["model"]
    assert answer.headers[GENERATED] == f'?1; model="{model["name"]}"; digest="{model["digest"]}"'


def test_what_no_model_wrote_is_not_labelled(service: Service) -> None:
    key = service.new_key()
    for answer in (
        ask(service, key, model="none:1b", messages=[]),
        ask(service, key, **SAY, stream=True, logprobs="?"),
        requests.get(f"{service.address}/v1/models", headers={"Authorization": f"Bearer {key}"}),
    ):
        assert GENERATED not in answer.headers


def test_an_exported_chat_and_the_results_of_a_batch_are_labelled(service: Service) -> None:
    chat = service.page("POST", "/chats", json={"model": MODEL}).json()["id"]
    turn = service.page("POST", f"/chats/{chat}/turns", json={"content": "Hi", "max_tokens": 2})
    assert GENERATED in turn.headers and turn.text
    exported = service.page("GET", f"/chats/{chat}/export", params={"form": "json"})
    asked, answered = exported.json()["messages"]
    assert "generated" not in asked and answered["generated"]["model"] == MODEL
    assert exported.headers[GENERATED] == "?1" and "Written with AI" in exported.json()["generated"]["statement"]
    receipt = service.session.get(f"{service.address}{answered['generated']['receipt']}").json()
    assert receipt["statement"]["model"]["name"] == MODEL
    text = service.page("GET", f"/chats/{chat}/export").text
    assert text.startswith("---\ndigital_source_type: ") and re.search(r"\n\*Written with AI \(.+\)", text)
    client = service.client()
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": SAY}
    file_id = client.files.create(file=("in.jsonl", json.dumps(line).encode()), purpose="batch").id
    batch = client.batches.create(input_file_id=file_id, endpoint="/v1/chat/completions", completion_window="24h")
    while (batch := client.batches.retrieve(batch.id)).status != "completed":
        time.sleep(0.05)
    for stored, labelled in ((file_id, False), (batch.output_file_id, True)):
        got = client.files.with_raw_response.content(str(stored))
        assert (GENERATED.lower() in got.headers) == labelled


# declared uses --------------------------------------------------------------------------------------------------------


def test_what_people_decided_about_an_answer_is_in_the_record_of_the_model(service: Service) -> None:
    head, mia = Somebody(service, "overseer"), Somebody(service, "graded")
    place = service.page("POST", "/workspaces", json={"name": "Marking", "label": "education"}).json()["id"]
    service.page("PUT", f"/workspaces/{place}/members/{mia.id}")
    service.page("PUT", f"/workspaces/{place}/overseers/{head.id}")
    use = service.page("PUT", f"/workspaces/{place}/uses/grading").json()
    base, inside = f"{service.address}/intramural/v1", {"X-Intramural-Workspace": "Marking"}

    def asked() -> requests.Response:
        headers = {"Authorization": f"Bearer {mia.key}", **inside}
        return requests.post(f"{service.address}/v1/chat/completions", json=SAY, headers=headers, timeout=60)

    assert code(asked()) == "notice_unread"
    [notice] = [n for n in mia.browser.get(f"{base}/notices", headers=inside).json()["notices"] if n["blocking"]]
    assert notice["id"] == use["notice_id"]
    mia.browser.post(f"{base}/notices/{notice['id']}/acknowledge", json={"digest": notice["digest"]})
    request_id = asked().headers["X-Request-Id"]
    review = {"request_id": request_id, "verdict": "overridden", "note": "She had it right."}
    assert code(mia.browser.post(f"{base}/reviews", json=review)) == "not_its_overseer"
    assert code(service.page("POST", "/reviews", json=review)) == "not_its_overseer", "not even an administrator"
    done = head.browser.post(f"{base}/reviews", json=review)
    assert done.status_code == 201, done.text
    report = service.page("GET", "/reports/ai-act", params={"system": MODEL}).json()
    [reviewed] = [e for e in report["oversight"]["listed"] if e["event"] == "output.reviewed"]
    assert (reviewed["person"], reviewed["facts"]["verdict"]) == (head.id, "overridden")
    assert (reviewed["facts"]["workspace"], reviewed["facts"]["person"]) == (place, mia.id)
    assert "right" not in json.dumps(report), "the log has a commitment to the note"
    [entry] = [e for e in service.events(event="chat.asked") if e["request_id"] == request_id]
    assert entry["facts"]["purpose"] == "grading"


# an institution's own settings ----------------------------------------------------------------------------------------


def test_a_school_whose_settings_say_otherwise(fresh: Service) -> None:
    fresh.settings |= {
        "INTRAMURAL_CONSENT_LABEL_ANSWERS": "false",
        "INTRAMURAL_CONSENT_UNKNOWN_AGE": "13-15",
        "INTRAMURAL_CONSENT_BELOW": "13",
        "INTRAMURAL_CONSENT_AI_NOTICE": "blocking",
        "INTRAMURAL_CONSENT_INSTITUTION": "Hill School",
        "INTRAMURAL_CONSENT_PAGE_ADDRESS": "https://ai.hill.example",
    }
    fresh.data_dir.mkdir()
    policy = '[[age]]\nband = "13-15"\nworkspace = "Lab"\nwhy = "The board, 12 May."\ntools = true\n'
    (fresh.data_dir / "policy.toml").write_text(policy, "utf-8")
    with fresh.running():
        [off] = fresh.events(event="labels.off")
        [loaded] = fresh.events(event="ages.loaded")
        assert off["actor"]["kind"] == "system"
        assert loaded["facts"]["tables"] == [
            {"band": "13-15", "workspace": "Lab", "changes": "tools", "why": "The board, 12 May."}
        ]
        key = fresh.new_key()
        refused = ask(fresh, key)
        assert code(refused) == "notice_unread" and "https://ai.hill.example/#/settings/account" in refused.text
        [notice] = fresh.page("GET", "/notices").json()["notices"]
        assert "Hill School" in notice["text"]
        fresh.page("POST", f"/notices/{notice['id']}/acknowledge", json={"digest": notice["digest"]})
        answer = ask(fresh, key)
        assert answer.ok and GENERATED not in answer.headers
        tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
        assert code(ask(fresh, key, **SAY, tools=tools)) == "off_for_age", "who is of no known age counts as 13 to 15"
        place = fresh.page("POST", "/workspaces", json={"name": "Lab", "label": "internal"}).json()["id"]
        me = fresh.page("GET", "/me").json()["id"]
        fresh.page("PUT", f"/workspaces/{place}/members/{me}")
        headers = {"Authorization": f"Bearer {key}", "X-Intramural-Workspace": "Lab"}
        url = f"{fresh.address}/v1/chat/completions"
        inside = requests.post(url, json={**SAY, "tools": tools, "tool_choice": "none"}, headers=headers, timeout=60)
        assert inside.ok, inside.text
        fresh.page("PUT", f"/workspaces/{place}/overseers/{me}")
        fresh.page("PUT", f"/workspaces/{place}/uses/proctoring")
        for each in fresh.page("GET", "/notices", headers={"X-Intramural-Workspace": "Lab"}).json()["notices"]:
            fresh.page("POST", f"/notices/{each['id']}/acknowledge", json={"digest": each["digest"]})
        inside = requests.post(url, json=SAY, headers=headers, timeout=60)
        assert inside.ok and GENERATED in inside.headers, "where a use of high risk is declared it cannot be off"


# the command line -----------------------------------------------------------------------------------------------------


def test_a_school_writes_its_lists_down_by_the_command_line(service: Service, tmp_path: Path) -> None:
    for name in ("mila", "noah", "zoë"):
        service.page("POST", "/people", json={"username": name, "password": PASSWORD, "role": "member"})

    def standing() -> dict[str, tuple[str, tuple[str, ...]]]:
        found = {each["username"]: (each["age"], tuple(each["consents"])) for each in service.command("age", "ls")}
        return {name: found[name] for name in ("mila", "noah", "zoë")}

    ages, forms = tmp_path / "ages.csv", tmp_path / "forms.csv"
    ages.write_text("username,age,birth_year\nmila,13-15,\nnoah,,1990\nZOË,16-17,\n", "utf-8")
    assert service.command("age", "set", "--csv", str(ages)) == {"changed": 3}
    assert standing() == {"mila": ("13-15", ()), "noah": ("adult", ()), "zoë": ("16-17", ())}
    forms.write_text("username,reference,until\nmila,sheet 1,2999-07-31\n", "utf-8")
    given = ("consent", "give", "--to", "use", "--to", "keep", "--how", "paper", "--csv", str(forms))
    assert service.command(*given)["recorded"] == 1
    [one] = service.command("consent", "ls", "mila")
    assert (one["features"], one["reference"], one["until_ms"]) == (["keep", "use"], "sheet 1", "2999-07-31")
    lacking = {each["username"] for each in service.command("age", "ls", "--lacking")}
    assert "mila" in lacking and not {"noah", "zoë"} & lacking, "files and audio are not consented to"
    service.command("consent", "withdraw", one["id"])
    assert standing()["mila"] == ("13-15", ())
    ages.write_text("username,age\nmila,adult\nnobody,adult\n", "utf-8")
    wrong = service.command("age", "set", "--csv", str(ages), check=False)
    assert wrong.returncode == 1 and "'nobody'" in wrong.stderr and standing()["mila"] == ("13-15", ())


def test_notices_and_declared_uses_by_the_command_line(service: Service, tmp_path: Path) -> None:
    text = tmp_path / "rules.md"
    text.write_text("Be **kind**.\n", "utf-8")
    made = service.command("notice", "set", "House rules", str(text), "--audience", "role:auditor", "--blocking")
    assert {"House rules", "You are talking to an AI"} <= {each["title"] for each in service.command("notice", "ls")}
    service.command("notice", "signed", made["id"], "ada")
    assert [each["readers"] for each in service.command("notice", "ls") if each["id"] == made["id"]] == [1]
    assert [each["username"] for each in service.command("notice", "readers", made["id"])] == ["ada"]
    service.command("notice", "rm", made["id"])
    service.command("workspace", "set", "Admissions", "--label", "education")
    refused = service.command("use", "declare", "Admissions", "emotion-inference", check=False)
    assert refused.returncode == 1 and "prohibited" in refused.stderr
    service.command("use", "oversee", "Admissions", "ada")
    assert service.command("use", "declare", "Admissions", "admission")["use"] == "admission"
    [one] = [each for each in service.command("use", "ls") if each["workspace"] == "Admissions"]
    assert (one["uses"], one["overseers"]) == (["admission"], ["ada"])
    service.command("use", "withdraw", "Admissions", "admission")
    service.command("use", "relieve", "Admissions", "ada")
    kinds = {each["use"]: each["kind"] for each in service.command("use", "words")}
    assert (kinds["grading"], kinds["social-scoring"]) == ("high risk", "prohibited")
