"""What was asked for, against what the kernel says: every wall of every kind of process."""

import os
import socket
from dataclasses import replace

import pytest

from intramural.sandbox.identity import SERVICE_KEEPS
from intramural.sandbox.readback import Held, Role, held
from intramural.sandbox.walls import Asked, walls

_ROOT = Asked(seal="full", connects=(), without=frozenset(), user=0)
_KEEPS = f"{SERVICE_KEEPS:016x}"
_NOTHING = "0" * 16
_OTHERS = ("user", "privileges", "capabilities", "seccomp", "landlock")


def _process(role: Role, **given: object) -> Held:
    """One around which everything is as it should be, where the service is root."""
    layers = {"gateway": ("capabilities", "landlock", "seccomp", "no-internet"), "spawner": ("landlock", "seccomp")}
    own = role in ("worker", "child")
    whole = Held(
        name=role,
        role=role,
        pid=7,
        user=0 if role in layers else 61_000,
        seccomp=True,
        filters=1,
        no_new_privileges=True,
        capabilities={"gateway": _KEEPS, "spawner": "f" * 10}.get(role, _NOTHING),
        interfaces=("lo",) if own else ("lo", "eth0"),
        network=None,
        sockets=1 if own else None,
        internet=0 if own else None,
        layers=layers.get(role, ("netns", "uid", "landlock", "seccomp")),
    )
    return replace(whole, **given)  # type: ignore[arg-type]


#: role → its walls, in order
_WALLS: dict[Role, tuple[str, ...]] = {
    "gateway": ("privileges", "capabilities", "seccomp", "landlock", "internet"),
    "spawner": ("privileges", "seccomp", "landlock"),
    "broker": _OTHERS,
    "worker": (*_OTHERS, "network"),
    "child": (*_OTHERS, "network"),
}


@pytest.mark.parametrize("role", _WALLS)
def test_what_is_whole_holds(role: Role) -> None:
    found = walls(_process(role), _ROOT)
    assert tuple(each.name for each in found) == _WALLS[role]
    assert {each.state for each in found} == {"holds"}
    assert {each.name for each in found if not each.kernel} <= {"landlock", "internet"}, "the rest is the kernel's word"


#: (role, what is other than it should be, the wall that is missing then)
_HOLES: tuple[tuple[Role, dict[str, object], str], ...] = (
    ("gateway", {"capabilities": f"{SERVICE_KEEPS | 1 << 21:016x}"}, "capabilities"),
    ("gateway", {"layers": ("landlock", "seccomp")}, "internet"),
    ("spawner", {"seccomp": False}, "seccomp"),
    ("spawner", {"layers": ()}, "landlock"),
    ("broker", {"user": 0}, "user"),
    ("broker", {"no_new_privileges": False}, "privileges"),
    ("worker", {"capabilities": "0000000000000001"}, "capabilities"),
    ("worker", {"interfaces": ("lo", "eth0")}, "network"),
    ("worker", {"internet": 1}, "network"),
    ("child", {"layers": ("netns", "seccomp")}, "landlock"),
)


@pytest.mark.parametrize(("role", "other", "wall"), _HOLES)
def test_what_was_asked_for_and_is_not_there_is_missing(role: Role, other: dict[str, object], wall: str) -> None:
    found = walls(_process(role, **other), _ROOT)
    assert [each.name for each in found if each.state == "missing"] == [wall]
    assert [each.name for each in found if each.state == "left_out"] == []


#: (who, what the settings say, what is not there, setting, the walls that it leaves out)
_NAMED: tuple[tuple[Role, Asked, dict[str, object], str, set[str]], ...] = (
    ("gateway", replace(_ROOT, seal="no-landlock"), {"layers": ("no-internet",)}, "sandbox.seal", {"landlock"}),
    (
        "gateway",
        replace(_ROOT, seal="off"),
        {"layers": (), "seccomp": False, "no_new_privileges": False, "capabilities": "f" * 10},
        "sandbox.seal",
        set(_WALLS["gateway"]),
    ),
    ("gateway", replace(_ROOT, connects=("storage.url",)), {"layers": ("landlock",)}, "storage.url", {"internet"}),
    (
        "gateway",
        replace(_ROOT, seal=None),
        {"layers": (), "seccomp": False},
        "command",
        {"seccomp", "landlock", "internet"},
    ),
    ("spawner", replace(_ROOT, seal="off"), {"layers": ()}, "sandbox.seal", {"landlock"}),
    (
        "worker",
        replace(_ROOT, without=frozenset({"netns"})),
        {"interfaces": ("lo", "eth0")},
        "sandbox.required_level",
        {"network"},
    ),
    ("worker", replace(_ROOT, without=frozenset({"landlock"})), {"layers": ()}, "sandbox.required_level", {"landlock"}),
)


@pytest.mark.parametrize(("role", "asked", "other", "setting", "out"), _NAMED)
def test_what_settings_name_is_left_out_and_no_more(
    role: Role, asked: Asked, other: dict[str, object], setting: str, out: set[str]
) -> None:
    found = walls(_process(role, **other), asked)
    assert {each.name: each.setting for each in found if each.state == "left_out"} == dict.fromkeys(out, setting)
    assert [each.name for each in found if each.state == "missing"] == []


def test_an_allowance_does_not_excuse_another_hole() -> None:
    asked = replace(_ROOT, seal="no-landlock", without=frozenset({"netns"}))
    assert [each.name for each in walls(_process("worker", seccomp=False), asked) if each.state == "missing"] == [
        "seccomp"
    ]
    assert [each.name for each in walls(_process("spawner", seccomp=False), asked) if each.state == "missing"] == [
        "seccomp"
    ]
    assert {each.state for each in walls(_process("worker"), asked)} == {"holds"}, "what is not asked for may hold"


def test_an_ordinary_users_children_are_that_user() -> None:
    found = walls(_process("worker", user=1000), replace(_ROOT, user=1000))
    assert "user" not in {each.name for each in found} and {each.state for each in found} == {"holds"}


def test_of_ourselves_every_socket_is_counted() -> None:
    before = held("gateway", "gateway", os.getpid())
    with socket.socket(socket.AF_UNIX), socket.create_server(("127.0.0.1", 0)):
        now = held("gateway", "gateway", os.getpid())
    assert before is not None and before.sockets is not None and before.internet is not None
    assert now is not None and (now.sockets, now.internet) == (before.sockets + 2, before.internet + 1)
    assert held("nobody", "worker", 2**22 + 1) is None
