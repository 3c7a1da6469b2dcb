"""Nothing leaves: a day of an institution in a network whose only way out counts every packet, look-ups included.

A zero proves nothing by itself: each time something leaks on purpose at the end, and has to be seen.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests import sink
from tests.sandbox.conftest import AS_ORDINARY, ROOT, open_tmp  # noqa: F401 — a fixture

pytestmark = pytest.mark.sqlite(reason="a server of theirs could not be reached from in there")
#: Modules of ours that need an extra, which may not be installed.
_EXTRAS = {"intramural.guard.reading"}
_GETENT = ("getent", "ahosts", "canary.invalid")


def inside(words: Sequence[str], *, prefix: Sequence[str] = (), shut: bool = False) -> sink.Report:
    """A program of ours in the sink; skips where nobody gives us one."""
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("INTRAMURAL_")},
        "INTRAMURAL_TEST_WHEELS": os.environ.get("INTRAMURAL_TEST_WHEELS") or str(ROOT / ".cache/wheels"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry)]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        return sink.run([sys.executable, *words], prefix=prefix, shut=shut, cwd=ROOT, env=env, timeout_s=500)
    except sink.NoNamespacesError as error:
        pytest.skip(f"this machine gives no network of one's own: {error}")


@pytest.mark.timeout(600)
def test_a_day_leaves_nothing_and_a_leak_is_seen(tmp_path: Path, starter_wheel: Path) -> None:
    found = inside(["-m", "tests.journeys.a_day", "day", str(tmp_path), str(starter_wheel)])
    assert found.status == 0, f"{found.output[-6000:]}\nleft: {found.packets[:20]}"
    steps = [line for line in found.output.splitlines() if line.startswith("step: ")]
    assert len(steps) == 15 and steps[-1] == "step: a leak is noticed"
    # The sink's word, packet by packet: first the leak, then what an administrator allowed, and nothing before.
    assert found.counted == len(found.packets) > 0
    first = found.packets[0]
    assert (first.kind, first.to, first.name) == ("dns", sink.NAMESERVER, "canary.invalid"), found.packets[:20]
    assert {(each.kind, each.to, each.name) for each in found.packets} == {
        ("dns", sink.NAMESERVER, "canary.invalid"),
        ("tcp", sink.OUTSIDE, ""),
    }


@pytest.mark.timeout(300)
def test_where_there_is_no_way_out_nothing_looks_for_one(open_tmp: str) -> None:  # noqa: F811
    """As an ordinary user, where we can be one."""
    folder = Path(open_tmp) / "shut"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    prefix = AS_ORDINARY if os.geteuid() == 0 else ()
    found = inside(["-m", "tests.journeys.a_day", "shut", str(folder)], prefix=prefix, shut=True)
    assert found.status == 0, found.output[-6000:]
    assert [line for line in found.output.splitlines() if line.startswith("step: ")][-1] == "step: a leak is noticed"


def test_an_ordinary_user_may_have_a_sink_too(open_tmp: str) -> None:  # noqa: F811
    """What the tests above rest on, where nobody is root: a namespace of users."""
    prefix = AS_ORDINARY if os.geteuid() == 0 else ()
    report = Path(open_tmp) / "report"
    words = [*prefix, sys.executable, "-I", sink.__file__, str(report), *_GETENT]
    ended = subprocess.run(words, timeout=60, check=False).returncode
    if ended == sink.NOT_HERE:
        pytest.skip("this machine gives ordinary users no network of their own")
    assert ended == 0
    told = json.loads(report.read_text())
    assert {(each["kind"], each["name"]) for each in told["packets"]} == {("dns", "canary.invalid")}
    assert told["counted"] == len(told["packets"]) > 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("words", "least"), [([], 80), pytest.param(["--whole"], 2_500, marks=pytest.mark.slow)], ids=["packages", "whole"]
)
def test_nothing_reaches_for_a_network_when_it_is_imported(words: list[str], least: int) -> None:
    found = inside([str(ROOT / "tests/house/imports_everything.py"), *words])
    assert found.status == 0, found.output[-4000:]
    told = json.loads(found.output.splitlines()[-1])
    assert told["reached"] == [] and set(told["ours"]) <= _EXTRAS and found.packets == (), found.output[-4000:]
    assert told["own"] > 500 and told["others"] - len(told["left_out"]) > least, "what was to be imported was not"
