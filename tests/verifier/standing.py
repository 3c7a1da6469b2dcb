"""The verifier that stands alone, as a stranger has it: one file, Python, and the package `cryptography`."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import files
from pathlib import Path
from types import ModuleType
from typing import Any

FILE = Path(__file__).parents[2] / "verifier" / "verify_intramural.py"
#: What `cryptography` needs. Nothing else of this environment is there, above all nothing of ours.
_PACKAGES = ("cryptography", "cffi", "pycparser")


def loaded() -> ModuleType:
    """The file as a module, for tests that ask it thousands of times."""
    spec = importlib.util.spec_from_file_location("verify_intramural", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Said:
    """What it answered: its exit status, and with `--json` what it checked."""

    status: int
    text: str

    @property
    def checks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.text)["checks"]
        return found

    def outcomes(self) -> list[tuple[str, str]]:
        return [(each["outcome"], each["check"]) for each in self.checks]


@dataclass(frozen=True)
class Standing:
    """A folder with a copy of the file and of the packages, and nothing else."""

    folder: Path

    @classmethod
    def made(cls, folder: Path) -> "Standing":
        packages = folder / "packages"
        packages.mkdir()
        for package in _PACKAGES:
            for file in files(package) or ():
                top = Path(str(file)).parts[0]
                if top not in ("..", "bin") and not (packages / top).exists():
                    (packages / top).symlink_to(Path(str(file.locate())).parents[len(Path(str(file)).parts) - 1] / top)
        (folder / "verify_intramural.py").write_bytes(FILE.read_bytes())
        return cls(folder)

    def python(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        start = f"import sys; sys.path.append({str(self.folder / 'packages')!r}); "
        return subprocess.run(
            [sys.executable, "-I", "-S", "-c", start + program, *arguments],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            cwd=self.folder,
        )

    def run(self, *arguments: Path | str) -> Said:
        file = str(self.folder / "verify_intramural.py")
        program = f"import runpy; sys.argv[0] = 'v'; runpy.run_path({file!r}, run_name='__main__')"
        done = self.python(program, *map(str, arguments), "--json")
        assert not done.stderr or done.returncode == 2, done.stderr
        return Said(done.returncode, done.stdout)
