"""What every route is handed: the services, who is asking, and the bounds of a request."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request

from intramural.core.clock import Clock
from intramural.core.config import ServerConfig
from intramural.core.errors import Misasked, Throttled
from intramural.core.ids import new_id
from intramural.http import bodies, identity, replay
from intramural.metering import PAUSE_S
from intramural.services import Services

#: In which workspace a request is asked (its identifier or name), and what for.
WORKSPACE_HEADER = "x-intramural-workspace"
PURPOSE_HEADER = "x-intramural-purpose"
MAX_HEADER_CHARS = 256

#: Set in a request's ASGI scope as soon as somebody asks what the request is called.
_REQUEST_ID = "intramural.request_id"


@dataclass(frozen=True, slots=True)
class Doors:
    """Shared by all routes; made once by `build`."""

    services: Services
    config: ServerConfig
    clock: Clock
    streams: replay.Streams

    async def identify(self, request: Request, *, awaiting: bool = False) -> identity.Caller:
        """The caller, in the workspace that the request names. With `awaiting` also who is not wholly signed in yet:
        only for what they need to become so.

        Raises Unauthenticated, Refused(`csrf`), Missing, Throttled(`too_many_requests`).
        """
        knocks = request.client is not None  # not through the private socket, and not of ourselves
        if request.client is not None:
            await self._knock(partial(self.services.quotas.knock, request.client.host))
        caller = await identity.identify(request, self.services.identity, https=self.config.https, awaiting=awaiting)
        if knocks:
            await self._knock(partial(self.services.quotas.knock_as, caller.actor))
        called = request.headers.get(WORKSPACE_HEADER, "")
        purpose = request.headers.get(PURPOSE_HEADER, "")
        if called or purpose:
            if len(called) > MAX_HEADER_CHARS or len(purpose) > MAX_HEADER_CHARS:
                message = f"A workspace's name and a purpose have at most {MAX_HEADER_CHARS} characters."
                raise Misasked("bad_workspace_header", message, "List the workspaces to see their names.")
            # clients send other letters than ASCII as UTF-8, which a header is not read as
            called = called.encode("latin-1").decode("utf-8", errors="replace")
            actor = await self.services.workspaces.enter(caller.actor, called, purpose)
            caller = identity.Caller(actor, caller.session)
        replay.offer(request.scope, self.streams, caller.actor)
        return caller

    async def _knock(self, knock: Callable[[], None]) -> None:
        try:
            knock()
        except Throttled:
            await asyncio.sleep(PAUSE_S)
            raise

    async def body(self, request: Request) -> bytes:
        """The whole request body within `server.max_body_bytes`."""
        return await bodies.read_body(request, self.config.max_body_bytes)

    def new_id(self) -> str:
        """A fresh request identifier."""
        return new_id("req", self.clock)

    def request_id(self, request: Request) -> str:
        """What `request` is called in its answer, in the log and in the meter: the same whenever it is asked for."""
        if _REQUEST_ID not in request.scope:
            request.scope[_REQUEST_ID] = self.new_id()
        return str(request.scope[_REQUEST_ID])

    def has_request_id(self, request: Request) -> bool:
        """Whether somebody has asked what `request` is called."""
        return _REQUEST_ID in request.scope

    def request_ids(self, request: Request) -> Iterator[str]:
        """As many as are needed for a request that is several; the first is its own."""
        yield self.request_id(request)
        while True:
            yield self.new_id()

    def now_s(self) -> int:
        """Seconds since the epoch, as answers state their time of making."""
        return int(self.clock.now_s())
