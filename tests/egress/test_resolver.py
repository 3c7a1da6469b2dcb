"""The stub resolver: its messages, its files, and what it does with servers of every kind."""

import asyncio
import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.nameserver import NameServer, answer

from intramural.egress.resolver import (
    AAAA,
    A,
    NameFiles,
    NoAnswer,
    NoSuchName,
    hosts_of,
    names_of,
    query,
    reply,
    resolve,
)
from intramural.egress.wire import Names


def names(*servers: NameServer, **more: object) -> Names:
    return Names(tuple(("127.0.0.1", each.port) for each in servers), **more)  # type: ignore[arg-type]


# files ----------------------------------------------------------------------------------------------------------------


def test_hosts() -> None:
    text = "127.0.0.1 localhost\n10.0.0.5\tHub.Example. hub # ours\n10.0.0.6 hub.example\nfe80::1%eth0 x\n?? y\n\n#"
    assert hosts_of(text) == {
        "localhost": ("127.0.0.1",),
        "hub.example": ("10.0.0.5", "10.0.0.6"),
        "hub": ("10.0.0.5",),
    }


def test_resolv_conf() -> None:
    text = "# hi\nnameserver 10.0.0.1\nnameserver ::1\nnameserver fe80::1%eth0\nnameserver x\n"
    text += "search a.example. b.example\noptions ndots:2 timeout:1 attempts:9 rotate\n"
    found = names_of(text)
    assert found.servers == (("10.0.0.1", 53), ("::1", 53))
    assert (found.search, found.ndots, found.timeout_s, found.attempts) == (("a.example", "b.example"), 2, 1.0, 5)
    assert names_of("").servers == (("127.0.0.1", 53),)


def test_files_are_read_again_when_they_change(tmp_path: Path) -> None:
    files = NameFiles(tmp_path / "hosts", tmp_path / "resolv.conf")
    assert files.known("hub.example") == ()
    assert (files.known("localhost"), files.known("a.localhost")) == (("127.0.0.1", "::1"),) * 2
    assert files.known("10.0.0.9") == ("10.0.0.9",) and files.known("::1") == ("::1",)
    (tmp_path / "hosts").write_text("10.0.0.5 hub.example\n")
    (tmp_path / "resolv.conf").write_text("nameserver 10.0.0.1\n")
    assert files.known("hub.example") == ("10.0.0.5",)
    assert files.names().servers == (("10.0.0.1", 53),)
    (tmp_path / "resolv.conf").write_text("nameserver 10.0.0.22\n")
    assert files.names().servers == (("10.0.0.22", 53),)


# messages -------------------------------------------------------------------------------------------------------------


def test_an_answer_is_read_along_its_aliases() -> None:
    packet = answer(query(7, "a.example", A), {("a.example", 5): ["b.example"], ("b.example", A): ["10.0.0.1"]})
    found = reply(packet, 7, "A.example.", A)
    assert found is not None and found.addresses == ("10.0.0.1",)


@pytest.mark.parametrize(("number", "name", "kind"), [(8, "a.example", A), (7, "b.example", A), (7, "a.example", AAAA)])
def test_an_answer_to_something_else_is_none(number: int, name: str, kind: int) -> None:
    packet = answer(query(7, "a.example", A), {("a.example", A): ["10.0.0.1"]})
    assert reply(packet, number, name, kind) is None


def test_records_of_other_names_do_not_count() -> None:
    packet = answer(query(7, "a.example", A), {("evil.example", A): ["10.6.6.6"]}, everything=True)
    found = reply(packet, 7, "a.example", A)
    assert found is not None and found.addresses == ()


def test_aliases_in_a_circle_lead_nowhere() -> None:
    records = {("a.example", 5): ["b.example"], ("b.example", 5): ["a.example"]}
    found = reply(answer(query(7, "a.example", A), records, everything=True), 7, "a.example", A)
    assert found is not None and found.addresses == ()


@pytest.mark.parametrize("name", ["", "a..b", "-a.example", "a" * 64, "x" * 300, "a b", "ü.example"])
def test_what_is_no_name_is_not_asked_for(name: str) -> None:
    with pytest.raises(ValueError):
        query(1, name, A)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_none_or_malformed(noise: bytes) -> None:
    begun = struct.pack("!6H", 7, 0x8180, 1, 2, 0, 0) + noise
    for packet in (noise, begun, query(7, "a.example", A)[:12] + noise):
        with contextlib.suppress(ValueError):
            reply(packet, 7, "a.example", A)


# asking ---------------------------------------------------------------------------------------------------------------


async def test_both_families_in_turn() -> None:
    async with NameServer({("a.example", A): ["10.0.0.1", "10.0.0.2"], ("a.example", AAAA): ["fc00::1"]}) as server:
        assert await resolve("a.example", names(server)) == ["fc00::1", "10.0.0.1", "10.0.0.2"]
        assert sorted(server.asked) == [("a.example", A), ("a.example", AAAA)], "each once"


async def test_the_search_list_is_for_short_names() -> None:
    records = {("hub.school.example", A): ["10.0.0.1"], ("a.b", A): ["10.0.0.2"]}
    async with NameServer(records) as server:
        asked = names(server, search=("school.example",))
        assert await resolve("hub", asked) == ["10.0.0.1"]
        assert await resolve("a.b", asked) == ["10.0.0.2"]


async def test_who_does_not_exist() -> None:
    async with NameServer({("other.example", A): ["10.0.0.1"]}) as server:
        for name in ("a.example", "a b.example"):
            with pytest.raises(NoSuchName):
                await resolve(name, names(server))


async def test_a_long_answer_is_fetched_by_tcp() -> None:
    many = [f"10.0.{each}.1" for each in range(40)]
    async with NameServer({("a.example", A): many}, truncate=True) as server:
        assert await resolve("a.example", names(server)) == many
        assert server.by_tcp > 0


async def test_the_next_server_is_asked_where_one_is_silent_or_fails() -> None:
    good: dict[tuple[str, int], list[str]] = {("a.example", A): ["10.0.0.1"]}
    async with NameServer(good) as server:
        for knobs in ({"silent": True}, {"code": 2}, {"garbage": True}):
            async with NameServer(good, **knobs) as bad:  # type: ignore[arg-type]  # knobs
                assert await resolve("a.example", names(bad, server, timeout_s=0.3)) == ["10.0.0.1"]


@pytest.mark.parametrize("knobs", [{"silent": True}, {"code": 2}, {"garbage": True}])
async def test_where_nobody_answers(knobs: dict[str, object]) -> None:
    async with NameServer({}, **knobs) as bad:  # type: ignore[arg-type]  # knobs
        with pytest.raises(NoAnswer):
            await resolve("a.example", names(bad, attempts=1, timeout_s=0.3))


async def test_one_family_does_not_wait_for_ever_for_the_other() -> None:
    async with NameServer({("a.example", A): ["10.0.0.1"]}, silent_for=AAAA) as server:
        assert await resolve("a.example", Names((("127.0.0.1", server.port),), timeout_s=600.0)) == ["10.0.0.1"]


async def test_an_answer_from_elsewhere_is_not_taken() -> None:
    """Whoever can send us packets, and guesses the number, is not the server that was asked."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))

    def forge(packet: bytes, who: tuple[str, int]) -> None:
        transport.sendto(answer(packet, {("a.example", A): ["10.6.6.6"]}, everything=True), who)

    async with NameServer({("a.example", A): ["10.0.0.1"]}, before=forge) as server:
        assert await resolve("a.example", names(server)) == ["10.0.0.1"]
    transport.close()
