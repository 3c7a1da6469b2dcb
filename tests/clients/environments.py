"""Other people's programs, installed from locks of their own into environments of their own."""

import fcntl
import hashlib
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache/clients"
_INSTALL_TIMEOUT_S = 600


def environment(name: str) -> Path:
    """A virtual environment with exactly what the lock says; made once per lock."""
    lock = ROOT / f"locks/clients/{name}.txt"
    folder = CACHE / f"{name}-{digest(lock)}"
    uv = str(ROOT / ".tools/bin/uv")
    with claimed(name):
        if not (folder / ".complete").exists():
            install(uv, "venv", "-q", "--clear", "--python", str(ROOT / ".tools/bin/python"), str(folder))
            install(uv, "pip", "sync", "-q", "--python", str(folder / "bin/python"), "--require-hashes", str(lock))
            (folder / ".complete").touch()
    return folder


def install(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"


def digest(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()[:16]


class claimed:
    """Only one test process installs a client at a time."""

    def __init__(self, name: str) -> None:
        CACHE.mkdir(parents=True, exist_ok=True)
        self._file = (CACHE / f"{name}.lock").open("w")

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()
