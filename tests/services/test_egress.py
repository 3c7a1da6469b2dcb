"""The way out as a whole: a real list and log, real servers, and a broker. What went out is what the ledger says."""

import hashlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests import databases
from tests.audit.settable_clock import SettableClock
from tests.fakes.broker import FakeBroker
from tests.fakes.gguf_file import tiny_model
from tests.fakes.web import Reply, Request, certificate, file_reply, serving
from tests.library.shop import Shop

from intramural.audit import AuditLog, Entry
from intramural.core.actor import SCOPES, SYSTEM, Actor
from intramural.core.config import AuditConfig
from intramural.core.errors import IntramuralError, Misasked, Missing, Refused, Unavailable
from intramural.egress import Book, Broker, Egress, Errand, Mode, Rule, confined_broker
from intramural.egress.broker import Start
from intramural.egress.wire import Connect
from intramural.library import MirrorSource, Reach
from intramural.library.sources.reach import Limits, only
from intramural.library.sources.web import Web
from intramural.services.egress import AuditLedger, EgressDesk, Lines
from intramural.services.gate import Gate
from intramural.storage import Database

ADA = Actor("person", "ada", "ada", "administrator", frozenset(SCOPES), "session_1")
MIA = Actor("person", "mia", "mia", "member", frozenset(SCOPES), "session_2")
ODA = Actor("person", "oda", "oda", "auditor", frozenset(SCOPES), "session_3")
QUICK = Limits(tries=1)
BODY = tiny_model()


class House:
    """An `Egress` and its desk. `broker` is a stand-in unless a test says otherwise; names are in `names`."""

    def __init__(self, stack: AsyncExitStack, db: Database, audit: AuditLog, book: Book, clock: SettableClock) -> None:
        self._stack, self.db, self.audit, self.book, self.clock = stack, db, audit, book, clock
        self.fake = FakeBroker()
        self.opened("supervised")

    def opened(self, mode: Mode, *rules: Rule, start: Start | None = None) -> Egress:
        broker = None if mode == "sealed" else Broker(start or self.fake.start)
        self.egress = Egress(mode, rules, self.book, broker, AuditLedger(self.audit, self.book), self.clock)
        self._stack.push_async_callback(self.egress.close)
        self.desk = EgressDesk(Gate(self.audit), self.egress, self.audit, self.clock)
        return self.egress

    def asked_by_mia(self) -> Web:
        """For somebody who may not decide about the list."""
        return self.web(MIA, approves=False)

    def web(self, actor: Actor = ADA, *, approves: bool = True) -> Web:
        connect = self.egress.way(Errand(actor, "pull", "source:test", approves))
        return Web(only("*"), Reach(connect, limits=QUICK))

    async def ledger(self) -> list[tuple[str, dict[str, Any]]]:
        """What is in it, the oldest first."""
        await self.egress.close()
        return [(each.event, dict(each.facts)) for each in reversed(await self.entries())]

    async def entries(self) -> list[Entry]:
        return (await self.desk.ledger(ODA, Lines(), 500)).found.entries


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        clock = SettableClock()
        db = await databases.opened(tmp_path / "test.db")
        stack.push_async_callback(db.close)
        audit = await AuditLog.open(db, tmp_path / "secrets", AuditConfig(), clock)
        stack.push_async_callback(audit.close)
        book = Book(db, clock)
        await book.load()
        yield House(stack, db, audit, book, clock)


async def refusal(asked: Awaitable[object]) -> IntramuralError:
    with pytest.raises(IntramuralError) as caught:
        await asked
    return caught.value


def port_of(host: str) -> int:
    return int(host.rpartition(":")[2])


def says(text: bytes) -> Callable[[Request], Reply]:
    return lambda request: Reply(body=text)


# what is written down -------------------------------------------------------------------------------------------------


async def test_a_connection_is_in_the_ledger_with_its_bytes_before_and_after(house: House) -> None:
    async with serving(says(b"x" * 5000)) as server:
        answer = await house.web().ask(f"{server.url}/a")
    assert len(answer.body) == 5000
    (opened, about), (closed, how) = await house.ledger()
    assert (opened, closed) == ("egress.connected", "egress.closed")
    port = port_of(server.host)
    common = {"purpose": "pull", "host": "127.0.0.1", "port": port, "about": "source:test"}
    assert about == common | {"address": "127.0.0.1", "by": "asked_for", "connection": how["connection"]}
    assert how["received_bytes"] > 5000 and how["sent_bytes"] > 50 and how["ms"] >= 0
    assert [each.username or each.actor_id for each in await house.entries()][-1] == "ada"


async def test_nothing_is_handed_over_that_could_not_be_written_down(house: House) -> None:
    async with serving(says(b"x")) as server:
        await house.audit.close()
        assert (await refusal(house.web().ask(f"{server.url}/a"))).code == "audit_unavailable"
        assert server.seen == []


async def test_what_did_not_come_about_is_there_too(house: House) -> None:
    async with serving(says(b"x")) as server:
        pass
    error = await refusal(house.web().ask(f"{server.url}/a"))
    assert isinstance(error, Unavailable) and error.code == "source_unreachable"
    assert [(event, facts["code"]) for event, facts in await house.ledger()] == [("egress.failed", "refused")]


async def test_a_certificate_is_for_the_name_and_not_for_the_address(house: House, tmp_path: Path) -> None:
    """Encryption ends here, on the connection that the broker made."""
    context, ca_file = certificate(tmp_path, "hub.example")
    house.opened("supervised", Rule("setting:x", "pull", "hub.example", None, near=frozenset({"here"})))
    house.fake.names["hub.example"] = house.fake.names["other.example"] = ("127.0.0.1",)
    async with serving(says(b"safe"), tls=context) as server:
        connect = house.egress.way(Errand(ADA, "pull", "test"))
        web = Web(only("*"), Reach(connect, ca_file, limits=QUICK))
        url = f"https://hub.example:{port_of(server.host)}/a"
        assert (await web.ask(url)).body == b"safe"
    facts = dict((await house.ledger())[0][1])
    assert (facts["host"], facts["address"], facts["by"]) == ("hub.example", "127.0.0.1", "setting:x")


async def test_the_ledger_is_looked_through_by_host_purpose_and_outcome_and_told_as_it_grows(house: House) -> None:
    await house.desk.decide(ADA, "models.example", 443, "pull", "deny")
    await house.desk.decide(ADA, "pictures.example", 443, "media", "allow")
    await refusal(house.web().ask("https://models.example/a"))

    async def found(**lines: Any) -> list[str]:
        page = await house.desk.ledger(ODA, Lines(**lines), 50)
        return [f"{each.event} {each.target}" for each in page.found.entries]

    refused = "egress.refused host:models.example:443"
    denied, allowed = "egress.denied host:models.example:443", "egress.allowed host:pictures.example:443"
    assert await found() == [refused, allowed, denied]
    assert await found(host=" Models") == [refused, denied]
    assert await found(purpose="media") == [allowed]
    assert await found(outcome="refused", purpose="pull") == [refused]
    assert await found(outcome="refused", purpose="media") == []
    seen = (await house.desk.ledger(ODA, Lines(), 1)).newest
    assert await found(after=seen) == []
    await refusal(house.web().ask("https://models.example/b"))
    assert await found(after=seen) == [refused] and await found(after=seen, host="pictures") == []
    page = await house.desk.ledger(ODA, Lines(), 2)
    older = await house.desk.ledger(ODA, Lines(before=page.found.older), 2)
    both = [each.position for each in (*page.found.entries, *older.found.entries)]
    assert len(both) == 4 and both == sorted(set(both), reverse=True)


# modes and decisions --------------------------------------------------------------------------------------------------


async def test_sealed_means_that_nobody_is_asked_for_anything(house: House) -> None:
    """Refused before any name is looked up: there is nothing that could."""
    house.opened("sealed", Rule("setting:x", "pull", "127.0.0.1", None, near=frozenset({"here"})))
    async with serving(says(b"x")) as server:
        for actor in (ADA, MIA):
            error = await refusal(house.web(actor).ask(f"{server.url}/a"))
            assert (type(error), error.code) == (Refused, "egress_sealed")
        assert server.seen == []
    assert house.fake.started == 0 and not house.egress.is_running
    assert [event for event, _ in await house.ledger()] == ["egress.refused"] * 2
    assert (await house.desk.overview(ADA)).mode == "sealed"


async def test_who_may_not_decide_asks_and_is_let_out_when_it_was_decided(house: House) -> None:
    async with serving(says(b"x")) as server:
        url, port = f"{server.url}/a", port_of(server.host)
        for _ in range(2):
            error = await refusal(house.asked_by_mia().ask(url))
            assert error.code == "egress_unknown" and f"egress allow 127.0.0.1:{port} --purpose pull" in error.hint
        assert house.fake.started == 0, "nothing was resolved, and nobody connected to"
        (question,) = (await house.desk.overview(ADA)).entries
        assert (question.verdict, question.asked_by, question.about) == ("asked", "mia", "source:test")
        entry = await house.desk.decide(ADA, "127.0.0.1", port, "pull", "allow")
        assert entry.id == question.id, "the question is answered"
        assert (await house.asked_by_mia().ask(url)).body == b"x"
    events = [event for event, _ in await house.ledger()]
    assert events == [f"egress.{each}" for each in ("asked", "refused", "allowed", "connected", "closed")]


async def test_allowed_for_one_purpose_is_not_allowed_for_another(house: House) -> None:
    async with serving(says(b"x")) as server:
        await house.desk.decide(ADA, "127.0.0.1", port_of(server.host), "push", "allow")
        assert (await refusal(house.asked_by_mia().ask(f"{server.url}/a"))).code == "egress_unknown"


async def test_a_time_that_is_over(house: House) -> None:
    async with serving(says(b"x")) as server:
        url, port = f"{server.url}/a", port_of(server.host)
        await house.desk.decide(ADA, "127.0.0.1", port, "pull", "allow", for_s=60)
        assert (await house.asked_by_mia().ask(url)).status == 200
        house.clock.offset_s += 61
        assert (await refusal(house.asked_by_mia().ask(url))).code == "egress_expired"
        (question,) = (await house.desk.overview(ADA)).entries
        assert question.verdict == "asked"


async def test_once_is_for_all_of_one_errand(house: House) -> None:
    async with serving(says(b"x")) as server:
        url, port = f"{server.url}/a", port_of(server.host)
        await house.desk.decide(ADA, "127.0.0.1", port, "pull", "allow", once=True)
        errand = house.asked_by_mia()
        for _ in range(3):
            assert (await errand.ask(url)).body == b"x"
        assert (await refusal(house.asked_by_mia().ask(url))).code == "egress_unknown"
    events = [event for event, _ in await house.ledger()]
    assert events.count("egress.connected") == 3 and events.count("egress.forgotten") == 1


async def test_denied_is_denied_to_everybody_and_every_setting(house: House) -> None:
    async with serving(says(b"x")) as server:
        port = port_of(server.host)
        house.opened("open", Rule("setting:x", "pull", "127.0.0.1", port, near=frozenset({"here"})))
        assert (await house.web().ask(f"{server.url}/a")).status == 200
        entry = await house.desk.decide(ADA, "127.0.0.1", 0, "pull", "deny")
        error = await refusal(house.web().ask(f"{server.url}/a"))
        assert error.code == "egress_denied" and entry.id in error.hint
        await house.desk.forget(ADA, entry.id)
        assert (await house.web().ask(f"{server.url}/a")).status == 200
        with pytest.raises(Missing):
            await house.desk.forget(ADA, entry.id)


async def test_open_lets_out_what_nobody_denied_and_writes_it_down(house: House) -> None:
    house.opened("open")
    async with serving(says(b"x")) as server:
        assert (await house.asked_by_mia().ask(f"{server.url}/a")).status == 200
    assert [facts.get("by") for _, facts in await house.ledger()] == ["open", None]


async def test_decisions_outlive_the_service(house: House) -> None:
    entry = await house.desk.decide(ADA, "hub.example", 443, "pull", "allow", inside=True, for_s=60)
    again = Book(house.db, house.clock)
    await again.load()
    (rule,) = again.rules()
    assert (rule.host, rule.port, rule.near) == ("hub.example", 443, {"inside", "outside"})
    assert (rule.expires_ms, rule.approver) == (entry.expires_ms, "ada")


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"host": "a b"}, "bad_destination"),
        ({"port": 0}, "bad_destination"),
        ({"purpose": "fun"}, "bad_purpose"),
        ({"purpose": "database"}, "bad_purpose"),
        ({"for_s": 0}, "bad_time"),
    ],
)
async def test_what_is_no_decision(house: House, given: dict[str, Any], code: str) -> None:
    asked = {"host": "hub.example", "port": 443, "purpose": "pull", "verdict": "allow"} | given
    with pytest.raises(Misasked) as caught:
        await house.desk.decide(ADA, **asked)
    assert caught.value.code == code


# where names lead -----------------------------------------------------------------------------------------------------


async def test_a_redirect_to_another_host_is_a_decision_of_its_own(house: House) -> None:
    async with (
        serving(says(b"there")) as other,
        serving(lambda request: Reply(302, {"Location": f"{other.url}/b"})) as server,
    ):
        await house.desk.decide(ADA, "127.0.0.1", port_of(server.host), "pull", "allow")
        error = await refusal(house.asked_by_mia().ask(f"{server.url}/a"))
        assert error.code == "egress_unknown" and str(port_of(other.host)) in error.message
        assert len(server.seen) == 1 and other.seen == []
        assert (await house.web().ask(f"{server.url}/a")).body == b"there"


async def test_a_name_that_leads_to_this_machine_does_not(house: House) -> None:
    """Whoever may decide named a host; nobody named this machine."""
    house.fake.names["hub.example"] = ("127.0.0.1",)
    async with serving(says(b"x")) as server:
        connect = house.egress.way(Errand(ADA, "pull", "test", approves=True))
        error = await refusal(connect("hub.example", port_of(server.host), 5))
        assert error.code == "egress_address_refused"
        assert server.seen == []
    assert [(event, facts["code"]) for event, facts in await house.ledger()] == [
        ("egress.refused", "egress_address_refused")
    ]


async def test_hosts_are_compared_as_they_are_asked_for(house: House) -> None:
    """What is checked and what is connected to come of one reading of the address."""
    house.opened("supervised", Rule("setting:x", "pull", "hub.example", 443))
    connect = house.egress.way(Errand(SYSTEM, "pull", "test"))
    for trick in ("hub.example@evil.example", "hub.example/evil", "hub.example evil", "hub.example%00.evil", "0x7f.1"):
        assert (await refusal(connect(trick, 443, 5))).code in ("bad_destination", "egress_unknown")
    assert house.fake.started == 0
    with pytest.raises(OSError):
        await connect("HUB.example.", 443, 5)
    (wanted,) = [each for each in house.fake.asked if isinstance(each, Connect)]
    assert wanted.host == "hub.example"


# by the real broker ---------------------------------------------------------------------------------------------------

#: What the interpreter tells of sockets; of those made by others (SCM_RIGHTS) it tells nothing.
_hooked: list[tuple[str, Any]] = []
_watching = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        _hooked.append((event, arguments))


async def test_a_pull_opens_no_connection_in_this_process(house: House, tmp_path: Path) -> None:
    """The positive control is the same pull made directly: then the hook sees it."""
    from tests.direct import REACH

    global _watching
    sys.addaudithook(_hook)
    house.opened("supervised", start=confined_broker())
    shop = Shop(tmp_path / "library")

    def folder(request: Request) -> Reply:
        if request.path.endswith("/SHA256SUMS"):
            return Reply(body=f"{hashlib.sha256(BODY).hexdigest()}  tiny-Q4_0.gguf\n".encode())
        return file_reply(request, BODY) if request.path.endswith(".gguf") else Reply(404)

    async with serving(folder) as server:
        source = f"{server.url}/tiny-Q4_0.gguf"
        try:
            _watching = True
            reach = Reach(house.egress.way(Errand(ADA, "pull", "source:test", approves=True)))
            manifest, _ = await shop.pull(MirrorSource(source, reach=reach))
            assert manifest.weights.size_bytes == len(BODY)
            assert _hooked == []
            await shop.pull(MirrorSource(source, reach=REACH), "again")
            assert ("socket.connect" in dict(_hooked)) and ("socket.getaddrinfo" in dict(_hooked))
        finally:
            _watching = False
    ledger = await house.ledger()
    assert sum(event == "egress.connected" for event, _ in ledger) == sum(
        event == "egress.closed" for event, _ in ledger
    )
    assert sum(facts.get("received_bytes", 0) for _, facts in ledger) > len(BODY)


async def test_questions_are_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intramural.egress.book.MOST_ASKED", 3)
    connect = house.egress.way(Errand(MIA, "pull", "test"))
    for number in range(5):
        await refusal(connect(f"host{number}.example", 443, 5))
        house.clock.offset_s += 1
    asked = [entry.host for entry in (await house.desk.overview(ADA)).entries]
    assert asked == ["host4.example", "host3.example", "host2.example"]


async def test_who_may_see_and_decide(house: House) -> None:
    await house.desk.overview(ODA)
    for asked in (house.desk.overview(MIA), house.desk.ledger(MIA, Lines(), 5), house.desk.forget(ODA, "x")):
        assert isinstance(await refusal(asked), Refused)
    assert isinstance(await refusal(house.desk.decide(ODA, "a.example", 443, "pull", "allow")), Refused)
    assert house.book.rules() == ()
