"""Whether a model fits, before any of it is fetched."""

from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from intramural.http.doors import Doors
from intramural.http.page.routing import routes
from intramural.services.fit import Advice, Wish

Bytes = Annotated[int, Field(ge=0, le=2**50)]


class FitIn(BaseModel):
    """`model`: a name on the shelf, an id of the catalogue, or a source. What is left out is as this machine is."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[str, Field(min_length=1, max_length=500)]
    memory_bytes: Bytes | None = None
    vram_bytes: Bytes | None = None
    context_tokens: Annotated[int, Field(ge=1, le=2**28)] | None = None
    slots: Annotated[int, Field(ge=1, le=256)] = 1
    kv: Literal["f16", "q8_0", "q4_0"] = "f16"


class FitReport(BaseModel):
    """The advice with its sum. `memory_bytes` is weights, kv, compute and process together; `vram_bytes` of it are on
    the graphics card. Sizes are estimates where `size_known` is false."""

    model: str
    known_from: str
    size_known: bool
    parameters: int
    quantisation: str
    verdict: Literal["comfortable", "tight", "no"]
    because: str
    memory_bytes: int
    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    process_bytes: int
    context_tokens: int
    slots: int
    kv: str
    tokens_per_s: float | None
    vram_bytes: int
    layers: int
    gpu_layers: int
    experts: int
    experts_used: int
    experts_on_cpu: int


def router(doors: Doors) -> APIRouter:
    """`/fit`."""
    api = routes("models")

    @api.post("/fit")
    async def fit(given: FitIn, request: Request) -> FitReport:
        """Whether, how and how quickly a model would run. Of what lies elsewhere only the header is read."""
        caller = await doors.identify(request)
        wish = Wish(**given.model_dump())
        return _report(await doors.services.fit.fit(caller.actor, wish))

    return api


def _report(advice: Advice) -> FitReport:
    model, fit = advice.model, advice.fit
    return FitReport(
        model=model.name,
        known_from=advice.known_from,
        size_known=advice.size_known,
        parameters=model.parameters,
        quantisation=model.quantisation,
        verdict=fit.verdict,
        because=fit.because,
        memory_bytes=fit.memory_bytes,
        weights_bytes=fit.plan.weights_bytes,
        kv_bytes=fit.plan.kv_bytes,
        compute_bytes=fit.plan.compute_bytes,
        process_bytes=fit.plan.process_bytes,
        context_tokens=fit.context_tokens,
        slots=fit.slots,
        kv=fit.kv,
        tokens_per_s=fit.tokens_per_s,
        vram_bytes=fit.vram_bytes,
        layers=fit.layers,
        gpu_layers=fit.gpu_layers,
        experts=model.shape.experts,
        experts_used=model.shape.experts_used,
        experts_on_cpu=fit.experts_on_cpu,
    )
