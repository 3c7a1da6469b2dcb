"""What this machine can do is found out by doing, and never said better than it is."""

import json
import os

import pytest
from tests.sandbox.conftest import Runner

from intramural.core.errors import Untrusted
from intramural.sandbox import Launch, Level, allows, missing_layers, probe, run_once
from intramural.sandbox.posture import holding, level_of

_ALL = frozenset({"netns", "landlock", "seccomp"})


def test_probe_finds_everything_here(as_user: Runner) -> None:
    """The tests of confinement are meaningless on a machine that cannot confine, so there they fail."""
    found = json.loads(as_user.run("-m", "tests.sandbox.poorer_machine"))
    assert found["level"] == "full", found["reasons"]
    assert found["reasons"] == []
    assert (found["seccomp"], found["netns"], found["own_uid"]) == (True, True, as_user.who == "root")
    assert found["landlock_abi"] >= 1
    assert found["spawn"] is None


#: what the kernel lacks → (level, the layer that a spawn fails with, the layers behind a named downgrade)
_POORER = {
    "unshare": ("no-netns", "netns", ["landlock", "seccomp", "told"]),
    "landlock_create_ruleset": ("no-landlock", "landlock", ["netns", "seccomp", "told"]),
    "seccomp": ("none", "seccomp", None),
    "capset": ("none", "capabilities", None),
    "unshare landlock_create_ruleset": ("none", "landlock", None),
}


@pytest.mark.parametrize("lacking", _POORER)
def test_a_kernel_that_lacks_a_layer_fails_closed(lacking: str, as_user: Runner) -> None:
    level, layer, downgraded = _POORER[lacking]
    found = json.loads(as_user.run("-m", "tests.sandbox.poorer_machine", *lacking.split()))
    assert found["level"] == level, found
    assert found["spawn"] == ["confinement_failed", layer]
    assert found["downgraded"] == (downgraded and sorted([*downgraded, *(["uid"] if as_user.who == "root" else [])]))
    assert any(layer in reason for reason in found["reasons"])


def test_a_root_that_may_not_leave_the_network_has_its_workers_leave_it_as_others_do(open_tmp: str) -> None:
    """As in many containers: root without CAP_SYS_ADMIN."""
    if os.geteuid() != 0:
        return  # there is no root to be
    runner = Runner("root", open_tmp, ("setpriv", "--inh-caps=-sys_admin", "--bounding-set=-sys_admin"))
    found = json.loads(runner.run("-m", "tests.sandbox.poorer_machine"))
    assert (found["level"], found["netns"], found["own_uid"]) == ("full", True, True), found["reasons"]


async def test_probe_in_this_process() -> None:
    posture = await probe()
    assert posture.level is Level.FULL, posture.reasons


#: layers left out → what its witness reports
_ESCAPES = {
    frozenset[str](): [],
    frozenset({"netns"}): [],
    frozenset({"landlock"}): ["read a file"],
    frozenset({"seccomp"}): ["make a socket"],
}


@pytest.mark.parametrize("without", _ESCAPES)
async def test_the_witness_sees_what_is_missing(without: frozenset[str]) -> None:
    launch = Launch("parser", "intramural.sandbox.posture:witness", {}, without=without)
    found = await run_once(launch, 30)
    assert found["escapes"] == _ESCAPES[without]


async def test_a_witness_that_can_start_a_program_is_not_believed() -> None:
    launch = Launch("parser", "intramural.sandbox.posture:witness", {}, without=_ALL)
    with pytest.raises(Untrusted):
        await run_once(launch, 30)


@pytest.mark.parametrize("root", [True, False])
def test_an_escape_contradicts_its_layer(root: bool) -> None:
    uid = {"uid"} if root else set[str]()
    nothing = frozenset[str]()
    assert holding(nothing, [], root) == _ALL | uid
    assert holding(frozenset({"netns"}), [], root) == (_ALL | uid) - {"netns"}
    assert level_of(holding(nothing, ["read a file"], root)) is Level.NO_LANDLOCK
    assert level_of(holding(nothing, ["make a socket"], root)) is Level.NONE
    assert level_of(holding(nothing, ["start a program"], root)) is Level.NONE
    assert level_of(holding(nothing, ["something new"], root)) is Level.NONE
    assert level_of(holding(frozenset({"netns"}), ["read a file"], root)) is Level.NONE
    assert holding(nothing, None, root) == frozenset()


def test_levels() -> None:
    assert level_of(_ALL) is Level.FULL
    assert level_of(_ALL | {"uid"}) is Level.FULL
    assert level_of(_ALL - {"netns"}) is Level.NO_NETNS
    assert level_of(_ALL - {"landlock"}) is Level.NO_LANDLOCK
    for layers in (_ALL - {"seccomp"}, frozenset({"seccomp"}), frozenset({"netns"}), frozenset[str]()):
        assert level_of(layers) is Level.NONE


def test_what_a_level_allows() -> None:
    table = {
        "full": {Level.FULL},
        "no-netns": {Level.FULL, Level.NO_NETNS},
        "no-landlock": {Level.FULL, Level.NO_LANDLOCK},
        "none": set(),
        "": set(),
        "FULL": set(),
    }
    for required, satisfied in table.items():
        assert {level for level in Level if allows(required, level)} == satisfied, required
    assert {level: missing_layers(level) for level in Level} == {
        Level.FULL: frozenset(),
        Level.NO_NETNS: {"netns"},
        Level.NO_LANDLOCK: {"landlock"},
        Level.NONE: frozenset(),
    }
