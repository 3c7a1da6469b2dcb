"""What is kept: `/api/create`, `/api/copy`, `/api/delete`, `/api/pull`, `/api/push` and `/api/blobs`."""

import asyncio

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from intramural.core.actor import Actor
from intramural.core.errors import Misasked, Missing, Untrusted
from intramural.http import bodies
from intramural.http.doors import Doors
from intramural.http.ollama import progress, shapes
from intramural.http.ollama.keeping import IGNORED
from intramural.http.ollama.making import DIGEST, Making, making
from intramural.http.ollama.models import named
from intramural.http.ollama.names import canonical, push_target, source_of
from intramural.http.operations import Operation
from intramural.library import Defaults

_LINES = "application/x-ndjson"


def operations(doors: Doors) -> list[Operation]:
    """Making, copying, removing, getting and pushing models."""
    models, pulls, uploads = doors.services.models, doors.services.pulls, doors.services.uploads

    async def create(request: Request) -> Response:
        caller = await doors.identify(request)
        asked = making(bodies.decode(await doors.body(request), shapes.CreateIn))
        headers = {IGNORED: ", ".join(asked.without_effect)} if asked.without_effect else {}
        return await progress.told(request, made(caller.actor, asked), stream=asked.stream, headers=headers)

    async def made(actor: Actor, asked: Making) -> progress.Lines:
        if asked.base is not None:
            manifest = await models.derive(actor, asked.base, asked.name, asked.defaults)
            yield {"status": f"using {manifest.digest}"}
        else:
            views = pulls.follow(actor, uploads.source(asked.files), asked.name)
            try:
                async for each in progress.of_pull(views):
                    if each != progress.SUCCESS:
                        yield each
            except Untrusted as error:  # the bytes are the caller's own: sent again, they are refused again
                raise Misasked(error.code, error.message, error.hint, param="files") from error
            await uploads.used(actor, asked.files)
            if asked.defaults.given:
                await models.derive(actor, asked.name, asked.name, asked.defaults)
        yield {"status": "writing manifest"}
        yield progress.SUCCESS

    async def copy(request: Request) -> Response:
        caller = await doors.identify(request)
        wire = bodies.decode(await doors.body(request), shapes.CopyIn)
        await models.derive(caller.actor, canonical(wire.source), canonical(wire.destination), Defaults())
        return Response()

    async def delete(request: Request) -> Response:
        caller = await doors.identify(request)
        wire = bodies.decode(await doors.body(request), shapes.DeleteIn)
        await models.remove(caller.actor, canonical(named(wire.model, wire.name)))
        return Response()

    async def pull(request: Request) -> Response:
        caller = await doors.identify(request)
        wire = bodies.decode(await doors.body(request), shapes.MoveIn)
        refuse_passwords(wire)
        called = named(wire.model, wire.name)
        loaded = await asyncio.to_thread(doors.services.catalogue.loaded)
        is_listed = loaded.catalogue.variant(called) is not None
        source, name = source_of(called, is_listed=is_listed, insecure=bool(wire.insecure))
        lines = progress.of_pull(pulls.follow(caller.actor, source, name))
        return await progress.told(request, lines, stream=wire.stream is not False, headers={})

    async def push(request: Request) -> Response:
        caller = await doors.identify(request)
        wire = bodies.decode(await doors.body(request), shapes.MoveIn)
        refuse_passwords(wire)
        called = named(wire.model, wire.name)
        target = push_target(called, insecure=bool(wire.insecure))
        lines = progress.of_push(doors.services.pushes.push(caller.actor, canonical(called), target))
        return await progress.told(request, lines, stream=wire.stream is not False, headers={})

    async def has_blob(request: Request) -> Response:
        caller = await doors.identify(request)
        digest = _digest(request)
        if not await uploads.has(caller.actor, digest):
            raise Missing("blob_not_found", f"There is no {digest} here.", "Upload it.")
        return Response()

    async def put_blob(request: Request) -> Response:
        caller = await doors.identify(request)
        announced = request.headers.get("content-length", "")
        announced_bytes = int(announced) if announced.isdecimal() and len(announced) < 16 else None
        try:
            is_new = await uploads.receive(caller.actor, _digest(request), request.stream(), announced_bytes)
        except ClientDisconnect:
            raise Misasked("client_left", "The client left before its file was complete.", "Send it again.") from None
        return Response(status_code=201 if is_new else 200)

    return [
        Operation("POST", "/api/create", "Make a model of another one, or of uploaded files.", create, shapes.CreateIn,
                  media_type=_LINES),
        Operation("POST", "/api/copy", "Give a model another name besides.", copy, shapes.CopyIn),
        Operation("DELETE", "/api/delete", "Take a model off the shelf.", delete, shapes.DeleteIn),
        Operation("POST", "/api/pull", "Get a model.", pull, shapes.MoveIn, media_type=_LINES),
        Operation("POST", "/api/push", "Copy a model to a registry.", push, shapes.MoveIn, media_type=_LINES),
        Operation("HEAD", "/api/blobs/{digest}", "Whether these bytes are here.", has_blob),
        Operation("POST", "/api/blobs/{digest}", "Upload a file, for a model to be made of it.", put_blob),
    ]  # fmt: skip


def refuse_passwords(wire: shapes.MoveIn) -> None:
    """Logins are in a file that only this service reads; a password sent here would go nowhere. Raises Misasked."""
    for field in ("username", "password"):
        if getattr(wire, field):
            message = f"`{field}` is not supported."
            hint = "Put the login into the file that library.registry_credentials names."
            raise Misasked("unsupported_parameter", message, hint, param=field)


def _digest(request: Request) -> str:
    digest = str(request.path_params["digest"])
    if not DIGEST.fullmatch(digest):
        message = f"{digest[:80]!r} is not a SHA-256 digest."
        raise Misasked("bad_parameter", message, "Write sha256:<64 hex digits>.", param="digest")
    return digest
