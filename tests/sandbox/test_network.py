"""What a process has of a network, read off tables as the kernel writes them, and off our own."""

import os
import socket

import pytest

from intramural.sandbox import network

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 586 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 587 1 0 100 0 0 10 0
   2: 0A00000A:9C40 08080808:01BB 01 00000000:00000000 00:00000000 00000000    33        0 588 1 0 100 0 0 10 0
   3: 0A00000A:9C41 08080808:01BB 06 00000000:00000000 00:00000000 00000000     0        0 0 3 0
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when
   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 0:0 0 1000 0 600 1
   1: 0000000000000000FFFF00000100007F:0050 0000000000000000FFFF00000100007F:C350 01 0:0 0:0 0 1000 0 601 1
"""
UDP = """\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  100: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 700 2 0000 0
  101: 0A00000A:D431 08080808:0035 01 00000000:00000000 00:00000000 00000000     0        0 701 2 0000 0
"""
DEV = """\
Inter-|   Receive                                          |  Transmit
 face |bytes    packets errs drop fifo frame compr multicast|bytes  packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0     0         0        0       0    0    0    0     0       0          0
  eth0: 2019075    8845    0    0    0     0     0         0  5627879   60303    0    0    0     0       0          0
"""
LITTLE = pytest.mark.skipif(socket.ntohs(1) == 1, reason="the tables above are a little-endian processor's")


def ends(found: network.Socket) -> tuple[str, str, int, str, int]:
    return found.state, found.local, found.local_port, found.remote, found.remote_port


@LITTLE
def test_tcp_whose_connections_are_over_are_nobodys() -> None:
    found = network.parse_sockets("tcp", TCP)
    assert [ends(each) for each in found] == [
        ("listening", "127.0.0.1", 8080, "", 0),
        ("connected", "127.0.0.1", 8080, "127.0.0.1", 50000),
        ("connected", "10.0.0.10", 40000, "8.8.8.8", 443),
    ]
    assert [each.is_loopback for each in found] == [True, True, False]
    assert [(each.user, each.inode) for each in found] == [(1000, 586), (1000, 587), (33, 588)]


@LITTLE
def test_addresses_of_six_that_mean_four_are_said_as_four() -> None:
    found = network.parse_sockets("tcp6", TCP6)
    assert [ends(each) for each in found] == [
        ("listening", "::1", 80, "", 0),
        ("connected", "127.0.0.1", 80, "127.0.0.1", 50000),
    ]
    assert all(each.is_loopback for each in found)


@LITTLE
def test_udp_that_is_connected_to_nobody_takes_from_everybody() -> None:
    found = network.parse_sockets("udp", UDP)
    assert [ends(each) for each in found] == [
        ("listening", "0.0.0.0", 68, "", 0),
        ("connected", "10.0.0.10", 54321, "8.8.8.8", 53),
    ]


def test_packet_sockets() -> None:
    text = "sk RefCnt Type Proto Iface R Rmem User Inode\n00000000 3 3 0003 2 1 0 0 900\n"
    (found,) = network.parse_sockets("packet", text)
    assert (found.state, found.local, found.inode, found.is_loopback) == ("other", "", 900, False)


def test_interfaces_and_their_counters() -> None:
    assert network.parse_interfaces(DEV) == (
        network.Interface("lo", 0, 0, 0, 0),
        network.Interface("eth0", 2019075, 8845, 5627879, 60303),
    )


def test_our_own_sockets_are_among_those_of_our_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        found = [each for each in network.sockets(os.getpid()).found if each.local_port == port]
        assert [(each.state, each.local) for each in found] == [("listening", "127.0.0.1")]
        assert found[0].inode in network.own_sockets()
    assert network.place(os.getpid()) == network.place(os.getppid())
    assert any(each.name == "lo" for each in network.interfaces(os.getpid()))


def test_a_table_too_long_is_cut_at_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)):
        monkeypatch.setattr(network, "MOST_BYTES", 200)
        found = network.sockets(os.getpid())
    assert "tcp" in found.cut and not found.unread


def test_a_process_that_ended_has_no_network_even_before_it_was_waited_for() -> None:
    """Its tables are gone then, and must not be taken for empty ones."""
    with pytest.raises(ProcessLookupError):
        network.sockets(2**22 + 1)
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        with pytest.raises(ProcessLookupError):
            network.sockets(pid)
    finally:
        os.waitpid(pid, 0)
