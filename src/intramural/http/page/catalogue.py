"""The catalogue: what there is, whether it fits, and what is here already."""

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from intramural.http.doors import Doors
from intramural.http.page.routing import routes
from intramural.library import Fit, Licence
from intramural.services.catalogue import CatalogueView, EntryView, VariantView

Freedom = Literal["yes", "conditions", "no"]


class LicenceOut(BaseModel):
    """`words` say what it allows; the other fields who may use the model under it."""

    id: str
    words: str
    schools: Freedom
    hospitals: Freedom
    business: Freedom


class FitOut(BaseModel):
    """Whether it fits, and why. `context_tokens` is for each answer; `tokens_per_s` for one at a time."""

    verdict: Literal["comfortable", "tight", "no"]
    because: str
    memory_bytes: int
    context_tokens: int
    tokens_per_s: float | None


class CatalogueFileOut(BaseModel):
    name: str
    role: str
    sha256: str | None
    size_bytes: int | None


class VariantOut(BaseModel):
    """`size_bytes` is an estimate where `size_known` is false. `pinned`: every file's digest is known beforehand."""

    id: str
    quantisation: str
    format: str
    size_bytes: int
    size_known: bool
    source: str
    pinned: bool
    servable: bool
    installed: str | None
    files: list[CatalogueFileOut]
    fit: FitOut


class EntryOut(BaseModel):
    id: str
    name: str
    publisher: str
    family: str
    summary: str
    tasks: list[str]
    modalities: list[str]
    parameters: int
    active_parameters: int
    context_tokens: int
    released: str | None
    licence: LicenceOut
    variants: list[VariantOut]


class MachineOut(BaseModel):
    """`budget_bytes` is what models may use of it."""

    memory_bytes: int
    budget_bytes: int
    vram_bytes: int
    cores: int


class DiskOut(BaseModel):
    total_bytes: int
    free_bytes: int
    library_bytes: int


class CatalogueOut(BaseModel):
    dated: str
    source: Literal["built in", "institution"]
    signed_by: str | None
    entries: list[EntryOut]
    machine: MachineOut
    disk: DiskOut


def router(doors: Doors) -> APIRouter:
    """`/catalogue`."""
    api = routes("models")

    @api.get("/catalogue")
    async def catalogue(request: Request) -> CatalogueOut:
        """The curated models, each with whether and how it fits this machine."""
        caller = await doors.identify(request)
        return _catalogue(await doors.services.catalogue.view(caller.actor))

    return api


def _catalogue(view: CatalogueView) -> CatalogueOut:
    return CatalogueOut(
        dated=view.loaded.catalogue.dated,
        source=view.loaded.source,
        signed_by=view.loaded.signed_by,
        entries=[_entry(each) for each in view.entries],
        machine=MachineOut(
            memory_bytes=view.memory_bytes,
            budget_bytes=view.machine.budget_bytes,
            vram_bytes=view.machine.vram_bytes,
            cores=view.machine.cores,
        ),
        disk=DiskOut(
            total_bytes=view.disk.total_bytes,
            free_bytes=view.disk.free_bytes,
            library_bytes=view.disk.library_bytes,
        ),
    )


def _entry(view: EntryView) -> EntryOut:
    entry = view.entry
    return EntryOut(
        id=entry.id,
        name=entry.name,
        publisher=entry.publisher,
        family=entry.family,
        summary=entry.summary,
        tasks=list(entry.tasks),
        modalities=list(entry.modalities),
        parameters=entry.parameters,
        active_parameters=entry.active_parameters,
        context_tokens=entry.context_tokens,
        released=entry.released,
        licence=_licence(entry.licence, view.licence),
        variants=[_variant(each) for each in view.variants],
    )


def _licence(licence_id: str, licence: Licence) -> LicenceOut:
    return LicenceOut(
        id=licence_id,
        words=licence.words,
        schools=licence.schools,
        hospitals=licence.hospitals,
        business=licence.business,
    )


def _variant(view: VariantView) -> VariantOut:
    variant = view.variant
    return VariantOut(
        id=variant.id,
        quantisation=variant.quantisation,
        format=variant.format,
        size_bytes=view.size_bytes,
        size_known=view.size_known,
        source=variant.source,
        pinned=variant.pinned,
        servable=variant.servable,
        installed=view.installed,
        files=[
            CatalogueFileOut(name=each.name, role=each.role, sha256=each.sha256, size_bytes=each.size_bytes)
            for each in variant.files
        ],
        fit=_fit(view.fit, view.size_bytes),
    )


def _fit(fit: Fit | None, size_bytes: int) -> FitOut:
    if fit is None:
        return FitOut(
            verdict="no",
            because="This service cannot run it yet.",
            memory_bytes=size_bytes,
            context_tokens=0,
            tokens_per_s=None,
        )
    return FitOut(
        verdict=fit.verdict,
        because=fit.because,
        memory_bytes=fit.memory_bytes,
        context_tokens=fit.context_tokens,
        tokens_per_s=fit.tokens_per_s,
    )
