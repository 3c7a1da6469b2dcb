"""What /api/chat and /api/generate have in common: what is checked first, the stream, the whole, and afterwards."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from intramural.core.actor import Actor
from intramural.core.chat import ChatEvent, ChatRequest
from intramural.core.errors import Misasked
from intramural.http import sse
from intramural.http.doors import Doors
from intramural.http.ollama.keeping import Keeping
from intramural.http.ollama.parse import Asked
from intramural.http.ollama.write import Kind, Writer, joined, merged
from intramural.http.wire import OLLAMA, Json, line
from intramural.library import Manifest
from intramural.metering import Dialect, Operation
from intramural.services import Models

DIALECT: Final[Dialect] = "ollama"
#: What the core calls a parameter → what it is called in this dialect.
_CALLED_HERE: Final[Mapping[str, str]] = {
    "thinking": "think",
    "response_format": "format",
    "max_tokens": "options.num_predict",
    **{name: f"options.{name}" for name in ("repeat_last_n", "repeat_penalty", "stop", "typical_p")},
}


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
            return Json(writer.done("unload"))
        require_context(models, manifest, asked.context_tokens)
        keeping = Keeping(models, actor, name, asked.keep_alive_s)
        headers = keeping.headers(asked.request.id, asked.without_effect)
        if idle:
            await models.warm(actor, name)
            await keeping.after()
            return Json(writer.done("load"), headers=headers)
        if asked.stream:
            waits = sse.Waits()
            lines = _lines(self._events(actor, asked.request, waits), writer, keeping)
            return sse.EventStream(lines, waits, OLLAMA, headers=headers)

        async def whole() -> Response:
            events = self._events(actor, asked.request, None)
            async with _kept(keeping), aclosing(events):
                found = merged([event async for event in events])
            lines = [each for event in found for each in writer.lines(event)]
            return Json(joined(self.kind, lines), headers=headers)

        return await sse.answered(request, whole())

    def _events(self, actor: Actor, request: ChatRequest, waits: sse.Waits | None) -> AsyncGenerator[ChatEvent, None]:
        return self.doors.services.inference.answer(actor, request, DIALECT, self.operation, on_wait=waits)


@asynccontextmanager
async def _kept(keeping: Keeping) -> AsyncIterator[None]:
    """Errors name parameters as they are called here; at the end, the model stays as long as was asked for."""
    try:
        yield
    except Misasked as error:
        error.param = _CALLED_HERE.get(error.param or "", error.param)
        raise
    finally:
        await keeping.after()


def require_context(models: Models, manifest: Manifest, wanted: int | None) -> None:
    """Raises Misasked(`context_too_small`) where `options.num_ctx` is more than there is."""
    most = models.context_tokens(manifest) if wanted is not None else None
    if wanted is not None and most is not None and wanted > most:
        message = f"`options.num_ctx` is {wanted}; {manifest.name} has {most} tokens here."
        hint = f"Ask for at most {most}, or have an administrator raise serving.context_tokens."
        raise Misasked("context_too_small", message, hint, param="options.num_ctx")


async def _lines(
    events: AsyncGenerator[ChatEvent, None], writer: Writer, keeping: Keeping
) -> AsyncGenerator[bytes, None]:
    async with _kept(keeping), aclosing(events):
        async for event in events:
            for each in writer.lines(event):
                yield line(each)
