"""An engine elsewhere as the pool sees it: a worker that is there when it is asked for and takes none of our memory."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from intramural.core.clock import Clock
from intramural.core.engines import Remote, RemoteEngine
from intramural.core.errors import IntramuralError
from intramural.core.outward import Connect
from intramural.serving.exchange import Exchange
from intramural.serving.model import ModelToServe
from intramural.serving.remote.breaker import Rules
from intramural.serving.remote.fields import refusal, translated
from intramural.serving.remote.link import Link, RemoteExchange, RequireBuild
from intramural.serving.threads import Compute
from intramural.serving.traits import Asking, Traits, discover
from intramural.serving.worker import Spawner, WorkerProcess

#: In the place of the layers that confine a worker of ours.
NOT_CONFINED = "remote, not confined by us"
#: After these the engine is asked for its health before it is blamed: one request may have been the reason.
_DOUBTFUL = frozenset({"worker_died", "engine_failed"})
_BAD = frozenset({"worker_garbage", "worker_stalled"})


@dataclass
class _Elsewhere:
    """There is no process of ours; it ends when it is told to."""

    layers: tuple[str, ...] = (NOT_CONFINED,)
    pid: None = None
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self) -> int:
        await self._ended.wait()
        return 0

    async def stop(self, grace_s: float) -> int:
        self._ended.set()
        return 0

    def kill(self) -> None:
        self._ended.set()

    def log_tail(self) -> str:
        return ""


@dataclass(frozen=True)
class RemoteWorker(WorkerProcess):
    """One model of an engine. Its failures are the engine's: `link` decides whether it is asked again, and the pool
    never ends it for them."""

    remote: Remote
    link: Link

    async def ready(self, timeout_s: float) -> None:
        """It was checked before it was made."""

    @property
    def resting(self) -> bool:
        return self.link.breaker.phase != "closed"

    async def ask(self, method: str, target: str, body: bytes = b"", *, stall_s: float, tenant: str = "") -> Exchange:
        """One request, if this kind of engine takes it. Raises Misasked(`engine_cannot`) and what `Link.ask` does."""
        target, body = translated(self.remote, target, body, self.link.salt(tenant) if tenant else "")
        context_tokens = self.remote.model.context_tokens
        return await self.link.ask(method, target, body, stall_s=stall_s, context_tokens=context_tokens)

    async def traits(self, lease: Asking) -> Traits:
        """A llama-server tells; of the others an administrator does."""
        if self.remote.engine.kind == "llama-server":
            return await discover(lease)
        model = self.remote.model
        return Traits(model.thinks, model.efforts, model.tools, grammars=False)

    def refusal(self, exchange: Exchange, status: int, body: bytes) -> IntramuralError:
        retry_after_s = exchange.retry_after_s if isinstance(exchange, RemoteExchange) else None
        return refusal(self.remote, status, body, retry_after_s)

    async def is_lost(self, error: IntramuralError) -> bool:
        """Never: other requests may be well. But the engine's failures are counted."""
        if error.code in _BAD or (error.code in _DOUBTFUL and not await self.link.healthy()):
            self.link.note_failed()
        return False

    def rss_bytes(self) -> int:
        return 0


class RemoteSpawner:
    """Starts workers: those of engines elsewhere by asking for them, all others as `local` does. `way`: how an engine
    is reached; `require`: as of `Link`."""

    def __init__(
        self,
        local: Spawner,
        clock: Clock,
        way: Callable[[RemoteEngine], Connect],
        rules: Rules | None = None,
        require: RequireBuild = lambda name, build: None,
    ) -> None:
        self._require = require
        self._local = local
        self._clock = clock
        self._way = way
        self._rules = rules
        self._links: dict[str, Link] = {}

    async def start(self, model: ModelToServe, compute: Compute) -> WorkerProcess:
        """Raises as `Spawner.start` and `Link.check`."""
        if model.remote is None:
            return await self._local.start(model, compute)
        engine = model.remote.engine
        made = Link(engine, self._clock, self._way(engine), self._rules, self._require)
        link = self._links.setdefault(engine.name, made)
        await link.check(model.remote)
        return RemoteWorker(_Elsewhere(), Path(), lambda: None, model.remote, link)
