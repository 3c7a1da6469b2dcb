"""Running parts of this directory as root and as an ordinary user, whoever runs the tests."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Who the ordinary user is when root runs the tests: another one in each process that runs tests, because the kernel
#: counts the processes of a user together, and one's 300 threads would keep another's from starting any. It may read
#: our interpreter and sources, wherever they lie, by a capability that a confined child gives up with all others.
_ORDINARY = 61_200 + os.getpid() % 4_000
_MAY_READ = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search")
AS_ORDINARY = (
    *("setpriv", f"--reuid={_ORDINARY}", f"--regid={_ORDINARY}", "--clear-groups"),
    *(*_MAY_READ, "--bounding-set=-all,+dac_read_search"),
)


class Runner:
    """Starts Python modules as one of the users: "root" or "ordinary"."""

    def __init__(self, who: str, temporary: str, prefix: tuple[str, ...] = ()) -> None:
        self.who = who
        self._temporary = temporary
        self._prefix = AS_ORDINARY if who == "ordinary" and os.geteuid() == 0 else prefix

    def run(self, *arguments: str) -> str:
        """`python arguments…` from the repository's root; its standard output. Fails the test when it fails."""
        done = subprocess.run(
            [*self._prefix, sys.executable, *arguments],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
                "PYTHONDONTWRITEBYTECODE": "1",
                "TMPDIR": self._temporary,
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def users() -> tuple[str, ...]:
    """Both users where we can be both. Only root can; an ordinary user tests what an ordinary user gets."""
    return ("root", "ordinary") if os.geteuid() == 0 else ("ordinary",)


@pytest.fixture(scope="session")
def open_tmp() -> Iterator[str]:
    """A short path under which every user may make files."""
    with tempfile.TemporaryDirectory(prefix="intramural-tests-") as name:
        Path(name).chmod(0o1777)
        yield name


@pytest.fixture(scope="session", params=users())
def as_user(request: pytest.FixtureRequest, open_tmp: str) -> Runner:
    """A test with this fixture runs once as root (if we are) and once as an ordinary user."""
    return Runner(request.param, open_tmp)


@pytest.fixture(scope="session")
def ordinary(open_tmp: str) -> Runner:
    """Runs things as an ordinary user."""
    return Runner("ordinary", open_tmp)
