"""Starting workers for real: confined, with one descriptor of verified weights and one directory for one socket."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from intramural.core.errors import Refused
from intramural.sandbox import Child, Launch, Limits, Posture, allows, missing_layers, spawn
from intramural.serving.model import ModelToServe, OpenFile, Runner
from intramural.serving.threads import Compute
from intramural.serving.worker import Buffer, WorkerProcess

_ENTRIES: Mapping[Runner, str] = {
    "engine": "intramural.serving.engine:serve",
    "onnx": "intramural.serving.onnx:serve",
}
#: No library may make threads of its own when it is imported, before the process is confined.
_ENVIRONMENTS: Mapping[Runner, Mapping[str, str]] = {
    "engine": {
        "GGML_NO_BACKTRACE": "1"
    },  # else one that crashes tries to start a debugger, which is told (`sandbox.told`)
    "onnx": {
        "OPENBLAS_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "RAYON_NUM_THREADS": "1",
    },
}
_SOCKET = "worker.sock"
#: Above the plan, before the kernel refuses an engine more memory of its own (its weights are memory of its own too).
_DATA_HEADROOM_BYTES = 2**30
_SPARE_FILES, _SPARE_THREADS = 64, 48


@dataclass(frozen=True)
class ConfinedProcess:
    """A sandbox child, as `worker.EngineProcess` wants it."""

    child: Child

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def layers(self) -> tuple[str, ...]:
        return self.child.layers

    async def wait(self) -> int:
        return await self.child.wait()

    async def stop(self, grace_s: float) -> int:
        return await self.child.stop(grace_s)

    def kill(self) -> None:
        self.child.kill()

    def log_tail(self) -> str:
        return self.child.log_tail()


def sweep(run_dir: Path) -> None:
    """Remove what a service that was killed has left of its workers. Whoever calls has the data directory to itself.

    Their names are made of the service's number, and in a container that is the same after every start.
    """
    for left in run_dir.iterdir() if run_dir.exists() else ():
        shutil.rmtree(left, ignore_errors=True)


class SandboxedSpawner:
    """Starts engines under the sandbox, each with a private directory of its own under `run_dir`."""

    def __init__(
        self,
        run_dir: Path,
        required_level: str,
        posture: Posture,
        buffer_bytes: int = 0,
        require_engine: Callable[[], None] = lambda: None,
    ) -> None:
        """`buffer_bytes`: the largest state that is saved of an engine; 0: none is. `require_engine` raises what keeps
        the engine from being started at all."""
        self._require_engine = require_engine
        self._run_dir = run_dir
        self._buffer_bytes = 0 if "landlock" in missing_layers(posture.level) else buffer_bytes
        self._required_level = required_level
        self._posture = posture
        self._numbers = count(1)

    async def start(self, model: ModelToServe, compute: Compute) -> WorkerProcess:
        """A confined engine that loads `model`.

        Raises Refused(`confinement_too_weak`) where this machine does not reach the required level, what
        `require_engine` does, Untrusted for weights that fail their check, and what `sandbox.spawn` raises.
        """
        if not allows(self._required_level, self._posture.level):
            raise Refused(
                "confinement_too_weak",
                f"This machine confines workers at level {self._posture.level}; {self._required_level} is required.",
                "See `intramural doctor` for what is missing.",
            )
        if model.runner == "engine":
            self._require_engine()
        files = await model.open_files()
        try:
            return await self._confined(model, compute, files)
        finally:
            for file in files:
                os.close(file.descriptor)

    async def _confined(self, model: ModelToServe, compute: Compute, files: Sequence[OpenFile]) -> WorkerProcess:
        home = self._run_dir / f"{os.getpid()}-{next(self._numbers)}"
        home.mkdir(mode=0o700, parents=True)
        # Both sides reach the socket through a descriptor of its directory: the worker's user may not walk the path
        # to it, and a path to a socket must fit into 107 bytes.
        door = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        buffer, lent = make_buffer(self._buffer_bytes if model.runner == "engine" else 0)

        def clear() -> None:
            os.close(door)
            if buffer is not None:
                buffer.close()
            shutil.rmtree(home, ignore_errors=True)

        launch = Launch(
            profile="engine",
            entry=_ENTRIES[model.runner],
            arg={
                **engine_arg(model, compute, f"/proc/self/fd/{door}/{_SOCKET}"),
                "weights": _weights_path(home, door, [f.descriptor for f in files if f.role == "weights"]),
                "projector": _path_of("projector", files),
                "tokenizer": _path_of("tokenizer", files),
                "states": buffer is not None,
                "draft": _path_of("draft", files),
                "adapters": [f"/proc/self/fd/{file.descriptor}" for file in files if file.role == "adapter"],
            },
            files={"door": door, **{f"file-{number}": file.descriptor for number, file in enumerate(files)}},
            private_dir=home,
            env={**compute.env, **_ENVIRONMENTS[model.runner]},
            limits=_limits(model, compute, 0 if buffer is None else buffer.limit_bytes),
            without=missing_layers(self._posture.level),
            memory=lent,
            about=f"model:{model.name}",
        )
        try:
            child = await spawn(launch)
        except BaseException:
            clear()
            raise
        finally:
            for descriptor in lent:
                os.close(descriptor)
        return WorkerProcess(ConfinedProcess(child), Path(f"/proc/self/fd/{door}/{_SOCKET}"), clear, buffer=buffer)


def make_buffer(limit_bytes: int) -> tuple[Buffer | None, tuple[int, ...]]:
    """Memory for an engine, which is given the second descriptor under the same number; close that once it has it.

    What is written there is never on a disk. With 0 there is none.
    """
    if not limit_bytes:
        return None, ()
    descriptor = os.memfd_create("states", os.MFD_CLOEXEC)
    lent = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    return Buffer(descriptor, str(lent), limit_bytes), (lent,)


def _path_of(role: str, files: Sequence[OpenFile]) -> str | None:
    return next((f"/proc/self/fd/{file.descriptor}" for file in files if file.role == role), None)


def _weights_path(home: Path, door: int, shards: Sequence[int]) -> str:
    """What the engine opens. A child has the same descriptors under the same numbers.

    It finds the further shards of a set by name, so there each name is a link to the descriptor of verified bytes.
    """
    if len(shards) == 1:
        return f"/proc/self/fd/{shards[0]}"
    for number, descriptor in enumerate(shards, start=1):
        (home / _shard_name(number, len(shards))).symlink_to(f"/proc/self/fd/{descriptor}")
    return f"/proc/self/fd/{door}/{_shard_name(1, len(shards))}"


def _shard_name(number: int, count: int) -> str:
    """As the engine's own splitting tool names them."""
    return f"weights-{number:05}-of-{count:05}.gguf"


def engine_arg(model: ModelToServe, compute: Compute, socket: str) -> Mapping[str, Any]:
    """What `engine.serve` (or `onnx.serve`) is told."""
    return {
        "socket": socket,
        "context_tokens": model.plan.context_tokens,
        "slots": model.plan.slots,
        "threads": compute.threads,
        "template": model.template,
        "pooling": model.pooling,
        "options": msgspec.to_builtins(model.options),
    }


def _limits(model: ModelToServe, compute: Compute, buffer_bytes: int) -> Limits:
    # While ONNX Runtime loads, a model is there as it lies in the file, and as it will be used.
    times = 2 if model.runner == "onnx" else 1
    return Limits(
        data_bytes=times * model.plan.memory_bytes + _DATA_HEADROOM_BYTES,
        open_files=_SPARE_FILES + 4 * model.plan.slots,
        file_size_bytes=buffer_bytes,
        processes=_SPARE_THREADS + 2 * model.plan.slots + 2 * compute.threads,
    )
