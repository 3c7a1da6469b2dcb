"""What a machine can have at all, by its facts: a table of machines that are not here."""

import os
import subprocess
import sys

import pytest

from intramural.core.errors import Broken
from intramural.sandbox.machine import Machine, here, lacking, shown, unsealable
from intramural.sandbox.posture import Level, impossible
from intramural.sandbox.seal import LEVELS, SealLevel, require_sealable

_NEW = Machine("Linux", "x86_64", 7)
#: machine → (what workers cannot have; what the seal cannot, at `full` and at `no-landlock`)
_TABLE: dict[Machine, tuple[set[str], set[str], set[str]]] = {
    _NEW: (set(), set(), set()),
    Machine("Linux", "aarch64", 2): (set(), set(), set()),
    Machine("Linux", "x86_64", 1): (set(), {"landlock"}, set()),  # Linux 5.13 to 5.18
    Machine("Linux", "x86_64", 0): ({"landlock"}, {"landlock"}, set()),
    Machine("Linux", "riscv64", 7): ({"seccomp"}, {"seccomp"}, {"seccomp"}),
    Machine("Linux", "riscv64", 0): ({"landlock", "seccomp"}, {"landlock", "seccomp"}, {"seccomp"}),
    Machine("Darwin", "arm64", 0): ({"netns", "landlock", "seccomp"}, {"landlock", "seccomp"}, {"seccomp"}),
    Machine("FreeBSD", "amd64", 0): ({"netns", "landlock", "seccomp"}, {"landlock", "seccomp"}, {"seccomp"}),
    Machine("", "", 0): ({"netns", "landlock", "seccomp"}, {"landlock", "seccomp"}, {"seccomp"}),
}


@pytest.mark.parametrize("machine", _TABLE)
def test_what_a_machine_lacks(machine: Machine) -> None:
    workers, full, without_landlock = _TABLE[machine]
    assert set(lacking(machine)) == workers
    assert set(unsealable(machine, "full")) == full
    assert set(unsealable(machine, "no-landlock")) == without_landlock
    assert set(unsealable(machine, "off")) == set()


@pytest.mark.parametrize("machine", _TABLE)
@pytest.mark.parametrize("level", LEVELS)
def test_what_is_asked_for_and_cannot_be_had_stops_the_start_and_is_named(level: SealLevel, machine: Machine) -> None:
    missing = unsealable(machine, level)
    if not missing:
        require_sealable(level, machine)
        return
    with pytest.raises(Broken) as caught:
        require_sealable(level, machine)
    assert caught.value.code == "seal_failed" and "missing: " in caught.value.message
    assert all(f"{layer} ({why})" in caught.value.message for layer, why in missing.items())
    assert ("no-landlock" in caught.value.hint) == (set(missing) == {"landlock"}), "a way out is named if it is one"


def test_elsewhere_than_on_linux_no_model_is_confined_and_the_posture_says_why() -> None:
    posture = impossible(Machine("Darwin", "arm64", 0))
    assert posture.level is Level.NONE and not (posture.netns or posture.seccomp or posture.landlock_abi)
    assert posture.reasons == (
        "missing: netns (Darwin has none), landlock (Darwin has none), seccomp (Darwin has none)",
    )


def test_a_command_elsewhere_says_so_and_does_nothing() -> None:
    program = "import platform; platform.system = lambda: 'Darwin'; from intramural.cli import main; main()"
    environ = {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Darwin has no Landlock" in done.stderr and "system_unsupported" in done.stderr


def test_this_machine_lacks_nothing() -> None:
    """The tests of confinement are meaningless on one that does."""
    assert lacking(here()) == {} and shown(unsealable(here(), "full")) == "missing: "
