"""The packet filter, as the kernel tells it to whoever may know; and what is made of messages that are cut short."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sandbox.conftest import ROOT
from tests.sandbox.filtering import attribute, message

from intramural.sandbox.packetfilter import understood

_SCRIPT = Path(__file__).with_name("filtering.py")


def _apart(*ways: str, words: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """The script in namespaces of its own; skips where there are none to be had."""
    command = ["unshare", "--user", "--map-root-user", *ways]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine gives nobody a user namespace")
    env = {"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"}
    asked = [*command, sys.executable, str(_SCRIPT), *words]
    return subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60, env=env)


def test_what_the_kernel_says_of_rules_that_it_was_given() -> None:
    done = _apart("--net")
    if "Errno 95" in done.stderr or "Errno 93" in done.stderr:
        pytest.skip("this kernel has no nftables")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    before, after = found["before"], found["after"]
    assert (before["tables"], before["chains"], before["rules"]) == (0, [], 0)
    assert after["chains"] == [
        {"family": "inet", "table": "wall", "name": "out", "type": "filter", "hook": "output", "priority": -5,
         "drops": True, "rules": 1}
    ]  # fmt: skip
    assert (after["tables"], after["rules"]) == (1, 1)
    assert after["sha256"] != before["sha256"]


def test_it_is_told_to_nobody_who_does_not_administer_the_network() -> None:
    done = _apart(words=("strange",))
    assert done.returncode and "PermissionError" in done.stderr


def _rule(packets: int, to: str) -> bytes:
    counter = attribute(1, b"counter\0") + attribute(2, packets.to_bytes(8, "big"))
    expressions = attribute(1, counter) + attribute(1, attribute(1, b"immediate\0") + attribute(2, to.encode()))
    return message(6, 0, 2, attribute(1, b"filter\0") + attribute(2, b"OUTPUT\0") + attribute(4, expressions))


def test_what_counts_packets_makes_no_difference_and_what_they_do_makes_one() -> None:
    one, later, other = (understood(1, b"", b"", rule).sha256 for rule in (_rule(1, "a"), _rule(9, "a"), _rule(1, "b")))
    assert one == later != other


def test_chains_of_other_families_pass_at_other_places() -> None:
    def hooked(family: int, number: int) -> str:
        hook = attribute(4, attribute(1, number.to_bytes(4, "big")))
        (chain,) = understood(1, b"", message(3, 0, family, attribute(1, b"t\0") + hook), b"").chains
        return f"{chain.family} {chain.hook}"

    assert [hooked(2, 3), hooked(3, 1), hooked(5, 1), hooked(99, 77)] == [
        "ip output", "arp output", "netdev egress", "99 77",
    ]  # fmt: skip


@given(st.binary(max_size=200), st.integers(0, 120))
def test_no_bytes_upset_it(noise: bytes, cut: int) -> None:
    whole = _rule(1, "a") + message(3, 0, 2, attribute(1, b"t\0") + attribute(4, noise[:40]))
    for data in (noise, whole[:cut], whole[:cut] + noise):
        understood(1, data, data, data)
