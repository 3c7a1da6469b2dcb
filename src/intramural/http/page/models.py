"""Models and the machine."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path, Request

from intramural import __version__
from intramural.http.doors import Doors
from intramural.http.page import shapes
from intramural.http.page.routing import routes
from intramural.library import Elsewhere
from intramural.services.crashes import CODE
from intramural.services.models import ModelView

Name = Annotated[str, Path(max_length=200)]


def router(doors: Doors) -> APIRouter:
    """`/models…` and `/machine`."""
    api = routes("models")
    models = doors.services.models

    @api.get("/models")
    async def list_models(request: Request) -> shapes.Models:
        """Every model one may use, with its worker."""
        caller = await doors.identify(request)
        views, status = await models.views(caller.actor)
        return shapes.Models(
            models=[_view(each) for each in views],
            budget_bytes=status.budget_bytes,
            planned_bytes=status.planned_bytes,
            queued=status.queued,
        )

    @api.post("/models/{name:path}/load")
    async def load(name: Name, request: Request) -> shapes.ModelOut:
        """Load a model now."""
        caller = await doors.identify(request)
        await models.load(caller.actor, name)
        return _view(await models.view(caller.actor, name))

    @api.post("/models/{name:path}/unload")
    async def unload(name: Name, request: Request) -> shapes.ModelOut:
        """Stop a model's worker."""
        caller = await doors.identify(request)
        await models.unload(caller.actor, name)
        return _view(await models.view(caller.actor, name))

    @api.post("/models/{name:path}/pin")
    async def pin(name: Name, request: Request) -> shapes.ModelOut:
        """Keep a model's worker whatever happens."""
        caller = await doors.identify(request)
        await models.pin(caller.actor, name, True)
        return _view(await models.view(caller.actor, name))

    @api.post("/models/{name:path}/unpin")
    async def unpin(name: Name, request: Request) -> shapes.ModelOut:
        """Let it be stopped again."""
        caller = await doors.identify(request)
        await models.pin(caller.actor, name, False)
        return _view(await models.view(caller.actor, name))

    @api.post("/models/{name:path}/verify")
    async def verify(name: Name, request: Request) -> shapes.ModelOut:
        """Hash every byte of a model's weights and compare with its manifest."""
        caller = await doors.identify(request)
        await models.verify(caller.actor, name)
        return _view(await models.view(caller.actor, name))

    @api.post("/models/{name:path}/release")
    async def release(name: Name, given: shapes.ReleaseIn, request: Request) -> shapes.ModelOut:
        """Let a quarantined model be loaded, for a reason that is written down."""
        caller = await doors.identify(request)
        await models.release(caller.actor, name, given.reason)
        return _view(await models.view(caller.actor, name))

    @api.delete("/models/{name:path}", status_code=204)
    async def remove(name: Name, request: Request) -> None:
        """Stop a model and take it off the shelf."""
        caller = await doors.identify(request)
        await models.remove(caller.actor, name)

    @api.get("/machine")
    async def machine(request: Request) -> shapes.Machine:
        """This machine, how strictly it confines, and which model it could run."""
        caller = await doors.identify(request)
        view = await doors.services.records.machine(caller.actor)
        posture = view.posture
        anchored = await doors.services.anchoring.standing()
        alarm = doors.services.denials.alarm()
        return shapes.Machine(
            cores=view.cores,
            memory_bytes=view.memory_bytes,
            posture=shapes.PostureOut(
                level=posture.level.value,
                landlock_abi=posture.landlock_abi,
                seccomp=posture.seccomp,
                netns=posture.netns,
                own_uid=posture.own_uid,
                reasons=list(posture.reasons),
                kernel=posture.kernel,
            ),
            seal=None if view.seal is None else shapes.SealOut(**asdict(view.seal)),
            downgrades=[shapes.DowngradeOut(**asdict(each)) for each in view.downgrades],
            processes=[
                shapes.ProcessOut(**asdict(each.held), walls=[shapes.WallOut(**asdict(wall)) for wall in each.walls])
                for each in view.processes
            ],
            suggestion=None
            if view.suggestion is None
            else shapes.SuggestionOut(name=view.suggestion.name, why=view.suggestion.why),
            version=__version__,
            missed_review=await doors.services.reports.missed(),
            denied=shapes.DenialsOut(
                red=alarm.red,
                why=alarm.why,
                refused=[
                    shapes.RefusedOut(
                        process=each.kind,
                        about=each.about,
                        pid=each.pid,
                        calls=dict(each.calls),
                        first_ms=each.first_ms,
                        last_ms=each.last_ms,
                    )
                    for each in alarm.refused
                ],
            ),
            anchored=shapes.HeldOutside(colour=anchored.colour, why=anchored.why),
            engine=shapes.EngineOut(**asdict(view.engine)),
        )

    return api


def _found(view: ModelView) -> list[shapes.FindingOut]:
    """Why it is, or was, in quarantine."""
    found = [shapes.FindingOut(code=f.code, message=f.message, line=f.line) for f in view.manifest.quarantine]
    if view.crashed is not None:
        found.append(shapes.FindingOut(code=CODE, message=view.crashed.message, line=None))
    return found


def _view(view: ModelView) -> shapes.ModelOut:
    manifest, worker = view.manifest, view.worker
    return shapes.ModelOut(
        name=manifest.name,
        purpose=manifest.purpose,
        architecture=manifest.architecture,
        parameters=manifest.parameters,
        quantisation=manifest.quantisation,
        size_bytes=manifest.size_bytes,
        trained_context_tokens=manifest.trained_context_tokens,
        licence=manifest.licence,
        source=manifest.source,
        trust=manifest.trust,
        digest=manifest.digest,
        revision=manifest.revision,
        signer=manifest.signer,
        added_ms=manifest.added_ms,
        files=[
            shapes.ModelFileOut(name=f.name, role=f.role, digest=f.blob.digest, size_bytes=f.blob.size_bytes)
            for f in manifest.files
        ],
        quarantine=_found(view) or None,
        released=None
        if manifest.released is None or view.crashed is not None
        else shapes.ReleaseOut(by=manifest.released.by, reason=manifest.released.reason, at_ms=manifest.released.at_ms),
        is_starter=view.is_starter,
        state=worker.state if worker else "stopped",
        pinned=view.pinned,
        worker=None
        if worker is None
        else shapes.WorkerOut(
            pid=worker.pid,
            planned_bytes=worker.memory_bytes,
            rss_bytes=worker.rss_bytes,
            slots=worker.slots,
            slots_busy=worker.slots_busy,
            idle_s=worker.idle_s,
            context_tokens=worker.context_tokens,
            layers=list(worker.layers),
        ),
        engine=manifest.remote.engine.shown if isinstance(manifest, Elsewhere) else None,
    )
