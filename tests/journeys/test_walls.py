"""Nothing answers without a credential; a credential does what it may and no more."""

import concurrent.futures
import time

import pytest
import requests
from tests.service import ADMIN, MODEL, Service

#: The only routes that answer a stranger (the page itself beside them).
OPEN = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/intramural/v1/welcome"),
    ("POST", "/intramural/v1/setup"),
    ("POST", "/intramural/v1/login"),
    ("POST", "/intramural/v1/login/passkey/begin"),
    ("GET", "/intramural/v1/oidc/{name}/start"),
    ("GET", "/intramural/v1/oidc/{name}/callback"),
    ("POST", "/intramural/v1/oidc/{name}/logout"),
    ("GET", "/intramural/v1/attestations/control/{token}"),  # a token that was waited for is its credential
    ("GET", "/intramural/v1/verifier"),
    ("GET", "/intramural/v1/verifier/verify_intramural.py"),
}


def test_every_route_but_the_open_ones_refuses_a_stranger(service: Service) -> None:
    paths = service.page("GET", "/openapi.json").json()["paths"]
    asked = 0
    for path, methods in paths.items():
        for method in methods:
            if (method.upper(), path) in OPEN:
                continue
            url = service.address + path.replace("{name}", MODEL).replace("{", "").replace("}", "")
            answer = requests.request(method, url, json={}, timeout=10)
            # a body that does not fit may be refused before the credential is looked at, but never answered
            assert answer.status_code in (401, 400), (method, path, answer.text)
            if answer.status_code == 400:
                assert answer.json()["error"]["code"] == "bad_parameter"
            asked += 1
    assert asked > 25


def test_engine_routes_are_not_reachable(service: Service) -> None:
    key = {"Authorization": f"Bearer {service.new_key(scopes=['inference', 'admin', 'metrics'])}"}
    # `/tokenize`, `/apply-template` and `/v1/rerank` are routes of ours too, behind policy
    for path in ("/slots", "/props", "/tools", "/cors-proxy", "/lora-adapters", "/infill", "/completion", "/embedding",
                 "/models/load", "/rerank", "/reranking", "/v1/reranking", "/v1/stream"):  # fmt: skip
        for method in ("GET", "POST"):
            answer = requests.request(method, service.address + path, headers=key, json={}, timeout=10)
            assert answer.status_code in (404, 405) or "text/html" in answer.headers["content-type"], path
            assert "n_ctx" not in answer.text and "tokens" not in answer.text


def test_a_foreign_host_name_is_refused(service: Service) -> None:
    answer = requests.get(f"{service.address}/healthz", headers={"Host": "evil.example"}, timeout=10)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "unknown_host")


def test_changes_need_the_csrf_token_and_our_own_origin(service: Service) -> None:
    cookies = service.session.cookies
    url = f"{service.address}/intramural/v1/keys"
    body = {"name": "forged", "scopes": ["inference"]}
    token = str(service.session.headers["X-CSRF-Token"])
    for headers in (
        {},
        {"X-CSRF-Token": "wrong"},
        {"X-CSRF-Token": token, "Origin": "http://evil.example"},
        {"X-CSRF-Token": token, "Sec-Fetch-Site": "cross-site"},
    ):
        answer = requests.post(url, json=body, headers=headers, cookies=cookies, timeout=10)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "csrf"), headers
    chat = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
    assert (
        requests.post(f"{service.address}/v1/chat/completions", json=chat, cookies=cookies, timeout=10).status_code
        == 403
    )


def test_the_cookie_cannot_be_read_or_sent_by_others(service: Service) -> None:
    name, password = ADMIN
    answer = requests.post(
        f"{service.address}/intramural/v1/login", json={"username": name, "password": password}, timeout=10
    )
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Path=/" in cookie


def test_set_up_works_once(service: Service) -> None:
    assert service.setup_link is not None
    body = {"token": service.setup_link.split("token=")[1], "username": "eve", "password": "another long password"}
    answer = requests.post(f"{service.address}/intramural/v1/setup", json=body, timeout=10)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "already_set_up")


def test_a_revoked_key_stops_at_once_and_its_secret_is_nowhere(service: Service) -> None:
    made = service.page("POST", "/keys", json={"name": "short lived", "scopes": ["inference"]}).json()
    secret, key_id = made["secret"], made["key"]["id"]
    url, headers = f"{service.address}/v1/models", {"Authorization": f"Bearer {secret}"}
    assert requests.get(url, headers=headers, timeout=10).status_code == 200
    assert service.page("DELETE", f"/keys/{key_id}").status_code == 204
    answer = requests.get(url, headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "revoked_key")
    for file in service.data_dir.rglob("*"):
        if file.is_file() and file.stat().st_size < 50_000_000:
            assert secret.encode() not in file.read_bytes(), file


def test_a_member_is_not_an_administrator(service: Service) -> None:
    made = service.page(
        "POST", "/people", json={"username": "mia", "password": "a member's password", "role": "member"}
    )
    assert made.status_code == 201
    member = requests.Session()
    me = member.post(
        f"{service.address}/intramural/v1/login",
        json={"username": "mia", "password": "a member's password"},
        timeout=10,
    ).json()
    member.headers["X-CSRF-Token"] = me["csrf_token"]
    base = f"{service.address}/intramural/v1"
    forbidden = [
        ("GET", "/people"),
        ("GET", "/audit"),
        ("POST", f"/models/{MODEL}/unload"),
        ("DELETE", f"/models/{MODEL}"),
        ("GET", "/keys?all=true"),
        ("POST", "/audit/verify"),
    ]
    for method, path in forbidden:
        answer = member.request(method, base + path, timeout=10)
        assert answer.status_code == 403, (method, path, answer.text)
        error = answer.json()["error"]
        assert error["code"] and error["message"] and error["hint"]
    refused = service.events(event="access.refused")
    assert {"people.read", "audit.read", "models.unload"} <= {e["facts"]["action"] for e in refused}
    # somebody else's chat looks like a missing one
    chat = service.page("POST", "/chats", json={"model": MODEL}).json()
    assert member.get(f"{base}/chats/{chat['id']}", timeout=10).json()["error"]["code"] == "chat_not_found"
    # disabling ends the session at once
    assert service.page("PATCH", f"/people/{made.json()['id']}", json={"disabled": True}).status_code == 200
    assert member.get(f"{base}/me", timeout=10).status_code == 401


def test_health_answers_while_many_sign_in(fresh: Service) -> None:
    """Password hashing is bounded: many attempts do not stop the service from answering."""
    fresh.start()  # its own: afterwards nobody signs in from here for a while

    def attempt(i: int) -> int:
        body = {"username": f"nobody{i}", "password": "wrong password"}
        return requests.post(f"{fresh.address}/intramural/v1/login", json=body, timeout=60).status_code

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        attempts = [pool.submit(attempt, i) for i in range(60)]
        for _ in range(20):
            assert requests.get(f"{fresh.address}/healthz", timeout=5).status_code == 200
            time.sleep(0.02)
        assert {a.result() for a in attempts} <= {401, 429}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "bad_json"),
        (b"\xff\xfe{}", 400, "bad_json"),
        (b"[" * 100_000, 400, "nested_too_deep"),
        (b'{"model":1,"messages":[]}', 400, "bad_parameter"),
        (b'{"messages":[]}', 400, "bad_parameter"),
        (b" " * (10 * 2**20), 413, "body_too_large"),
    ],
)
def test_bad_bodies_get_a_reason(service: Service, body: bytes, status: int, code: str) -> None:
    headers = {"Authorization": f"Bearer {service.new_key()}"}
    answer = requests.post(f"{service.address}/v1/chat/completions", data=body, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_chunked_body_is_bounded_too(service: Service) -> None:
    headers = {"Authorization": f"Bearer {service.new_key()}"}
    stream = (b" " * 2**20 for _ in range(10))
    try:
        answer = requests.post(f"{service.address}/v1/chat/completions", data=stream, headers=headers, timeout=30)
    except requests.ConnectionError:
        return  # the service answered and closed before we had sent everything
    assert answer.status_code == 413
