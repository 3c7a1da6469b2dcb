"""What /api/chat and /api/generate have in common: what is checked first, the stream, the whole, and afterwards."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from intramural.core.actor import Actor
from intramural.core.chat import ChatEvent
from intramural.core.errors import Misasked
from intramural.http import sse
from intramural.http.doors import Doors
from intramural.http.ollama.parse import Asked
from intramural.http.ollama.write import Kind, Writer, joined
from intramural.http.wire import OLLAMA, line
from intramural.library import Manifest
from intramural.metering import Dialect, Operation

DIALECT: Final[Dialect] = "ollama"
#: What the core calls a parameter → what it is called in this dialect.
_CALLED_HERE: Final[Mapping[str, str]] = {
    "thinking": "think",
    "response_format": "format",
    "max_tokens": "options.num_predict",
    **{name: f"options.{name}" for name in ("repeat_last_n", "repeat_penalty", "stop", "typical_p")},
}
IGNORED: Final = "X-Intramural-Ignored"


@dataclass(frozen=True, slots=True)
class Answering:
    """Answers requests of one kind."""

    doors: Doors
    kind: Kind
    operation: Operation

    async def __call__(self, request: Request, actor: Actor, called: str, asked: Asked, *, idle: bool) -> Response:
        """The response to `asked` of the model that the client calls `called`; `idle`: nothing is to be generated."""
        models, name = self.doors.services.models, asked.request.model
        manifest = await models.usable_by_name(actor, name)
        writer = Writer(self.kind, called, self.doors.clock)
        if idle and asked.keep_alive_s == 0:
            await models.unload(actor, name)
            return JSONResponse(writer.done("unload"))
        self._require_context(asked, manifest, called)
        keeps = asked.keep_alive_s is not None and models.may_keep(actor)
        headers = _headers(asked, keeps=keeps)
        if idle:
            await models.warm(actor, name)
            await self._keep(actor, asked, keeps=keeps)
            return JSONResponse(writer.done("load"), headers=headers)
        if asked.stream:
            waits = sse.Waits()
            events = self._events(actor, asked, waits, keeps=keeps)
            return sse.EventStream(_lines(events, writer), waits, OLLAMA, headers=headers)

        async def whole() -> Response:
            events = self._events(actor, asked, None, keeps=keeps)
            lines = [each async for event in events for each in writer.lines(event)]
            return JSONResponse(joined(self.kind, lines), headers=headers)

        return await sse.answered(request, whole())

    async def _events(
        self, actor: Actor, asked: Asked, waits: sse.Waits | None, *, keeps: bool
    ) -> AsyncGenerator[ChatEvent, None]:
        events = self.doors.services.inference.answer(actor, asked.request, DIALECT, self.operation, on_wait=waits)
        try:
            async with aclosing(events):
                async for event in events:
                    yield event
        except Misasked as error:
            error.param = _CALLED_HERE.get(error.param or "", error.param)
            raise
        finally:
            await self._keep(actor, asked, keeps=keeps)

    async def _keep(self, actor: Actor, asked: Asked, *, keeps: bool) -> None:
        if keeps and asked.keep_alive_s is not None:
            await self.doors.services.models.keep(actor, asked.request.model, asked.keep_alive_s)

    def _require_context(self, asked: Asked, manifest: Manifest, called: str) -> None:
        """Raises Misasked(`context_too_small`)."""
        if asked.context_tokens is None:
            return
        most = self.doors.services.models.context_tokens(manifest)
        if most is not None and asked.context_tokens > most:
            message = f"`options.num_ctx` is {asked.context_tokens}; {called!r} has {most} tokens here."
            hint = f"Ask for at most {most}, or have an administrator raise serving.context_tokens."
            raise Misasked("context_too_small", message, hint, param="options.num_ctx")


async def _lines(events: AsyncGenerator[ChatEvent, None], writer: Writer) -> AsyncGenerator[bytes, None]:
    async with aclosing(events):
        async for event in events:
            for each in writer.lines(event):
                yield line(each)


def _headers(asked: Asked, *, keeps: bool) -> dict[str, str]:
    """Names what was given and has no effect: nothing is passed over in silence."""
    ignored = [*asked.without_effect]
    if asked.keep_alive_s is not None and not keeps:
        ignored.append("keep_alive")
    headers: dict[str, Any] = {"X-Request-Id": asked.request.id}
    return {**headers, IGNORED: ", ".join(ignored)} if ignored else headers
