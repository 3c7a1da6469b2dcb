"""Where models come from: signing, checking, following a lock, bundles, bills of materials."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from intramural.core.errors import IntramuralError
from intramural.http import sse
from intramural.http.doors import Doors
from intramural.http.page.routing import routes
from intramural.http.page.shapes import In, ModelName, PathText
from intramural.http.wire import PAGE, frame
from intramural.library import Manifest, PullState
from intramural.library.provenance import SigningKey
from intramural.services.bundles import Exported, Imported, Written
from intramural.services.locks import Synced
from intramural.services.provenance import Checked


class KeyFiles(In):
    """PEM files on the machine itself."""

    key: str = PathText
    certificate: str | None = Field(default=None, max_length=4096)
    chain: list[str] = Field(default=[], max_length=10)

    def files(self) -> SigningKey:
        certificate = None if self.certificate is None else Path(self.certificate)
        return SigningKey(Path(self.key), certificate, tuple(map(Path, self.chain)))


class SignIn(In):
    model: str = ModelName
    key: KeyFiles


class SignedOut(BaseModel):
    """`trust` after signing: `signed` once the key is among those trusted here; else `doubt` says why not."""

    model: str
    trust: str
    signer: str | None
    doubt: str | None


class CheckIn(In):
    models: list[str] = Field(default=[], max_length=1000, description="None: all.")


class LockOut(BaseModel):
    lock: str


class SyncIn(In):
    lock: str = Field(max_length=4 << 20, description="The text of a models.lock.")
    prune: bool = False
    plan_only: bool = False


class ExportIn(In):
    models: list[str] = Field(min_length=1, max_length=1000)
    to: str = PathText
    key: KeyFiles | None = None
    have: list[str] = Field(default=[], max_length=100)
    folder: bool = False


class ImportIn(In):
    path: str = PathText
    replace: bool = False
    older: bool = False


def router(doors: Doors) -> APIRouter:
    """`/provenance…`."""
    api = routes("provenance", "/provenance")
    provenance, locks, bundles = doors.services.provenance, doors.services.locks, doors.services.bundles

    @api.post("/sign")
    async def sign(given: SignIn, request: Request) -> SignedOut:
        """Sign a model with a key on this machine. Only over the private socket."""
        caller = await doors.identify(request)
        manifest, standing = await provenance.sign(caller.actor, given.model, given.key.files())
        doubt = None if standing.doubt is None else standing.doubt.message
        return SignedOut(model=manifest.name, trust=standing.trust, signer=standing.signer, doubt=doubt)

    @api.get("/signature")
    async def signature(request: Request, model: Annotated[str, Query(max_length=200)]) -> Response:
        """A model's signature, in the OpenSSF Model Signing format."""
        caller = await doors.identify(request)
        return Response(await provenance.signature(caller.actor, model), media_type="application/json")

    @api.post("/check")
    async def check(given: CheckIn, request: Request) -> Response:
        """Hash every byte of some models again, with their signatures and levels; an event for each."""
        caller = await doors.identify(request)
        return _stream(_each(provenance.check(caller.actor, given.models), _checked))

    @api.get("/lock")
    async def lock(request: Request) -> LockOut:
        """A models.lock of what is here."""
        caller = await doors.identify(request)
        return LockOut(lock=await locks.lock(caller.actor))

    @api.post("/sync")
    async def sync(given: SyncIn, request: Request) -> Response:
        """Make this machine have what a models.lock says; the last event of each model says how it ended."""
        caller = await doors.identify(request)
        states = locks.sync(caller.actor, given.lock, prune=given.prune, plan_only=given.plan_only)
        return _stream(_each(states, _synced))

    @api.post("/bundles/export")
    async def export(given: ExportIn, request: Request) -> Response:
        """Write models into a bundle on this machine; events as it goes. Only over the private socket."""
        caller = await doors.identify(request)
        states = bundles.export(
            caller.actor,
            given.models,
            Path(given.to),
            key=None if given.key is None else given.key.files(),
            have=[Path(each) for each in given.have],
            folder=given.folder,
        )
        return _stream(_each(states, _exported))

    @api.post("/bundles/import")
    async def import_(given: ImportIn, request: Request) -> Response:
        """Check a bundle and take in all of it, or nothing; events as it goes. Only over the private socket."""
        caller = await doors.identify(request)
        states = bundles.import_(caller.actor, Path(given.path), replace=given.replace, older=given.older)
        return _stream(_each(states, _imported))

    @api.get("/bill")
    async def bill(request: Request, model: Annotated[list[str] | None, Query(max_length=100)] = None) -> Response:
        """CycloneDX of some models, or of the whole installation."""
        caller = await doors.identify(request)
        text = await provenance.bill(caller.actor, model or ())
        return Response(text, media_type="application/vnd.cyclonedx+json; version=1.6")

    return api


async def _each(states: AsyncGenerator[Any, None], shape: Any) -> AsyncGenerator[bytes, None]:
    async with aclosing(states):
        async for state in states:
            yield frame(shape(state))


def _stream(frames: AsyncGenerator[bytes, None]) -> sse.EventStream:
    return sse.EventStream(frames, sse.Waits(), PAGE)


def _problem(error: IntramuralError | None) -> dict[str, str] | None:
    return None if error is None else {"code": error.code, "message": error.message, "hint": error.hint}


def _checked(state: Checked) -> dict[str, Any]:
    return {
        "model": state.manifest.name,
        "digest": state.manifest.digest,
        "trust": state.standing.trust,
        "signer": state.standing.signer,
        "problem": _problem(state.problem),
    }


def _progress(state: PullState) -> dict[str, Any]:
    return {"step": state.step.value, "done_bytes": state.done_bytes, "total_bytes": state.total_bytes}


def _synced(state: Synced) -> dict[str, Any]:
    return {
        "model": state.name,
        "act": state.act,
        "state": state.state,
        "progress": None if state.progress is None else _progress(state.progress),
        "changes": [{"what": each.what, "locked": each.locked, "found": each.found} for each in state.changes],
        "problem": _problem(state.problem),
    }


def _exported(state: Written | Exported) -> dict[str, Any]:
    if isinstance(state, Written):
        return {"state": "writing", "done_bytes": state.done_bytes, "total_bytes": state.total_bytes}
    return {
        "state": "done",
        "path": str(state.path),
        "models": list(state.models),
        "index_digest": state.index_digest,
        "size_bytes": state.size_bytes,
        "left_out_bytes": state.left_out_bytes,
        "signed": state.signed,
    }


def _imported(state: PullState | Imported) -> dict[str, Any]:
    if isinstance(state, PullState):
        return {"state": "doing", **_progress(state)}
    return {"state": "done", "signer": state.signer, "models": [_model(each) for each in state.manifests]}


def _model(manifest: Manifest) -> dict[str, Any]:
    return {
        "name": manifest.name,
        "trust": manifest.trust,
        "signer": manifest.signer,
        "digest": manifest.digest,
        "size_bytes": manifest.size_bytes,
    }
