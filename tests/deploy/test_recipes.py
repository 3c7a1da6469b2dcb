"""What is handed out to run the service with: read here as those would read it who run it, and run as far as can be."""

import json
import plistlib
import re
import shlex
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CONTAINER = DEPLOY / "container"
#: podman 5: podman-container.unit(5), podman-volume.unit(5), podman-network.unit(5); those that harden or that we use.
_KEYS = {
    "Container": {
        "AddCapability", "AddDevice", "ContainerName", "DropCapability", "Environment", "EnvironmentFile",
        "Exec", "GIDMap", "Group", "HealthCmd", "HealthInterval", "HealthOnFailure", "HealthRetries",
        "HealthStartPeriod",
        "HealthStartupCmd", "HealthStartupInterval", "Notify",
        "HealthTimeout", "Image", "Mask", "Memory", "Mount", "Network", "NoNewPrivileges", "PidsLimit",
        "PublishPort", "Pull", "ReadOnly", "ReadOnlyTmpfs", "RunInit", "SeccompProfile", "Secret",
        "SecurityLabelType", "ShmSize", "StopSignal", "StopTimeout", "Sysctl", "Tmpfs", "UIDMap", "Ulimit", "Unmask",
        "User", "UserNS", "Volume", "WorkingDir",
    },
    "Volume": {"Copy", "Device", "Driver", "Group", "Label", "Options", "Type", "User", "VolumeName"},
    "Network": {"DisableDNS", "Driver", "Gateway", "Internal", "IPv6", "NetworkName", "Options", "Subnet"},
}  # fmt: skip
_SYSTEMD = {"Unit", "Service", "Install"}


def _unit(file: Path) -> dict[str, list[tuple[str, str]]]:
    """Section → its keys and values, in order."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in file.read_text("utf-8").splitlines():
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), [])
        elif line and not line.startswith(("#", ";")):
            key, is_set, value = line.partition("=")
            assert is_set, line
            section.append((key, value))
    return found


# Quadlet --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file", [*sorted((DEPLOY / "quadlet").iterdir()), CONTAINER / "own-users.conf"], ids=lambda file: file.name
)
def test_quadlet_files_have_keys_that_podman_knows(file: Path) -> None:
    for section, pairs in _unit(file).items():
        if section not in _SYSTEMD:
            assert {key for key, _ in pairs} <= _KEYS[section], section


def test_the_container_is_as_hard_as_the_unit() -> None:
    given = dict(_unit(DEPLOY / "quadlet/intramural.container")["Container"])
    expected = {"DropCapability": "all", "NoNewPrivileges": "true", "ReadOnly": "true", "Network": "intramural.network"}
    assert {key: given[key] for key in expected} == expected
    assert int(given["User"]) >= 1000 and "PublishPort" not in given and "SeccompProfile" not in given
    assert dict(_unit(DEPLOY / "quadlet/intramural.network")["Network"])["Internal"] == "true"
    volume, place, options = given["Volume"].split(":")
    assert (DEPLOY / "quadlet" / volume).exists() and {"nosuid", "nodev", "noexec"} <= set(options.split(","))
    image = _last_stage()
    assert f"INTRAMURAL_DATA_DIR={place}" in image["ENV"] and image["USER"].split(":") == [
        given["User"],
        given["Group"],
    ]
    assert given["HealthCmd"] == given["HealthStartupCmd"]
    assert shlex.split(given["HealthCmd"]) == json.loads(image["HEALTHCHECK"].partition("CMD ")[2])


# the image ------------------------------------------------------------------------------------------------------------


def _steps() -> list[tuple[str, str]]:
    text = (CONTAINER / "Containerfile").read_text("utf-8").replace("\\\n", " ")
    return [
        (word, " ".join(rest.split()))
        for word, _, rest in (line.partition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    ]


def _last_stage() -> dict[str, str]:
    steps = _steps()
    start = max(number for number, (word, _) in enumerate(steps) if word == "FROM")
    return dict(steps[start:])


def test_the_image_is_made_of_what_is_there_and_of_nothing_else() -> None:
    for word, rest in _steps():
        assert word in {
            "ARG", "FROM", "COPY", "RUN", "ENV", "VOLUME", "EXPOSE", "USER", "WORKDIR", "STOPSIGNAL", "HEALTHCHECK",
            "ENTRYPOINT", "CMD",
        }, "nothing is fetched by ADD"  # fmt: skip
        if word == "FROM":
            assert rest.split()[0] == "${BASE}", "from wherever whoever builds it has images from"
        if word == "COPY" and not rest.startswith("--from=") and not rest.startswith("dist/"):
            assert (ROOT / rest.split()[0]).exists(), rest
    image = _last_stage()
    assert image["USER"].split(":")[0] not in ("0", "root")
    assert json.loads(image["ENTRYPOINT"]) + json.loads(image["CMD"]) == ["/opt/intramural/bin/intramural", "serve"]
    assert not re.search(r"https?://", (CONTAINER / "Containerfile").read_text("utf-8"))
    install = (CONTAINER / "install").read_text("utf-8")
    assert "--require-hashes" in install and "--only-binary :all:" in install
    assert subprocess.run(["sh", "-n", CONTAINER / "install"], check=False).returncode == 0


def test_the_user_of_the_image_is_made_by_its_step(tmp_path: Path) -> None:
    """The step as it is, in a root of its own."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "var/lib").mkdir(parents=True)
    script = (CONTAINER / "install").read_text("utf-8")
    for path in ("/etc/passwd", "/etc/group", "/var/lib/intramural"):
        script = script.replace(f">>{path}", f">>{tmp_path}{path}").replace(f" {path}\n", f" {tmp_path}{path}\n")
    script = script.replace("chown", ":")  # for which one has to be root
    assert subprocess.run(["sh", "-s", "user"], input=script, text=True, check=False).returncode == 0
    name, _, uid, gid, *_ = (tmp_path / "etc/passwd").read_text().split(":")
    assert f"{uid}:{gid}" == _last_stage()["USER"] and name == "intramural"
    assert (tmp_path / "var/lib/intramural").stat().st_mode & 0o777 == 0o700


# launchd --------------------------------------------------------------------------------------------------------------


def test_the_property_list_starts_an_engine_in_its_profile() -> None:
    with (DEPLOY / "launchd/engine.plist").open("rb") as file:
        found = plistlib.load(file)
    program = found["ProgramArguments"]
    assert program[0] == "/usr/bin/sandbox-exec" and Path(program[2]).name == "engine.sb"
    given = dict(each.split("=", 1) for before, each in pairwise(program) if before == "-D")
    profile = (DEPLOY / "launchd/engine.sb").read_text("utf-8")
    assert set(re.findall(r'\(param "(\w+)"\)', profile)) == set(given)
    [engine] = [each for each in program if each.endswith("llama-server")]
    assert engine == f"{given['PROGRAM']}/llama-server"
    after = dict(pairwise(program))
    assert after["--host"] == "127.0.0.1" and f'"localhost:{after["--port"]}"' in profile
    assert after["--model"].startswith(f"{given['MODELS']}/")
    assert found["UserName"] != "root" and found["Umask"] == 0o077


def test_the_profile_is_of_whole_expressions_and_denies_what_it_does_not_allow() -> None:
    text = re.sub(r";.*", "", (DEPLOY / "launchd/engine.sb").read_text("utf-8"))
    depth, forms, start = 0, [], 0
    for at, each in enumerate(re.sub(r'"[^"]*"', lambda match: "s" * len(match[0]), text)):
        if each == "(":
            start, depth = (at, depth + 1) if depth == 0 else (start, depth + 1)
        elif each == ")":
            depth -= 1
            assert depth >= 0
            if depth == 0:
                forms.append(text[start : at + 1])
    assert depth == 0 and forms[:2] == ["(version 1)", "(deny default)"]
    assert all(form.startswith("(allow ") for form in forms[2:])
    assert not any("network-outbound" in form or "network*" in form for form in forms)
    assert not any("process-exec" in form and "PROGRAM" not in form for form in forms)


# systemd --------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
def test_systemd_finds_the_unit_right_and_hard(tmp_path: Path) -> None:
    text = (DEPLOY / "systemd/intramural.service").read_text("utf-8")
    unit = tmp_path / "intramural.service"
    unit.write_text(text.replace("/opt/intramural/bin/intramural", "/bin/true"))  # it has to be there
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert verified.returncode == 0 and "intramural.service" not in verified.stderr, verified.stderr
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=25", "--no-pager", str(unit)]
    # It hides processes from whoever may not look into their memory: from the service, its own workers.
    assert dict(_unit(DEPLOY / "systemd/intramural.service")["Service"]).get("ProtectProc", "default") == "default"
    rated = subprocess.run(command, capture_output=True, text=True, check=False)
    assert rated.returncode == 0, rated.stdout[-2000:] + rated.stderr
