"""The positive control against a real listener: confined it is refused, and what confines too little is found by it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from tests.services.test_attestation import RIGHT

from intramural.core.clock import SystemClock
from intramural.services.attestation import Controls
from intramural.services.attestation import facts as f
from intramural.services.attestation.controlling import PATH
from intramural.services.attestation.findings import findings

EVERY_LAYER = frozenset({"netns", "landlock", "seccomp"})


class Door:
    """A listener that does with a request for `PATH` what the service's route does."""

    def __init__(self) -> None:
        self.controls = Controls(SystemClock())
        self.came: list[bool] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode("ascii")
        self.came.append(self.controls.arrive(line.split()[1].removeprefix(PATH)))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async def make(self, without: frozenset[str] = frozenset()) -> f.Control:
        return await self.controls.make(self.address, without)

    address: tuple[str, int] = ("", 0)


@pytest_asyncio.fixture
async def door() -> AsyncIterator[Door]:
    made = Door()
    async with await asyncio.start_server(made.answer, "127.0.0.1", 0) as server:
        made.address = server.sockets[0].getsockname()[:2]
        yield made


def outcomes(tried: f.Tried | f.NotSeen) -> dict[str, str]:
    assert isinstance(tried, f.Tried), tried
    return {each.name: each.outcome for each in tried.attempts}


def colour(control: f.Control) -> str:
    facts = replace(RIGHT, control=control)
    return next(each.colour for each in findings(facts) if each.code == "control")


@pytest.mark.asyncio
async def test_confined_it_is_refused_and_where_it_may_it_arrives(door: Door) -> None:
    control = await door.make()
    assert set(outcomes(control.confined).values()) == {"EPERM"}
    allowed = outcomes(control.allowed)
    assert (allowed["tcp"], allowed["udp"]) == ("works", "works")
    assert {allowed[name] for name in ("raw", "packet", "vsock")} == {"EPERM"}
    assert isinstance(control.confined, f.Tried) and isinstance(control.allowed, f.Tried)
    assert (control.confined.arrived, control.allowed.arrived) == (False, True)
    assert door.came == [True]
    assert colour(control) == "green"


@pytest.mark.asyncio
async def test_a_process_that_nothing_confines_is_found_to_reach_it(door: Door) -> None:
    control = await door.make(EVERY_LAYER)
    assert outcomes(control.confined)["tcp"] == "works"
    assert isinstance(control.confined, f.Tried) and control.confined.arrived
    assert colour(control) == "red"


@pytest.mark.asyncio
@pytest.mark.parametrize("layer", ["netns", "seccomp"])
async def test_each_of_two_layers_alone_keeps_it_from_arriving(door: Door, layer: str) -> None:
    control = await door.make(EVERY_LAYER - {layer})
    assert isinstance(control.confined, f.Tried) and not control.confined.arrived
    assert outcomes(control.confined)["tcp"] == {"netns": "ENETUNREACH", "seccomp": "EPERM"}[layer]


@pytest.mark.asyncio
async def test_a_listener_that_hears_nothing_is_no_control(door: Door) -> None:
    async def deaf(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(deaf, "127.0.0.1", 0) as server:
        control = await door.controls.make(server.sockets[0].getsockname()[:2], frozenset())
    assert isinstance(control.allowed, f.Tried) and not control.allowed.arrived
    assert colour(control) == "red"
