"""The image is built by podman and runs as its Quadlet unit says: what stands around the service and its workers there.

`make container`, not by `make test`: it takes minutes, podman 5, and the registries of packages that pip and the base
image's apt are set up for. Where something of this is not there, it is skipped, with the reason.

    INTRAMURAL_TEST_PODMAN       another podman than the one that is found
    INTRAMURAL_TEST_QUADLET      another generator of units than podman's in its usual place
    INTRAMURAL_TEST_BUILD_WORDS  more words for `podman build`,
    INTRAMURAL_TEST_RUN_WORDS    or for `podman run`, where the machine lacks something
    INTRAMURAL_TEST_IMAGE        an image that was built already
    INTRAMURAL_TEST_BASE         an image to build it of; else a Debian is made by mmdebstrap
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.deploy.test_recipes import DEPLOY, ROOT
from tests.service import MODEL, eventually

pytestmark = [pytest.mark.container, pytest.mark.timeout(1800)]
PODMAN = os.environ.get("INTRAMURAL_TEST_PODMAN") or shutil.which("podman")
_QUADLET = "/usr/libexec/podman/quadlet"
_NAME = "intramural-tested"
#: Where pip finds, while the image is built, what it is told on this machine. Nothing of it stays in the image.
_PIP, _PIP_CA = "/etc/pip.conf", "/etc/pip-ca.crt"


def podman(*words: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
    assert PODMAN
    done = subprocess.run([PODMAN, *words], capture_output=True, text=True, check=False, **more)
    assert not check or done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Built of this tree by its recipe, in a context of nothing but what the recipe names."""
    if PODMAN is None:
        pytest.skip("there is no podman here")
    if given := os.environ.get("INTRAMURAL_TEST_IMAGE"):
        return given
    folder = tmp_path_factory.mktemp("image")
    context = folder / "context"
    shutil.copytree(DEPLOY / "container", context / "deploy/container")
    (context / "locks").mkdir()
    shutil.copy(ROOT / "locks/run.txt", context / "locks")
    wheel = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(context / "dist")]
    subprocess.run(wheel, cwd=ROOT, check=True, capture_output=True)
    words = ["-f", "deploy/container/Containerfile", f"--build-arg=BASE={_base(folder)}", "--network=host"]
    more = shlex.split(os.environ.get("INTRAMURAL_TEST_BUILD_WORDS", ""))
    podman("build", *words, *_as_pip_is_told_here(folder), *more, "-t", f"localhost/{_NAME}:latest", ".", cwd=context)
    return f"localhost/{_NAME}:latest"


def _as_pip_is_told_here(folder: Path) -> list[str]:
    told = {"cert": _PIP_CA} if "PIP_CERT" in os.environ else {}
    told |= {"index-url": os.environ["PIP_INDEX_URL"]} if "PIP_INDEX_URL" in os.environ else {}
    (folder / "pip.conf").write_text(
        "\n".join(["[global]", *(f"{name} = {value}" for name, value in told.items()), ""])
    )
    files = {folder / "pip.conf": _PIP}
    if "PIP_CERT" in os.environ:
        files[Path(shutil.copy(os.environ["PIP_CERT"], folder / "pip-ca.crt"))] = _PIP_CA
    return [f"--volume={here}:{there}:ro" for here, there in files.items()]


def _base(folder: Path) -> str:
    if given := os.environ.get("INTRAMURAL_TEST_BASE"):
        return given
    if shutil.which("mmdebstrap") is None:
        pytest.skip("there is neither mmdebstrap nor a base image (INTRAMURAL_TEST_BASE)")
    root = folder / "base.tar"
    subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", "bookworm", str(root)], check=True)
    podman("import", str(root), f"localhost/{_NAME}-base:latest")
    root.unlink()
    return f"localhost/{_NAME}-base:latest"


def _said_by_quadlet() -> list[str]:
    """The words that the unit becomes, as podman's own generator has them."""
    program = os.environ.get("INTRAMURAL_TEST_QUADLET", _QUADLET)
    if not shutil.which(program):
        pytest.skip(f"there is no {program} here")
    env = {"QUADLET_UNIT_DIRS": str(DEPLOY / "quadlet"), "PATH": os.environ["PATH"]}
    done = subprocess.run([program, "-dryrun"], capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0 and "unsupported" not in done.stderr, done.stderr
    _, _, unit = done.stdout.partition("---intramural.service---")
    (line,) = [each for each in unit.splitlines() if each.startswith("ExecStart=")]
    return shlex.split(line.removeprefix("ExecStart="))


def _as_the_unit_says(image: str, wheel: Path) -> list[str]:
    """The same words, without systemd around them, with names of this test's own, and with a model to begin with."""
    words = _said_by_quadlet()
    of_systemd = ("--cidfile=", "--sdnotify=", "--cgroups=", "--rm")
    kept = [each for each in words[1:-1] if not each.startswith(of_systemd)]
    named = {"intramural": _NAME, "intramural-data": f"{_NAME}-data"}
    renamed = [":".join((named.get(first, first), *rest)) for first, *rest in (each.split(":") for each in kept)]
    model = [f"--volume={wheel}:/models/{wheel.name}:ro", f"--env=INTRAMURAL_LIBRARY_STARTER=/models/{wheel.name}"]
    return [*renamed, *model, *shlex.split(os.environ.get("INTRAMURAL_TEST_RUN_WORDS", "")), image]


@dataclass(frozen=True)
class Container:
    """The running one; `words` as podman was given them."""

    words: list[str]

    def intramural(self, *words: str, stdin: str = "") -> Any:
        """`intramural … --json` inside, parsed."""
        return json.loads(self.run("intramural", *words, "--json", stdin=stdin).stdout)

    def run(self, *words: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        return podman("exec", "-i", _NAME, *words, check=check, input=stdin)


@pytest.fixture(scope="module")
def container(image: str, starter_wheel: Path) -> Iterator[Container]:
    words = _as_the_unit_says(image, starter_wheel.resolve())
    podman("network", "create", "--ignore", "--disable-dns", "--internal", _NAME)
    try:
        podman(*words)
        eventually(lambda: podman("healthcheck", "run", _NAME, check=False).returncode == 0)
        yield Container(words)
    finally:
        podman("rm", "-f", "-v", "-i", "-t", "10", _NAME, check=False)
        podman("volume", "rm", "-f", f"{_NAME}-data", check=False)
        podman("network", "rm", "-f", _NAME, check=False)


def _status(container: Container) -> dict[str, str]:
    """Of the service itself, which is the container's first process."""
    lines = container.run("cat", "/proc/1/status").stdout.splitlines()
    return {name: rest.strip() for name, _, rest in (line.partition(":") for line in lines)}


def test_it_runs_as_nobody_with_nothing_and_writes_to_its_data_alone(container: Container) -> None:
    status = _status(container)
    assert status["Uid"].split() == ["10001"] * 4 and status["NoNewPrivs"] == "1"
    assert {int(status[each], 16) for each in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    for place in ("/", "/opt/intramural", "/etc", "/usr/bin"):
        assert container.run("touch", f"{place}/x", check=False).returncode, place
    assert container.run("sh", "-c", "command -v cc gcc ld make pip pip3 curl wget", check=False).stdout == ""
    for left in ("/opt/install", "/src", _PIP, _PIP_CA):
        assert container.run("test", "-s", left, check=False).returncode, f"{left} is of the building"


def test_every_wall_stands_but_a_user_for_each_worker(container: Container) -> None:
    eventually(lambda: [each for each in container.intramural("ls") if each["state"] == "ready"])
    found = container.intramural("doctor")
    assert (found["level"], found["serves_models"], found["downgrades"]) == ("full", True, [])
    assert found["unprivileged_user"] is False, "it is not root in there, so it has no other users to give"
    assert found["seal"]["level"] == "full"
    roles = [each["role"] for each in found["processes"]]
    assert roles == ["gateway", "spawner", "worker"], "and no broker, since nothing may leave"
    assert {wall["state"] for each in found["processes"] for wall in each["walls"]} == {"holds"}
    worker = found["processes"][-1]
    assert (worker["interfaces"], worker["capabilities"]) == (["lo"], "0" * 16)
    assert set(worker["layers"]) == {"netns", "landlock", "seccomp"}


_ASK = """
import http.client, json, sys
asked = {"model": sys.argv[2], "messages": [{"role": "user", "content": "Name a colour."}], "max_tokens": 8}
connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=60)
connection.request("POST", "/v1/chat/completions", json.dumps(asked), {"Authorization": "Bearer " + sys.argv[1]})
answer = connection.getresponse()
print(answer.status, answer.read().decode())
"""


def test_a_model_answers_in_it(container: Container) -> None:
    container.intramural("user", "add", "ada", "--admin", "--password-stdin", stdin="a long enough password")
    secret = container.intramural("key", "add", "test", "--user", "ada")["secret"]
    said = container.run("python", "-I", "-", secret, MODEL, stdin=_ASK).stdout
    status, _, body = said.partition(" ")
    assert status == "200" and json.loads(body)["usage"]["completion_tokens"] > 0, said
    attested = container.run("intramural", "attest", "--json", check=False)
    assert attested.returncode == 0, attested.stdout[-3000:]


def test_it_ends_when_it_is_told_to(container: Container) -> None:
    podman("stop", "-t", "30", _NAME)
    assert podman("inspect", "-f", "{{.State.ExitCode}}", _NAME).stdout.strip() == "0", "it ended by itself"
