"""What the service gets of a broker: of a real one, confined, and of a stand-in; and of one that is ill, or lies."""

import asyncio
import gc
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from tests.fakes.broker import FakeBroker, Lie
from tests.fakes.nameserver import NameServer

from intramural.core.errors import Broken, Refused, Unavailable, Untrusted
from intramural.egress.broker import Broker, Start, confined_broker
from intramural.egress.passage import Counted, Passage
from intramural.egress.resolver import NameFiles
from intramural.egress.rules import Destination
from intramural.egress.wire import Cancel, Names

HERE = frozenset({"here"})
BEYOND = frozenset({"inside", "outside"})


class Files(NameFiles):
    """The machine's, with another name server."""

    def __init__(self, folder: Path, server: NameServer) -> None:
        super().__init__(folder / "hosts", folder / "resolv.conf")
        self._server = server

    def names(self) -> Names:
        return Names((("127.0.0.1", self._server.port),))


@asynccontextmanager
async def listening() -> AsyncIterator[int]:
    """A server that says back what it is told; its port."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.CancelledError):
            while data := await reader.read(1 << 16):
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def running(start: Start, files: NameFiles | None = None) -> AsyncIterator[Broker]:
    broker = Broker(start, files)
    try:
        yield broker
    finally:
        await broker.close()


async def said_back(passage: Passage, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(sock=passage)
    writer.write(text)
    found = await reader.readexactly(len(text))
    writer.close()
    await writer.wait_closed()
    return found


@pytest.fixture(params=["confined", "stand-in"])
async def start(request: pytest.FixtureRequest) -> Start:
    return confined_broker() if request.param == "confined" else FakeBroker().start


# what every broker does -----------------------------------------------------------------------------------------------


async def test_it_makes_connections_and_says_to_where(start: Start) -> None:
    async with listening() as port, running(start) as broker:
        for host in ("127.0.0.1", "localhost"):
            passage, address = await broker.connect(Destination(host, port), HERE, 10)
            assert (address, passage.getblocking(), passage.get_inheritable()) == ("127.0.0.1", False, False)
            assert await said_back(passage, b"hello") == b"hello"


async def test_many_at_once(start: Start) -> None:
    async with listening() as port, running(start) as broker:
        asked = [broker.connect(Destination("127.0.0.1", port), HERE, 30) for _ in range(100)]
        for passage, _ in await asyncio.gather(*asked):
            passage.close()


async def test_an_address_is_only_connected_to_where_it_may_be(start: Start) -> None:
    async with listening() as port, running(start) as broker:
        for host, near in (("127.0.0.1", BEYOND), ("localhost", BEYOND), ("169.254.169.254", BEYOND | HERE)):
            with pytest.raises(Refused) as caught:
                await broker.connect(Destination(host, port), near, 10)
            assert caught.value.code == "egress_address_refused"


async def test_nobody_listens(start: Start) -> None:
    async with listening() as port:
        pass
    async with running(start) as broker:
        with pytest.raises(ConnectionRefusedError):
            await broker.connect(Destination("127.0.0.1", port), HERE, 10)


async def test_it_is_replaced_when_it_ends(start: Start) -> None:
    async with listening() as port, running(start) as broker:
        for _ in range(3):
            passage, _ = await broker.connect(Destination("127.0.0.1", port), HERE, 30)
            assert broker._line is not None
            broker._line._process.kill()
            await broker._line._process.wait()
            assert await said_back(passage, b"still") == b"still", "what was handed over is nobody's but ours"


async def test_giving_up_is_told(start: Start) -> None:
    async with listening() as port, running(start) as broker:
        asked = asyncio.ensure_future(broker.connect(Destination("127.0.0.1", port), HERE, 600))
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        passage, _ = await broker.connect(Destination("127.0.0.1", port), HERE, 30)
        passage.close()


async def test_the_end_leaves_nothing(start: Start) -> None:
    before = len(os.listdir("/proc/self/fd"))
    async with listening() as port, running(start) as broker:
        passage, _ = await broker.connect(Destination("127.0.0.1", port), HERE, 30)
        passage.close()
        await broker.close()
        with pytest.raises(Unavailable):
            await broker.connect(Destination("127.0.0.1", port), HERE, 30)
    await asyncio.sleep(0)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before + 2, "a loop may keep its own"


# the real one ---------------------------------------------------------------------------------------------------------


async def test_names_are_asked_for_once_by_the_broker(tmp_path: Path) -> None:
    async with (
        NameServer({("hub.example", 1): ["127.0.0.1"]}) as server,
        listening() as port,
        running(confined_broker(), Files(tmp_path, server)) as broker,
    ):
        passage, address = await broker.connect(Destination("hub.example", port), HERE, 10)
        assert (await said_back(passage, b"hi"), address) == (b"hi", "127.0.0.1")
        assert sorted(server.asked) == [("hub.example", 1), ("hub.example", 28)]


async def test_a_name_that_turns_inside_leads_nowhere(tmp_path: Path) -> None:
    """Rebinding: first an address that may be, then one that may not; and both at once."""
    async with (
        NameServer({("hub.example", 1): ["127.0.0.1"]}) as server,
        listening() as port,
        running(confined_broker(), Files(tmp_path, server)) as broker,
    ):
        passage, _ = await broker.connect(Destination("hub.example", port), HERE, 10)
        passage.close()
        for turned in ("10.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1"):
            server.records[("hub.example", 1)] = [turned]
            with pytest.raises(Refused) as caught:
                await broker.connect(Destination("hub.example", port), HERE, 10)
            assert caught.value.code == "egress_address_refused" and turned in caught.value.message
        server.records[("hub.example", 1)] = ["10.0.0.1", "127.0.0.1"]
        passage, address = await broker.connect(Destination("hub.example", port), HERE, 10)
        passage.close()
        assert address == "127.0.0.1"


async def test_who_cannot_be_found(tmp_path: Path) -> None:
    async with NameServer({}) as server, running(confined_broker(), Files(tmp_path, server)) as broker:
        with pytest.raises(socket.gaierror):
            await broker.connect(Destination("gone.example", 443), BEYOND, 10)


async def test_a_silent_name_server_costs_the_time_it_was_given(tmp_path: Path) -> None:
    async with NameServer({}, silent=True) as server, running(confined_broker(), Files(tmp_path, server)) as broker:
        with pytest.raises(TimeoutError):
            await broker.connect(Destination("hub.example", 443), BEYOND, 0.2)
        assert broker.is_running, "it kept its time"


async def test_it_is_behind_all_layers_but_the_network_namespace() -> None:
    async with listening() as port, running(confined_broker()) as broker:
        passage, _ = await broker.connect(Destination("127.0.0.1", port), HERE, 10)
        passage.close()
        assert broker._line is not None
        child = broker._line._process
        layers = {"landlock", "seccomp", "told", *(["uid"] if os.geteuid() == 0 else [])}
        assert set(child.layers) == layers  # type: ignore[attr-defined]  # a Child
        status = Path(f"/proc/{child.pid}/status").read_text()  # type: ignore[attr-defined]  # a Child
        for line in ("CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
            assert line in status


# what is counted ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_bytes_are_counted_whoever_closes(loop: str) -> None:
    async def go() -> list[Counted]:
        ended: list[Counted] = []
        async with listening() as port, running(FakeBroker().start) as broker:
            passage, _ = await broker.connect(Destination("127.0.0.1", port), HERE, 10)
            passage.watch(ended.append)
            assert await said_back(passage, b"x" * 1234) == b"x" * 1234
            plain, _ = await broker.connect(Destination("127.0.0.1", port), HERE, 10)
            plain.watch(ended.append)
            plain.close()
            plain.close()
            lost, _ = await broker.connect(Destination("127.0.0.1", port), HERE, 10)
            lost.watch(ended.append)
            del lost
            gc.collect()
            while len(ended) < 3:
                await asyncio.sleep(0)
        return ended

    if loop == "uvloop":
        import uvloop

        found = uvloop.run(go())
    else:
        found = asyncio.run(go())
    assert sorted((each.sent or 0, each.received or 0) for each in found) == [(0, 0), (0, 0), (1234, 1234)]


async def test_the_other_side_sees_the_end_when_it_is_closed() -> None:
    async with running(FakeBroker().start) as broker:
        gone = asyncio.Event()

        async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.read() == b""
            writer.close()
            gone.set()

        server = await asyncio.start_server(wait, "127.0.0.1", 0)
        passage, _ = await broker.connect(Destination("127.0.0.1", server.sockets[0].getsockname()[1]), HERE, 10)
        passage.watch(lambda counted: None)
        passage.close()
        async with asyncio.timeout(30):
            await gone.wait()
        server.close()


# ill, slow and lying --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lie", Lie.__args__)  # type: ignore[attr-defined]  # of a Literal
async def test_a_lie_is_not_believed_and_not_repeated(lie: Lie) -> None:
    fake = FakeBroker()
    async with listening() as port, running(fake.start) as broker:
        to = Destination("127.0.0.1", port)
        fake.lie = lie
        try:
            passage, _ = await broker.connect(to, HERE, 10)
        except Untrusted as error:
            assert error.code == "egress_broker_lied"
            passage, _ = await broker.connect(to, HERE, 10)
        assert fake.started == 2, "who lied was ended, and another one asked"
        assert passage.getpeername() == ("127.0.0.1", port)
        passage.close()


async def test_what_it_was_asked_when_it_died_is_asked_again() -> None:
    fake = FakeBroker(dies=True)
    async with listening() as port, running(fake.start) as broker:
        passage, _ = await broker.connect(Destination("127.0.0.1", port), HERE, 10)
        passage.close()
    assert fake.started == 2


async def test_a_spare_takes_over_and_is_replaced() -> None:
    fake = FakeBroker()
    async with listening() as port, running(fake.start) as broker:
        await broker.open(spares=1)
        assert fake.started == 2
        fake.never_ready = True  # from now on none can begin: as in a service that may make no sockets
        fake.dies = True
        passage, _ = await broker.connect(Destination("127.0.0.1", port), HERE, 10)
        passage.close()
        assert broker._refilling is not None
        await broker._refilling
        assert fake.started == 3
        passage, _ = await broker.connect(Destination("127.0.0.1", port), HERE, 10)
        passage.close()
        fake.dies = True
        with pytest.raises(Unavailable) as caught:
            await broker.connect(Destination("127.0.0.1", port), HERE, 10)
        assert caught.value.code == "egress_unavailable"


async def test_one_that_cannot_be_started() -> None:
    async def start() -> tuple[object, socket.socket]:
        raise Broken("confinement_failed", "No.", param="landlock")

    async with running(start) as broker:  # type: ignore[arg-type]  # it never returns
        with pytest.raises(Unavailable) as caught:
            await broker.connect(Destination("127.0.0.1", 1), HERE, 10)
        assert caught.value.code == "egress_unavailable"


async def test_who_lets_its_own_time_pass_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intramural.egress.broker._GRACE_S", 0.0)
    fake = FakeBroker(silent=True)
    async with listening() as port, running(fake.start) as broker:
        with pytest.raises(TimeoutError):
            await broker.connect(Destination("127.0.0.1", port), HERE, 0.05)
        fake.silent = False
        passage, _ = await broker.connect(Destination("127.0.0.1", port), HERE, 30)
        passage.close()
    assert fake.started == 2


async def test_an_answer_to_who_has_left_is_closed() -> None:
    fake = FakeBroker(holds=asyncio.Event())
    assert fake.holds is not None
    async with listening() as port, running(fake.start) as broker:
        asked = asyncio.ensure_future(broker.connect(Destination("127.0.0.1", port), HERE, 600))
        while not fake.asked:
            await asyncio.sleep(0)
        asked.cancel()
        await asyncio.wait([asked])
        while not any(isinstance(each, Cancel) for each in fake.asked):
            await asyncio.sleep(0)
        fake.holds.set()
        passage, _ = await broker.connect(Destination("127.0.0.1", port), HERE, 30)
        passage.close()
        assert fake.started == 1


@pytest.mark.parametrize("number", [1, 2])
async def test_one_that_is_slow_keeps_only_its_own_waiting(number: int) -> None:
    fake = FakeBroker(holds=asyncio.Event())
    assert fake.holds is not None
    async with listening() as port, running(fake.start) as broker:
        slow = [asyncio.ensure_future(broker.connect(Destination("127.0.0.1", port), HERE, 600)) for _ in range(number)]
        while len([each for each in fake.asked if not isinstance(each, Names)]) < number:
            await asyncio.sleep(0)
        holds, fake.holds = fake.holds, None
        quick, _ = await broker.connect(Destination("127.0.0.1", port), HERE, 30)
        quick.close()
        assert not any(each.done() for each in slow)
        holds.set()
        for passage, _ in await asyncio.gather(*slow):
            passage.close()
