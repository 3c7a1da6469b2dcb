"""Libraries are told to keep quiet before one of them is imported. (Children: `tests/journeys/test_sealed`.)"""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

from intramural.core.quiet import SWITCHES

#: Runs the program as `python -m intramural version`, and says what the environment was when the first module came that
#: is neither Python's nor `core`.
_WATCHED = """
import json, os, runpy, sys
own = {"intramural", "intramural.__main__", "intramural.core", "intramural.core.quiet"}
first = []
def hook(event, arguments):
    if event == "import" and not first:
        name = arguments[0]
        if name not in own and name.partition(".")[0] not in sys.stdlib_module_names:
            first.append((name, dict(os.environ)))
sys.addaudithook(hook)
sys.argv = ["intramural", "version"]
try:
    runpy.run_module("intramural", run_name="__main__", alter_sys=True)
except SystemExit:
    pass
print(json.dumps(first[0]))
"""


def test_the_program_tells_them_at_its_entry_whatever_was_set_outside() -> None:
    outside = {**os.environ, "HF_HUB_OFFLINE": "0", "DO_NOT_TRACK": "0"}
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED], env=outside, check=True, capture_output=True, text=True, timeout=60
    )
    name, seen = json.loads(done.stdout.splitlines()[-1])
    assert name.startswith("intramural.cli"), "something came before"
    assert SWITCHES.items() <= seen.items()


def test_the_program_that_is_installed_has_that_entry() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == {"intramural": "intramural.__main__:main"}
