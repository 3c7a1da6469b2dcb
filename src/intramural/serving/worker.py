"""A worker: one engine process, its socket, and nothing else. Starting it is the `Spawner`'s business."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from intramural.core.errors import Broken, IntramuralError
from intramural.serving.exchange import Exchange, ask, worker_died
from intramural.serving.model import ModelToServe
from intramural.serving.stream import refusal
from intramural.serving.threads import Compute
from intramural.serving.traits import Asking, Traits, discover

_POLL_FIRST_S, _POLL_MAX_S = 0.01, 0.1
_HEALTH_STALL_S = 5.0
#: Marks the engine's messages of level error.
_COMPLAINT = " E "
#: Of such a message, what an error repeats: a line may be as long as the worker likes.
_LAST_WORDS_CHARS = 300


class EngineProcess(Protocol):
    """The process behind a worker, as `sandbox` hands it over."""

    @property
    def pid(self) -> int | None: ...
    @property
    def layers(self) -> tuple[str, ...]:
        """The layers of confinement the child says it is under."""
        ...

    async def wait(self) -> int:
        """Its exit status, once it has one."""
        ...

    async def stop(self, grace_s: float) -> object:
        """Ask it to end; kill it `grace_s` seconds later. Returns when it is gone."""
        ...

    def kill(self) -> None: ...
    def log_tail(self) -> str: ...


class Spawner(Protocol):
    """Whoever can start an engine for a model."""

    async def start(self, model: ModelToServe, compute: Compute) -> "WorkerProcess":
        """Start it; it need not be ready yet. Raises IntramuralError if it cannot be started."""
        ...


class Buffer:
    """Memory which an engine takes for a file: `descriptor` is ours, `name` is how the engine knows it.

    It holds at most `limit_bytes`, and nothing but for the moment in which something is handed over. `usable` until an
    engine did not say that it was done with it.
    """

    def __init__(self, descriptor: int, name: str, limit_bytes: int) -> None:
        self._descriptor = descriptor
        self.name = name
        self.limit_bytes = limit_bytes
        self.usable = True

    def opened(self) -> int:
        """A descriptor of one's own, to be closed by whoever asked. Raises Broken once the worker is gone."""
        if self._descriptor < 0:
            raise worker_died()
        return os.dup(self._descriptor)

    def empty(self) -> None:
        """Give the memory back."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)

    def close(self) -> None:
        """The worker is gone."""
        self.usable = False
        os.close(self._descriptor)
        self._descriptor = -1


@dataclass(frozen=True)
class WorkerProcess:
    """A started engine. `clear` removes what was made for it, once it is gone. `buffer` None: its states stay in it."""

    process: EngineProcess
    socket: Path
    clear: Callable[[], None]
    buffer: Buffer | None = field(default=None, kw_only=True)

    async def ready(self, timeout_s: float) -> None:
        """Return once it answers its health check.

        Raises Broken: `worker_start_failed` if it dies first, `worker_start_timeout` after `timeout_s`.
        """
        death = asyncio.ensure_future(self.process.wait())
        try:
            async with asyncio.timeout(timeout_s):
                pause_s = _POLL_FIRST_S
                while not death.done():
                    if await self._healthy():
                        return
                    await asyncio.wait({death}, timeout=pause_s)
                    pause_s = min(_POLL_MAX_S, pause_s * 1.5)
        except TimeoutError:
            raise Broken(
                "worker_start_timeout",
                f"The worker was not ready within {timeout_s:g} s and was stopped.",
                "Raise serving.start_timeout_s if the machine is slow.",
            ) from None
        finally:
            death.cancel()
        raise Broken(
            "worker_start_failed",
            f"The worker ended while starting (status {death.result()}).",
            _last_words(self.process.log_tail()),
        )

    async def _healthy(self) -> bool:
        try:
            exchange = await self.ask("GET", "/health", stall_s=_HEALTH_STALL_S)
        except Broken:
            return False
        try:
            return await exchange.status() == 200
        except Broken as error:
            if error.code in ("worker_died", "worker_stalled"):
                return False
            raise
        finally:
            exchange.close()

    async def ask(self, method: str, target: str, body: bytes = b"", *, stall_s: float, tenant: str = "") -> Exchange:
        """One request on a connection of its own. `tenant`: in whose name, for engines that keep people apart by that.

        Raises Broken(`worker_died`) if nobody listens.
        """
        return await ask(self.socket, method, target, body, stall_s=stall_s)

    async def ask_whole(self, method: str, target: str, body: bytes, *, stall_s: float) -> tuple[int, bytes]:
        """Status and body of a response that is not a stream."""
        exchange = await self.ask(method, target, body, stall_s=stall_s)
        try:
            return await exchange.status(), await exchange.read_all()
        finally:
            exchange.close()

    @property
    def resting(self) -> bool:
        """Whether it is not asked for the time being, because it failed."""
        return False

    async def traits(self, lease: Asking) -> Traits:
        """What its model can do, asked through `lease`."""
        return await discover(lease)

    def refusal(self, exchange: Exchange, status: int, body: bytes) -> IntramuralError:
        """What a response other than 200 stands for."""
        return refusal(status, body)

    async def is_lost(self, error: IntramuralError) -> bool:
        """Whether `error`, which a request to this worker met, shows that no other request should go there.

        A broken connection alone does not: the worker is asked for its health. That is known sooner than the end of
        the process, so that the next request is not sent after a worker that is gone.
        """
        if error.code in ("worker_garbage", "worker_stalled"):
            return True
        if error.code != "worker_died":
            return False
        return not await self._healthy()

    def rss_bytes(self) -> int:
        """Resident memory of the process now, mapped weights included; 0 once it is gone."""
        try:
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text("ascii").split()[1])
        except (OSError, IndexError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    async def stop(self, grace_s: float) -> None:
        """End it for certain and clear its directory."""
        try:
            await self.process.stop(grace_s)
        finally:
            self.clear()


def _last_words(log: str) -> str:
    """What a log says about why it ended: the engine's first complaint, else the last line."""
    lines = log.strip().splitlines()
    if not lines:
        return "It left no message."
    complaint = next((line for line in lines if _COMPLAINT in line), lines[-1])
    return f"Its log says: {complaint.rpartition(_COMPLAINT)[2].strip()[:_LAST_WORDS_CHARS]}"
