"""Getting models."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from intramural.http import sse
from intramural.http.doors import Doors
from intramural.http.page import shapes
from intramural.http.page.routing import routes
from intramural.http.wire import PAGE, frame
from intramural.services.pulls import PullView

Id = Annotated[str, Path(max_length=64)]


def router(doors: Doors) -> APIRouter:
    """`/pulls…`."""
    api = routes("models")
    pulls = doors.services.pulls

    @api.get("/pulls")
    async def list_pulls(request: Request) -> shapes.Pulls:
        """Every pull, the newest first."""
        caller = await doors.identify(request)
        return shapes.Pulls(pulls=[_shape(each) for each in await pulls.list(caller.actor)])

    @api.post("/pulls", status_code=201)
    async def begin(given: shapes.PullIn, request: Request, response: Response) -> shapes.PullOut:
        """Get a model. It goes on without the client; the same source under way is joined (200)."""
        caller = await doors.identify(request)
        pull, is_new = await pulls.begin(caller.actor, given.source, given.name)
        response.status_code = 201 if is_new else 200
        return _shape(pull)

    @api.post("/pulls/{pull_id}/pause")
    async def pause(pull_id: Id, request: Request) -> shapes.PullOut:
        """Stop for now; what came is kept."""
        caller = await doors.identify(request)
        return _shape(await pulls.pause(caller.actor, pull_id))

    @api.post("/pulls/{pull_id}/resume")
    async def resume(pull_id: Id, request: Request) -> shapes.PullOut:
        """Go on where it stopped."""
        caller = await doors.identify(request)
        return _shape(await pulls.resume(caller.actor, pull_id))

    @api.post("/pulls/{pull_id}/cancel")
    async def cancel(pull_id: Id, request: Request) -> shapes.PullOut:
        """Give up; what came is dropped."""
        caller = await doors.identify(request)
        return _shape(await pulls.cancel(caller.actor, pull_id))

    @api.delete("/pulls/{pull_id}", status_code=204)
    async def forget(pull_id: Id, request: Request) -> None:
        """Take an ended pull off the list."""
        caller = await doors.identify(request)
        await pulls.forget(caller.actor, pull_id)

    @api.get("/pulls/{pull_id}/events")
    async def events(pull_id: Id, request: Request) -> Response:
        """The pull on every change, as server-sent events, until it is over."""
        caller = await doors.identify(request)
        return sse.EventStream(
            _frames(pulls.watch(caller.actor, pull_id)),
            sse.Waits(),
            PAGE,
        )

    return api


async def _frames(views: AsyncGenerator[PullView, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(views):
        async for view in views:
            yield frame(asdict(view))


def _shape(pull: PullView) -> shapes.PullOut:
    return shapes.PullOut(**asdict(pull))
