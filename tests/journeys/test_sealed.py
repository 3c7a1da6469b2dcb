"""The service as it runs: what it gave up, seen from outside, and that its work goes on without it."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from tests.fakes.gguf_file import tiny_model
from tests.service import MODEL, Service

from intramural.core.quiet import SWITCHES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, starter_wheel: Path) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("sealed") / "data", starter_wheel).running() as service:
        yield service


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: rest.strip() for name, _, rest in (line.partition(":") for line in lines)}


def test_every_process_is_behind_walls_and_the_machine_says_so(service: Service) -> None:
    machine = service.page("GET", "/machine").json()
    assert machine["seal"]["level"] == "full"
    assert machine["seal"]["connects"] == ([] if isinstance(service.database, Path) else ["storage.url"])
    gateway, spawner, worker, *others = machine["processes"]
    assert (gateway["name"], spawner["name"], worker["name"]) == ("gateway", "spawner", MODEL)
    assert {each["name"] for each in others} == {"egress"}, "what connects, and nothing else"
    assert (gateway["pid"], worker["interfaces"]) == (service.pid, ["lo"])
    assert machine["downgrades"] == []
    whole = {"holds"} if isinstance(service.database, Path) else {"holds", "left_out"}  # PostgreSQL has to be reached
    assert {wall["state"] for wall in gateway["walls"]} == whole
    for each in machine["processes"]:
        assert each is gateway or {wall["state"] for wall in each["walls"]} == {"holds"}, each
    assert gateway["sockets"] > gateway["internet"] >= 1, "it listens on one at least"
    assert (worker["sockets"], worker["internet"]) == (1, 0), "what it is asked on"
    assert spawner["layers"] == ["landlock", "seccomp"]
    for each in machine["processes"]:
        seen = _status(each["pid"])
        assert (seen["Seccomp"], seen["NoNewPrivs"]) == ("2", "1"), each
        assert each["seccomp"] and each["no_new_privileges"] and each["capabilities"] == seen["CapEff"]
    assert not any(int(each["capabilities"], 16) for each in (worker, *others))
    assert int(gateway["capabilities"], 16).bit_count() == (4 if os.geteuid() == 0 else 0)
    assert {"landlock", "seccomp"} <= set(gateway["layers"]) and {"landlock", "seccomp"} <= set(worker["layers"])
    for thread in Path(f"/proc/{service.pid}/task").iterdir():
        assert "Seccomp:\t2" in (thread / "status").read_text(), "all of its threads"
    assert int(Path(f"/proc/{worker['pid']}/stat").read_text().rpartition(")")[2].split()[1]) == spawner["pid"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may see the environment of what hides its memory")
def test_every_child_is_told_to_keep_quiet(service: Service) -> None:
    """The service itself is told at its entry: `tests/house/test_quiet`."""
    others = {each["name"]: each["pid"] for each in service.page("GET", "/machine").json()["processes"][1:]}
    assert set(others) == {"spawner", MODEL, "egress"}
    for name, pid in others.items():
        told = dict(each.split("=", 1) for each in Path(f"/proc/{pid}/environ").read_text().split("\0") if each)
        assert SWITCHES.items() <= told.items(), name
        assert not [each for each in told if each.startswith(("INTRAMURAL_", "AWS_", "HOME"))], name


def test_the_image_s_health_check_finds_it_well_and_finds_it_gone(service: Service) -> None:
    def status(port: str) -> int:
        script = str(ROOT / "deploy/container/healthcheck.py")
        return subprocess.run(
            [sys.executable, "-I", script], env={"INTRAMURAL_SERVER_PORT": port}, check=False
        ).returncode

    with socket.create_server(("127.0.0.1", 0)) as nobody:
        closed = str(nobody.getsockname()[1])
    assert (status(service.address.rpartition(":")[2]), status(closed)) == (0, 1)


def test_it_holds_no_way_around_its_filter(service: Service) -> None:
    held = [os.readlink(each) for each in Path(f"/proc/{service.pid}/fd").iterdir()]
    assert not [each for each in held if "io_uring" in each]


def test_it_answers_and_keeps_what_it_is_given(service: Service) -> None:
    client = service.client(service.new_key(scopes=["inference"]))
    said = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Hello"}], max_tokens=4)
    assert said.choices[0].message.content
    large = b"a line of text\n" * 200_000  # larger than what is kept in memory on its way in
    kept = client.files.create(file=("notes.txt", large), purpose="user_data")
    assert client.files.content(kept.id).read() == large


def test_the_verifier_is_handed_out_to_anybody_as_the_reference_names_it(service: Service, tmp_path: Path) -> None:
    found = requests.get(f"{service.address}/intramural/v1/verifier", timeout=30).json()
    data = requests.get(f"{service.address}/intramural/v1/verifier/{found['name']}", timeout=30).content
    assert data == (ROOT / "verifier" / found["name"]).read_bytes()
    assert found["sha256"] == hashlib.sha256(data).hexdigest()
    assert found["sha256"] in (ROOT / "docs/reference/verifier.md").read_text("utf-8")
    assert service.command("log", "verifier", str(tmp_path / "v.py"))["sha256"] == found["sha256"]
    assert (tmp_path / "v.py").read_bytes() == data


def test_what_a_command_names_is_lent_and_what_the_page_names_is_not(service: Service, tmp_path: Path) -> None:
    model = tmp_path / "small-model.gguf"
    model.write_bytes(tiny_model())
    begun = service.page("POST", "/pulls", json={"source": f"file:{model}"}).json()
    events = service.page("GET", f"/pulls/{begun['id']}/events").text
    assert "file_not_readable" in events and "sandbox.read_folders" in events
    pulled = service.command("pull", f"file:{model}")
    assert pulled["model"].startswith("small-model")
    assert model.exists() and not list((service.data_dir / "lent").iterdir())
    bundle = tmp_path / "out.bundle"
    service.command("bundle", "export", pulled["model"], "--to", str(bundle), "--unsigned")
    assert bundle.stat().st_size > model.stat().st_size


def test_without_its_spawner_it_ends_and_says_why(tmp_path: Path, starter_wheel: Path) -> None:
    service = Service(tmp_path / "data", starter_wheel).start()
    service.set_up()
    processes = {each["name"]: each["pid"] for each in service.page("GET", "/machine").json()["processes"]}
    os.kill(processes["spawner"], signal.SIGKILL)
    assert service.process is not None and service.process.wait(60) == 1
    assert "The process that starts workers has ended" in (tmp_path / "service.log").read_text()
