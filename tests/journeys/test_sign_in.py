"""Signing in through the doors: a real service, and a real provider on loopback over TLS."""

import asyncio
import base64
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.fakes import web
from tests.fakes.authenticator import Authenticator
from tests.fakes.oidc import Idp
from tests.service import Service

from intramural.access import totp

pytestmark = pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
HTML = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def idp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Idp]:
    """A provider that runs on a thread of its own, with its certificate in `idp.folder`."""
    idp, folder = Idp(), tmp_path_factory.mktemp("idp")
    context, _ = web.certificate(folder, "127.0.0.1")
    started, loop = threading.Event(), asyncio.new_event_loop()
    ended = asyncio.Event()

    async def run() -> None:
        async with web.serving(idp, tls=context) as server:
            idp.issuer = f"{server.url}/realms/all"
            started.set()
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert started.wait(30)
    (folder / "client.secret").write_text(str(idp.client_secret))
    (folder / "client.secret").chmod(0o600)
    (folder / "sign-in.toml").write_text(
        f'[oidc.school]\ntitle = "Springfield Schools"\nissuer = "{idp.issuer}"\nclient_id = "{idp.client_id}"\n'
        f'client_secret_file = "{folder}/client.secret"\nca_file = "{folder}/certificate.pem"\njoin = "anyone"\n'
    )
    yield idp
    loop.call_soon_threadsafe(ended.set)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def house(idp: Idp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service without a model, with its first administrator; nothing here asks one."""
    folder = tmp_path_factory.mktemp("house")
    settings = {
        "INTRAMURAL_LIBRARY_STARTER": "",
        "INTRAMURAL_SIGN_IN": str(next(tmp_path_factory.getbasetemp().glob("idp*")) / "sign-in.toml"),
    }
    service = Service(folder / "data", Path("none"), settings)
    service.start()
    service.set_up()
    yield service
    service.stop()


def at_provider(house: Service, idp: Idp, browser: requests.Session) -> str:
    """Begin, and sign in there: the address that the provider sends the browser to."""
    begun = browser.get(f"{house.address}/intramural/v1/oidc/school/start", allow_redirects=False)
    assert begun.status_code == 303, begun.text
    there = requests.get(begun.headers["location"], verify=False, allow_redirects=False)  # the browser's own business
    return there.headers["location"]


def test_a_browser_goes_to_the_provider_and_comes_back_signed_in(house: Service, idp: Idp) -> None:
    browser = requests.Session()
    idp.person = {"sub": "c-1", "preferred_username": "carl"}
    welcome = browser.get(f"{house.address}/intramural/v1/welcome").json()
    assert welcome["providers"] == [{"name": "school", "title": "Springfield Schools"}]
    back = at_provider(house, idp, browser)
    done = browser.get(back, headers=HTML, allow_redirects=False)
    assert (done.status_code, done.headers["location"], done.headers["cache-control"]) == (303, "/", "no-store")
    cookies = {each.split("=")[0]: each.lower() for each in done.raw.headers.getlist("set-cookie")}
    assert "httponly" in cookies["intramural_session"] and "samesite=strict" in cookies["intramural_session"]
    assert "max-age=0" in cookies["intramural_start"]
    assert browser.get(f"{house.address}/intramural/v1/me").json()["username"] == "carl"

    stranger = requests.Session()  # the same answer, in a browser that did not begin
    planted = stranger.get(back, allow_redirects=False)
    assert (planted.status_code, planted.json()["error"]["code"]) == (401, "sign_in_lost")
    shown = stranger.get(back, headers=HTML, allow_redirects=False)
    assert (shown.status_code, shown.headers["location"]) == (303, "/?problem=sign_in_lost")
    assert stranger.get(f"{house.address}/intramural/v1/me").status_code == 401

    left = requests.post(f"{house.address}/intramural/v1/oidc/school/logout", data={"logout_token": idp.logout_token()})
    assert left.status_code == 200
    assert browser.get(f"{house.address}/intramural/v1/me").status_code == 401


def test_an_invited_person_gets_their_own_account(house: Service, idp: Idp) -> None:
    bea = house.page("POST", "/people", json={"username": "bea", "role": "auditor"}).json()
    made = house.page("POST", f"/people/{bea['id']}/invitation").json()
    idp.person = {"sub": "b-1"}
    browser = requests.Session()
    start = f"{house.address}/intramural/v1/oidc/school/start?invitation={made['token']}"
    begun = browser.get(start, allow_redirects=False)
    there = requests.get(begun.headers["location"], verify=False, allow_redirects=False)
    browser.get(there.headers["location"], allow_redirects=False)
    me = browser.get(f"{house.address}/intramural/v1/me").json()
    assert (me["id"], me["role"]) == (bea["id"], "auditor")
    identities = house.page("GET", f"/people/{bea['id']}/identities").json()["identities"]
    assert [(each["provider"], each["subject"]) for each in identities] == [("school", "b-1")]
    assert requests.get(f"{house.address}/intramural/v1/people/{bea['id']}/identities").status_code == 401
    assert house.page("DELETE", f"/people/{bea['id']}/identities/school").status_code == 204
    assert browser.get(f"{house.address}/intramural/v1/me").status_code == 401


def test_the_network_walls_and_odd_requests(house: Service) -> None:
    base = f"{house.address}/intramural/v1/oidc"
    assert requests.get(f"{base}/none/start", allow_redirects=False).status_code == 404
    evil = requests.get(f"{base}/school/start", headers={"Host": "evil.example"}, allow_redirects=False)
    assert evil.json()["error"]["code"] == "unknown_host"  # nor is anybody sent back to a host that is not ours
    assert requests.post(f"{base}/school/logout", data="x=y").status_code == 400
    assert requests.get(f"{base}/school/callback?state={'x' * 9000}").status_code == 400


# Second factors -------------------------------------------------------------------------------------------------------

PASSWORD = "a sentence nobody guesses"
PAGE = "/intramural/v1"


class Browser(requests.Session):
    """Somebody at the page."""

    def __init__(self, house: Service) -> None:
        super().__init__()
        self.base = house.address + PAGE

    def ask(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        answer = self.request(method, self.base + path, timeout=30, **kwargs)
        if answer.headers.get("content-type") == "application/json" and answer.content:
            body = answer.json()
            me = body.get("me") or body
            if isinstance(me, dict) and me.get("csrf_token"):
                self.headers["X-CSRF-Token"] = me["csrf_token"]
        return answer

    def sign_in(self, name: str) -> requests.Response:
        return self.ask("POST", "/login", json={"username": name, "password": PASSWORD})


def code_now(secret: str, ahead: int = 0) -> str:
    raw = base64.b32decode(secret + "=" * (-len(secret) % 8))
    return totp.code_of(raw, totp.step_of(time.time()) + ahead)


def refused(answer: requests.Response) -> str:
    assert answer.status_code >= 400, answer.text
    return str(answer.json()["error"]["code"])


def test_an_app_that_makes_codes_from_set_up_to_loss(house: Service) -> None:
    dora = house.page("POST", "/people", json={"username": "dora", "password": PASSWORD, "role": "member"}).json()
    browser = Browser(house)
    assert browser.sign_in("dora").json()["awaits"] is None
    made = browser.ask("POST", "/me/codes").json()
    assert made["address"].startswith("otpauth://totp/intramural:dora?secret=" + made["secret"])
    assert made["picture"].startswith("data:image/svg+xml")
    assert refused(browser.ask("POST", "/me/codes/confirm", json={"code": "000000"})) == "code_wrong"
    paper = browser.ask("POST", "/me/codes/confirm", json={"code": code_now(made["secret"])}).json()["codes"]

    again = Browser(house)
    assert again.sign_in("dora").json()["awaits"] == "second"
    for path in ("/chats", "/keys", "/models", "/me/sessions", "/openapi.json"):
        assert refused(again.ask("GET", path)) == "more_needed"
    assert refused(again.ask("POST", "/me/recovery-codes")) == "more_needed"
    assert refused(again.ask("POST", "/me/codes")) == "more_needed"
    assert refused(again.ask("DELETE", "/me/codes")) == "more_needed"
    assert refused(requests.post(again.base + "/login/second", json={"code": paper[0]})) == "no_credentials"
    forged = requests.post(again.base + "/login/second", json={"code": paper[0]}, cookies=again.cookies)
    assert refused(forged) == "csrf"
    assert refused(again.ask("POST", "/login/second", json={"code": code_now(made["secret"])})) == "code_wrong"  # used
    before = again.cookies["intramural_session"]
    whole = again.ask("POST", "/login/second", json={"code": code_now(made["secret"], 1)})
    assert whole.json()["awaits"] is None and again.cookies["intramural_session"] != before
    assert again.ask("GET", "/chats").status_code == 200
    half = requests.get(again.base + "/me", cookies={"intramural_session": before})
    assert refused(half) == "session_ended"  # the one that awaited is gone

    lost = Browser(house)
    lost.sign_in("dora")
    assert lost.ask("POST", "/login/second", json={"code": paper[0]}).json()["awaits"] is None
    assert lost.ask("GET", "/me/factors").json()["recovery_left"] == 9
    assert house.command("user", "reset-factors", "dora")["reset"] == "dora"
    assert refused(lost.ask("GET", "/me")) == "session_ended"
    assert lost.sign_in("dora").json()["awaits"] is None
    told = [(e["event"], e["facts"]) for e in house.events() if e["target"] == f"person:{dora['id']}"]
    names = [event for event, _ in reversed(told)]
    assert names[:4] == ["person.created", "login.succeeded", "factor.begun", "login.failed"]
    assert names[4:6] == ["factor.added", "login.awaits"] and "recovery_code.used" in names
    assert made["secret"] not in str(told) and not any(each in str(told) for each in paper)


def test_who_signs_in_elsewhere_is_asked_for_their_code_too(house: Service, idp: Idp) -> None:
    idp.person = {"sub": "e-1", "preferred_username": "emil"}
    browser = Browser(house)
    browser.get(at_provider(house, idp, browser), allow_redirects=False)
    assert browser.ask("GET", "/me").json()["awaits"] is None
    secret = browser.ask("POST", "/me/codes").json()["secret"]
    browser.ask("POST", "/me/codes/confirm", json={"code": code_now(secret)})
    again = Browser(house)
    again.get(at_provider(house, idp, again), allow_redirects=False)
    assert again.ask("GET", "/me").json()["awaits"] == "second"
    assert again.ask("POST", "/login/second", json={"code": code_now(secret, 1)}).json()["awaits"] is None


# Passkeys -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose administrators sign in by passkey only, under a name; nobody is there yet."""
    settings = {"INTRAMURAL_LIBRARY_STARTER": "", "INTRAMURAL_ACCESS_PASSKEY_FOR": "administrators"}
    service = Service(tmp_path_factory.mktemp("strict") / "data", Path("none"), settings)
    service.start()
    service.address = service.address.replace("127.0.0.1", "localhost")
    yield service
    service.stop()


def add_passkey(browser: Browser, device: Authenticator) -> requests.Response:
    asked = browser.ask("POST", "/me/passkeys/begin").json()
    body = {"ticket": asked["ticket"], "credential": device.create(asked["options"]), "name": "a key"}
    return browser.ask("POST", "/me/passkeys", json=body)


def passkey_sign_in(browser: Browser, device: Authenticator) -> requests.Response:
    asked = browser.ask("POST", "/login/passkey/begin").json()
    body = {"ticket": asked["ticket"], "credential": device.get(asked["options"])}
    return browser.ask("POST", "/login/passkey", json=body)


def test_administrators_sign_in_by_passkey_and_in_no_other_way(strict: Service) -> None:
    browser, device = Browser(strict), Authenticator(strict.address)
    assert strict.setup_link is not None
    body = {"token": strict.setup_link.split("token=")[1], "username": "ada", "password": PASSWORD}
    assert browser.ask("POST", "/setup", json=body).json()["awaits"] == "enrol_passkey"
    assert refused(browser.ask("GET", "/people")) == "more_needed"
    added = add_passkey(browser, device)
    assert added.status_code == 201, added.text
    paper = added.json()["codes"]
    assert added.json()["me"]["awaits"] is None and len(paper) == 10
    assert browser.ask("GET", "/people").status_code == 200

    thief = Browser(strict)  # with the password, and the codes on paper
    assert thief.sign_in("ada").json()["awaits"] == "passkey"
    assert refused(thief.ask("POST", "/login/second", json={"code": paper[0]})) == "passkey_needed"
    assert refused(thief.ask("POST", "/me/passkeys/begin")) == "more_needed"
    assert refused(thief.ask("POST", "/me/codes")) == "more_needed"
    assert refused(thief.ask("GET", "/people")) == "more_needed"
    assert refused(passkey_sign_in(thief, replace(device, origin="https://evil.example"))) == "passkey_refused"

    owner = Browser(strict)  # no name, no password
    me = passkey_sign_in(owner, device).json()
    assert (me["username"], me["awaits"]) == ("ada", None)
    assert owner.ask("GET", "/people").status_code == 200
    [passkey] = owner.ask("GET", "/me/passkeys").json()["passkeys"]
    assert refused(owner.ask("DELETE", f"/me/passkeys/{passkey['id']}")) == "factor_required"
    made = owner.ask("POST", "/people", json={"username": "mel", "password": PASSWORD, "role": "member"}).json()
    assert Browser(strict).sign_in("mel").json()["awaits"] is None  # the rule is about administrators
    ada = owner.ask("GET", "/me").json()["id"]
    assert refused(owner.ask("DELETE", f"/people/{ada}/factors")) == "not_ones_own"
    owner.ask("PATCH", f"/people/{made['id']}", json={"disabled": True})

    strict.command("user", "reset-factors", "ada")
    assert refused(owner.ask("GET", "/me")) == "session_ended"
    assert refused(passkey_sign_in(owner, device)) == "passkey_refused"
    assert Browser(strict).sign_in("ada").json()["awaits"] == "enrol_passkey"
    told = strict.command("audit", "ls", "--limit", "100")
    assert "factor.added" in str(told) and "login.failed" in str(told)
