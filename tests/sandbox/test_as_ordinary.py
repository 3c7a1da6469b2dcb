"""The tests of children and parsers once more, as an ordinary user: root hides failures."""

import os

from tests.sandbox.conftest import Runner


def test_children_and_parsers_as_an_ordinary_user(ordinary: Runner, open_tmp: str) -> None:
    if os.geteuid() != 0:
        return  # then they have run as one: nothing is left out
    modules = [f"tests/sandbox/test_{name}.py" for name in ("child", "run_once", "spawner", "told")]
    out = ordinary.run("-m", "pytest", "-p", "no:cacheprovider", "-n0", f"--basetemp={open_tmp}/pytest", *modules)
    assert " passed" in out
    assert "skipped" not in out
