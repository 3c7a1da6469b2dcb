"""Processes that change the installation's key, to be killed while they do."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Changer:
    """Has such processes made, one after the other."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._pid = 0

    def begin(
        self,
        folder: Path,
        place: Path | str,
        settings: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """One has opened what is in `folder`, and begins; `settings` are the vault's."""
        asked = {"folder": str(folder), "place": str(place), "settings": settings or {}}
        self._tell({**asked, "environment": dict(environment or {})})
        said, number = self._read().split()
        assert said == "ready"
        self._pid = int(number)

    @property
    def is_over(self) -> bool:
        """It has ended by itself (and keeps its number until `kill`)."""
        return Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        self._tell(None)
        assert self._read() == "ended\n"

    def _tell(self, what: Mapping[str, Any] | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n" if what is None else json.dumps(what) + "\n")
        self._process.stdin.flush()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextmanager
def changer() -> Iterator[Changer]:
    program = Path(__file__).parent / "changes_key.py"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, program], **pipes) as process:  # type: ignore[call-overload]
        yield Changer(process)
