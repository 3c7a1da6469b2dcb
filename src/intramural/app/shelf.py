"""The models of this machine, where they come from, and how they are inspected. Decides nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from intramural.app.ground import Ground
from intramural.core.actor import Actor
from intramural.core.clock import Clock
from intramural.core.config import Config
from intramural.core.errors import Misasked
from intramural.core.outward import Connect
from intramural.library import (
    TIMEOUT_S,
    Elsewhere,
    Inspect,
    Library,
    Outside,
    RunConfined,
    Source,
    Uploads,
    Verdict,
    confined,
    elsewhere,
    judge,
    parse_source,
)
from intramural.library.provenance import TrustPolicy, parse_level, read_anchors
from intramural.library.provenance.carried import CarriedCatalogue
from intramural.library.provenance.imports import Imports
from intramural.library.sources import upload
from intramural.library.sources.bundle import BundleSource
from intramural.library.sources.pinned import PinnedSource
from intramural.sandbox import Launch, Limits, Posture, missing_layers, probe, run_once
from intramural.services import Bundles, CatalogueDesk, FitDesk, Models, Ordinary, Planner
from intramural.services.crashes import Crashes
from intramural.serving import parse_options

#: A header is parsed in far less; a file that wants more is not a model.
_INSPECTION = Limits(memory_bytes=2 * 2**30, cpu_s=30)


@dataclass(frozen=True, slots=True)
class Shelf:
    """The models and where they come from."""

    library: Library
    trust: TrustPolicy
    inspect: Inspect
    uploads: Uploads
    catalogue: CatalogueDesk
    models: Models
    parse: Callable[[str, Actor], Source]


def shelf_of(ground: Ground) -> Shelf:
    config, pool, clock = ground.config, ground.pool, ground.clock
    folder = config.data_dir / "library"
    trust = TrustPolicy(parse_level(config.library.required_trust), config.trust_dir)
    inspect = confined(_inspector(ground.posture))
    library = Library(folder, inspect, clock, trust)
    own, own_key = _own_catalogue(config)
    catalogue = CatalogueDesk(
        ground.gate,
        library,
        data_dir=config.data_dir,
        own=own,
        own_key=own_key,
        memory_bytes=ground.memory_bytes,
        budget_bytes=pool.budget_bytes,
        cores=ground.cores,
        slots=config.serving.slots,
        context_tokens=config.serving.context_tokens,
    )
    ordinary = Ordinary(
        config.serving.slots,
        config.serving.context_tokens,
        parse_options(config.serving.options),
        config.serving.vram_bytes,
    )
    planner = Planner(library, pool.budget_bytes, ordinary, catalogue.instead_of)
    crashes = Crashes(ground.audit, ground.db, pool, clock)
    models = Models(ground.gate, library, pool, ground.audit, ground.db, planner, crashes, _elsewhere(config, clock))
    uploads = Uploads(folder, clock)
    uploads.sweep(at_start=True)
    parse = _source_parser(config, library, uploads, catalogue, clock, ground.asked_for("pull"))
    return Shelf(library, trust, inspect, uploads, catalogue, models, parse)


def _own_catalogue(config: Config) -> tuple[Path | None, Path | None]:
    """The institution's own catalogue and the key that signed it."""
    file, key = config.library.catalogue, config.library.catalogue_key
    return Path(file) if file else None, Path(key) if key else None


def fit_of(ground: Ground, shelf: Shelf) -> FitDesk:
    return FitDesk(
        ground.gate,
        shelf.library,
        shelf.catalogue,
        ground.audit,
        shelf.inspect,
        shelf.parse,
        folder=ground.config.data_dir / "library",
        context_tokens=ground.config.serving.context_tokens,
    )


def bundles_of(ground: Ground, shelf: Shelf) -> Bundles:
    imports = Imports(ground.config.data_dir / "library" / "bundles.json")
    carried = CarriedCatalogue(*_own_catalogue(ground.config))
    return Bundles(ground.gate, shelf.library, ground.audit, ground.clock, shelf.trust, imports, carried)


def _elsewhere(config: Config, clock: Clock) -> list[Elsewhere]:
    """The models of engines elsewhere. Raises Misasked(`bad_engine`) where more is asked of models than is known of
    these, Misasked(`bad_model_name`)."""
    if config.engines and parse_level(config.library.required_trust) != "local":
        message = "engines.toml names engines elsewhere, of whose models nothing can be known."
        raise Misasked("bad_engine", message, "Set library.required_trust to `local`, or take the engines out.")
    added_ms = int(clock.now_s() * 1000)
    return [model for engine in config.engines for model in elsewhere(engine, added_ms)]


def _source_parser(
    config: Config,
    library: Library,
    uploads: Uploads,
    catalogue: CatalogueDesk,
    clock: Clock,
    way: Callable[[Actor, str], Connect],
) -> Callable[[str, Actor], Source]:
    """What a text names: a model of the catalogue (held to its digests), a bundle, uploads, or another source."""
    known = Outside.of(config.library, config.data_dir)

    def parse(text: str, actor: Actor) -> Source:
        kind, _, path = text.partition(":")
        if kind == upload.KIND:
            return upload.UploadSource(path, uploads.find)
        if kind == "bundle" and path:
            return BundleSource(Path(path), read_anchors(config.trust_dir), library.missing, now_s=clock.now_s())
        variant = catalogue.loaded().catalogue.variant(text)
        outside = known.through(way(actor, f"source:{text}"))
        source = parse_source(variant.source if variant else text, config.data_dir / "wheels", outside)
        return PinnedSource(source, variant) if variant else source

    return parse


def _inspector(posture: Posture) -> RunConfined:
    """Runs the library's inspection in a confined one-shot process."""

    async def run(entry: str, arg: Mapping[str, Any], files: Mapping[str, int]) -> Any:
        limits = replace(_INSPECTION, open_files=_INSPECTION.open_files + len(files))
        launch = Launch("parser", entry, arg, files, limits=limits, without=missing_layers(posture.level))
        return await run_once(launch, TIMEOUT_S)

    return run


async def inspected(paths: Sequence[Path]) -> list[Verdict]:
    """A verdict on each model among `paths`, without opening a house. Raises as `library.judge`."""
    return await judge(confined(_inspector(await probe())), paths)
