"""What pull, push and create have in common: lines that say how far it is, or only the last of them."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from intramural.http import sse
from intramural.http.wire import OLLAMA, line
from intramural.library import Pushed, Step
from intramural.services.pulls import PullView

SUCCESS: Final[dict[str, Any]] = {"status": "success"}
_STATUS: Final = {
    Step.RESOLVING: "pulling manifest",
    Step.VERIFYING: "verifying sha256 digest",
    Step.INSPECTING: "inspecting",
    Step.SHELVING: "writing manifest",
    Step.SHELVED: "success",
}

Lines = AsyncGenerator[dict[str, Any], None]


async def told(request: Request, lines: Lines, *, stream: bool, headers: dict[str, str]) -> Response:
    """The response to a request for something that takes a while."""
    if stream:
        return sse.EventStream(_encoded(lines), sse.Waits(), OLLAMA, headers=headers)

    async def whole() -> Response:
        async with aclosing(lines):
            said = [each async for each in lines]
        return JSONResponse(said[-1] if said else SUCCESS, headers=headers)

    return await sse.answered(request, whole())


async def _encoded(lines: Lines) -> AsyncGenerator[bytes, None]:
    async with aclosing(lines):
        async for each in lines:
            yield line(each)


async def of_pull(views: AsyncGenerator[PullView, None]) -> Lines:
    """The lines of a pull, the last when the model may be used."""
    last: dict[str, Any] | None = None
    async with aclosing(views):
        async for view in views:
            if view.state in ("running", "shelved") and (said := pull_line(view)) != last:
                yield said
                last = said


async def of_push(states: AsyncGenerator[Pushed | str, None]) -> Lines:
    """The lines of a push."""
    yield {"status": "retrieving manifest"}
    async with aclosing(states):
        async for state in states:
            if isinstance(state, str):
                yield SUCCESS
            elif state.blob is None:
                yield {"status": "pushing manifest"}
            else:
                digest, total = state.blob.digest, state.blob.size_bytes
                short = digest.removeprefix("sha256:")[:12]
                yield {"status": f"pushing {short}", "digest": digest, "total": total, "completed": state.done_bytes}


def pull_line(view: PullView) -> dict[str, Any]:
    """One line. A model of several files is shown as one, under the digest of its first."""
    if view.step != Step.FETCHING or view.digest is None:
        return {"status": _STATUS.get(view.step, view.step.value)}
    short = view.digest.removeprefix("sha256:")[:12]
    said = {"status": f"pulling {short}", "digest": view.digest, "completed": view.done_bytes}
    return said | ({} if view.total_bytes is None else {"total": view.total_bytes})
