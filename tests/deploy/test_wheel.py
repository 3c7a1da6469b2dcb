"""What is installed: the package as it is built has what it hands out."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_wheel_has_the_verifier_and_the_page_and_no_tests(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
        handed = opened.read("intramural/verifier/verify_intramural.py")
    assert handed == (ROOT / "verifier/verify_intramural.py").read_bytes()
    assert {"intramural/sandbox/child.py", "intramural/sandbox/spawner.py"} <= names, "started by their paths"
    assert not any(name.startswith(("tests/", "simulate/")) for name in names)
