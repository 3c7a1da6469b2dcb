"""An administrator has checkpoints held outside, and a stranger checks the log against them."""

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import preloaded
from tests.service import Service
from tests.verifier.authority import Authority
from tests.verifier.standing import Standing

NAME = "office.example/witness"


@pytest.fixture
def house(tmp_path: Path, starter_wheel: Path) -> Service:
    """One that is not running: the command line opens it itself."""
    return Service(tmp_path / "data", starter_wheel)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def witness(house: Service, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """`intramural witness`, as it runs on another machine."""
    (tmp_path / "office").mkdir()
    house.command("audit", "ls")  # which makes the log, and its keys
    key, port = house.command("audit", "key")["public_key"], free_port()
    words = ["witness", str(tmp_path / "office"), NAME, key, "--port", str(port), "--json"]
    with (tmp_path / "witness.log").open("w") as log:
        process = preloaded.start(words, house.environ, log)
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if line.startswith("}"):
            break
    while True:  # it says its keys before it listens
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            break
        except ConnectionRefusedError:
            assert process.poll() is None
    yield json.loads(text)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


@pytest.mark.timeout(400)  # a dozen commands, each of which opens the house
def test_checkpoints_are_held_outside_and_a_stranger_checks_against_them(
    house: Service, witness: dict[str, Any], tmp_path: Path
) -> None:
    assert house.command("doctor")["anchors"].startswith("amber: ")
    stick = tmp_path / "stick"
    authority = Authority(tmp_path / "authority")
    with authority.serving() as stamping:
        house.settings |= {
            "INTRAMURAL_ANCHORS_FOLDERS": str(stick),
            "INTRAMURAL_ANCHORS_WITNESSES": f"{witness['address']} {witness['public_keys'][0]}",
            "INTRAMURAL_ANCHORS_STAMPERS": f"{stamping} {authority.root}",
        }
        assert house.command("doctor")["anchors"].startswith("red: ")
        failed = house.command("log", "anchor", check=False)
        assert failed.returncode == 1
        assert [each["error"] for each in json.loads(failed.stdout)] == [None, None, "anchor_unreachable"]
        stick.mkdir()
        assert {each["error"] for each in house.command("log", "anchor")} == {None}
        assert house.command("log", "anchors")["colour"] == "green"
        assert house.command("doctor")["anchors"].startswith("green: ")
    house.command("log", "paper", str(tmp_path / "paper.svg"))
    assert (tmp_path / "paper.svg").read_text().startswith("<svg")

    files = {name: tmp_path / name for name in ("log.jsonl", "entry.tlog-proof", "since.txt")}
    house.command("log", "export", str(files["log.jsonl"]))
    house.command("log", "prove", "0", str(files["entry.tlog-proof"]))
    old = min(each for each in stick.glob("*.txt") if each.name[12:] == ".txt")
    house.command("log", "since", str(int(old.stem)), str(files["since.txt"]))
    keys = house.command("audit", "key")
    stranger = Standing.made(tmp_path)
    both = [f"--key={keys[name]}" for name in ("public_key", "second_public_key")]
    outside = ["--held", stick, f"--witness-key={witness['public_keys'][1]}", "--stamp-root", authority.root]
    for command, name, more in (
        ("log", "log.jsonl", outside),
        ("proof", "entry.tlog-proof", []),
        ("consistency", "since.txt", ["--held", old]),
        ("checkpoint", old.name, []),
    ):
        found = stranger.run(command, files.get(name, old), *both, *more)
        assert found.status == 0, found.text
        kinds = {check for outcome, check in found.outcomes() if outcome == "holds"}
        assert kinds == ({"log", "held", "witness", "stamp"} if command == "log" else kinds) and kinds
    bad = files["log.jsonl"].read_bytes().replace(b'"outcome":"allowed"', b'"outcome":"refused"', 1)
    files["log.jsonl"].write_bytes(bad)
    found = stranger.run("log", files["log.jsonl"], *both, *outside)
    assert found.status == 1 and "first_wrong" in found.checks[-1]
