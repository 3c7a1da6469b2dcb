"""What every route is handed: the services, who is asking, and the bounds of a request."""

from dataclasses import dataclass

from starlette.requests import Request

from intramural.core.clock import Clock
from intramural.core.config import ServerConfig
from intramural.core.ids import new_id
from intramural.http import bodies, identity, replay
from intramural.services import Services


@dataclass(frozen=True, slots=True)
class Doors:
    """Shared by all routes; made once by `build`."""

    services: Services
    config: ServerConfig
    clock: Clock
    streams: replay.Streams

    async def identify(self, request: Request) -> identity.Caller:
        """The caller, or Unauthenticated / Refused(`csrf`)."""
        caller = await identity.identify(request, self.services.identity, https=self.config.https)
        replay.offer(request.scope, self.streams, caller.actor)
        return caller

    async def body(self, request: Request) -> bytes:
        """The whole request body within `server.max_body_bytes`."""
        return await bodies.read_body(request, self.config.max_body_bytes)

    def new_id(self) -> str:
        """A fresh request identifier."""
        return new_id("req", self.clock)

    def now_s(self) -> int:
        """Seconds since the epoch, as answers state their time of making."""
        return int(self.clock.now_s())
