"""Signing in through the doors: a real service, and a real provider on loopback over TLS."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from tests.fakes import web
from tests.fakes.oidc import Idp
from tests.service import Service

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


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
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


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
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
