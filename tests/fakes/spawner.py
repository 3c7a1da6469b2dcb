"""Spawners for tests: the stand-in engine, or the real one, each as a plain process (confinement has its own tests)."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from intramural.serving import Compute, ModelToServe, WorkerProcess
from intramural.serving.sandboxed import engine_arg

ROOT = Path(__file__).parents[2]
_REAL = "import json, sys; from intramural.serving.engine import serve; serve(json.loads(sys.argv[1]), {})"


@dataclass
class PlainProcess:
    """A process behind the protocol `worker.EngineProcess`, without any confinement."""

    process: asyncio.subprocess.Process
    log: Path
    layers: tuple[str, ...] = ()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.returncode

    async def wait(self) -> int:
        return await self.process.wait()

    async def stop(self, grace_s: float) -> int:
        self._signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.process.wait(), grace_s)
        except TimeoutError:
            self.kill()
            return await self.process.wait()

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        # `Process.kill` asks first whether it has ended, and so takes its status from the thread that waits for it.
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]


@dataclass
class PlainSpawner:
    """Starts the stand-in (`real=False`) with the knobs of `per_start`'s next entry (the last one repeats)."""

    real: bool = False
    per_start: Sequence[Sequence[str]] = ((),)
    stand_in: str = "tests.fakes.engine"
    started: list[str] = field(default_factory=list)
    processes: list[PlainProcess] = field(default_factory=list)
    workers: list[WorkerProcess] = field(default_factory=list)

    async def start(self, model: ModelToServe, compute: Compute) -> WorkerProcess:
        home = Path(tempfile.mkdtemp(prefix="im-"))
        number = len(self.started)
        self.started.append(model.name)
        socket, log = home / "worker.sock", home / "log"
        (weights,) = (file.descriptor for file in await model.open_files())
        try:
            if self.real:
                arg = {
                    **engine_arg(model, compute, str(socket)),
                    "weights": f"/proc/self/fd/{weights}",
                }
                command = [sys.executable, "-c", _REAL, json.dumps(arg)]
            else:
                knobs = self.per_start[min(number, len(self.per_start) - 1)]
                plan = ("--slots", str(model.plan.slots), "--context", str(model.plan.context_tokens))
                command = [sys.executable, "-m", self.stand_in, str(socket), *plan, *knobs]
            with log.open("wb") as output:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdout=output,
                    stderr=output,
                    pass_fds=(weights,),
                    env={**os.environ, **compute.env, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
                )
        finally:
            os.close(weights)
        plain = PlainProcess(process, log)
        self.processes.append(plain)
        self.workers.append(WorkerProcess(plain, socket, lambda: shutil.rmtree(home)))
        return self.workers[-1]
