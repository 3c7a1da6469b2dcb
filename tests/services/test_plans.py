"""What a worker is given: memory by the planner, the engine's options by the settings."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from tests.library.test_fit import GIB, manifest

from intramural.core.errors import Misasked
from intramural.library import Defaults, Manifest, Shape, load_catalogue
from intramural.library.catalogue.instead import instead_of
from intramural.services.plans import Ordinary, Planner
from intramural.serving import parse_options


@dataclass
class Shelf:
    """As much of a library as planning needs."""

    models: dict[str, Manifest] = field(default_factory=dict)

    def find(self, name: str) -> Manifest | None:
        return self.models.get(name)


def planner(*options: str, budget_bytes: int = 4 * GIB, shelf: Shelf | None = None, **more: Any) -> Planner:
    library: Any = shelf or Shelf()
    would_fit = more.pop("would_fit", lambda _: None)
    return Planner(library, budget_bytes, Ordinary(4, 8192, parse_options(options), **more), would_fit)


def named(name: str, **changes: Any) -> Manifest:
    return msgspec.structs.replace(manifest(), name=name, **changes)


def test_without_options_as_the_settings_say() -> None:
    found = planner().planned(manifest())
    assert (found.plan.context_tokens, found.plan.slots, found.plan.kv) == (8192, 4, "f16")


def test_a_quantised_cache_is_planned_and_handed_on() -> None:
    plain, small = (planner(*o).planned(named("m")) for o in ((), ("m: kv=q4_0",)))
    assert small.options.kv == small.plan.kv == "q4_0"
    assert small.plan.kv_bytes * 32 == plain.plan.kv_bytes * 9
    assert planner("other: kv=q4_0").planned(named("m")) == plain
    assert (plain.facts, small.facts) == ({}, {"options": "kv=q4_0"})


def test_32k_tokens_of_a_model_trained_for_8k() -> None:
    found = planner("m: rope=yarn:4 context=32768 slots=1", budget_bytes=2 * GIB).planned(named("m"))
    assert (found.plan.context_tokens, found.plan.slots) == (32768, 1)
    assert found.plan.memory_bytes < 2 * GIB
    assert planner("m: context=32768").planned(named("m")).plan.context_tokens == 8192


def test_a_draft_model_is_part_of_the_plan() -> None:
    shelf = Shelf({"small": named("small")})
    alone = planner(shelf=shelf).planned(named("m"))
    found = planner("m: speculative=draft:small", shelf=shelf).planned(named("m"))
    assert found.draft is shelf.models["small"]
    assert found.plan.memory_bytes > alone.plan.memory_bytes + shelf.models["small"].size_bytes
    assert planner("*: speculative=draft:small", shelf=shelf).planned(shelf.models["small"]).draft is None


def test_a_draft_model_that_cannot_be_one() -> None:
    with pytest.raises(Misasked) as caught:
        planner("m: speculative=draft:gone").planned(named("m"))
    assert caught.value.code == "draft_not_found"
    other = named("other", shape=msgspec.structs.replace(manifest().shape, vocabulary_size=32000))
    with pytest.raises(Misasked) as caught:
        planner("m: speculative=draft:other", shelf=Shelf({"other": other})).planned(named("m"))
    assert caught.value.code == "draft_does_not_fit"


def test_a_models_own_context_and_what_may_be_derived_from_it() -> None:
    own = named("m", defaults=Defaults(context_tokens=1024))
    made = planner("m: context=4096")
    assert made.planned(own).plan.context_tokens == 1024
    assert made.longest(own) == 4096


def test_full_windows_cost_the_whole_context_and_no_copies() -> None:
    shape = msgspec.structs.replace(manifest().shape, sliding_window_tokens=512, sliding=(True,) * 29 + (False,))
    slides = named("m", shape=shape)
    short, full = (planner(*o).planned(slides).plan for o in ((), ("m: windows=full",)))
    assert full.kv_bytes == planner().planned(named("m")).plan.kv_bytes > 4 * short.kv_bytes


def test_experts_stay_in_memory_where_the_card_is_small() -> None:
    """A mixture with most of its bytes in experts: attention goes on the card, experts as far as there is room."""
    shape = msgspec.structs.replace(
        manifest().shape, experts=64, experts_used=4, expert_bytes=30 * GIB, embedding_length=2048
    )
    blob = msgspec.structs.replace(manifest().weights, size_bytes=32 * GIB)
    mixture = named("m", shape=shape, weights=blob, parameters=60_000_000_000)
    found = planner(budget_bytes=40 * GIB, vram_bytes=8 * GIB).planned(mixture)
    assert found.options.gpu_layers == 30
    assert 0 < found.options.experts_on_cpu < 30
    assert found.plan.memory_bytes < 30 * GIB
    everything = planner(budget_bytes=40 * GIB, vram_bytes=80 * GIB).planned(mixture)
    assert (everything.options.gpu_layers, everything.options.experts_on_cpu) == (30, 0)
    assert planner(budget_bytes=40 * GIB).planned(mixture).options.gpu_layers == -1


def test_a_model_that_does_not_fit_says_what_would() -> None:
    blob = msgspec.structs.replace(manifest().weights, size_bytes=7 * GIB)
    large = named("large", weights=blob, parameters=7_000_000_000, quantisation="Q8_0")
    with pytest.raises(Misasked) as caught:
        planner(budget_bytes=5 * GIB, would_fit=lambda _: "Of the catalogue, x:y would fit.").planned(large)
    assert "bits a weight (Q5_K_M)" in caught.value.hint
    assert "billion parameters" in caught.value.hint
    assert caught.value.hint.endswith("Of the catalogue, x:y would fit.")


def test_the_catalogue_names_a_smaller_storage_of_the_same_model_or_another_one() -> None:
    catalogue = load_catalogue().catalogue
    entry = next(e for e in catalogue.entries if e.shape and sum(v.servable for v in e.variants) > 1)
    weighed = {v.id: m for v in entry.variants if v.servable and (m := entry.weighed(v))}
    smallest = min(weighed, key=lambda each: weighed[each].size_bytes)
    largest = max(weighed, key=lambda each: weighed[each].size_bytes)
    room = weighed[largest].size_bytes - 1 + GIB
    named_instead = instead_of(catalogue, weighed[largest], room)
    assert named_instead is not None
    assert named_instead.startswith(entry.id + ":") or weighed[smallest].size_bytes > room
    assert instead_of(catalogue, weighed[largest], 1) is None


def adapter(name: str, **changes: Any) -> Manifest:
    shape = Shape(30, 0, (0,) * 30, 0, 0, 576, 0, 1)
    digest = f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
    blob = msgspec.structs.replace(manifest().weights, digest=digest, size_bytes=5 << 20)
    return named(name, **{"shape": shape, "pooling": "adapter", "weights": blob, **changes})


def test_models_that_differ_in_adapters_share_a_worker() -> None:
    shelf = Shelf({name: named(name) for name in ("m", "m-law", "m-ward")} | {n: adapter(n) for n in ("law", "ward")})
    made = planner("m-law: adapter=law*0.5", "m-ward: adapter=ward", shelf=shelf)
    base, law, ward = (made.planned(shelf.models[name]) for name in ("m", "m-law", "m-ward"))
    assert [each.name for each in base.adapters] == [each.name for each in law.adapters] == ["law", "ward"]
    assert (base.scales, law.scales, ward.scales) == ((0.0, 0.0), (0.5, 0.0), (0.0, 1.0))
    assert base.plan == law.plan
    assert base.facts == {}
    assert law.facts == {"adapters": [{"digest": shelf.models["law"].digest, "scale": 0.5}]}
    assert base.digest(shelf.models["m"]) == law.digest(shelf.models["m-law"]) != shelf.models["m"].digest
    assert base.plan.memory_bytes - planner().planned(named("m")).plan.memory_bytes > 10 << 20
    assert made.run_as(shelf.models["m"]) == made.run_as(shelf.models["m-law"])


def test_an_adapter_that_is_gone_or_for_another_model_fails_only_those_who_ask_for_it() -> None:
    shelf = Shelf({"m": named("m"), "a": named("a"), "b": named("b")})
    shelf.models["wide"] = adapter("wide", shape=Shape(30, 0, (0,) * 30, 0, 0, 640, 0, 1))
    made = planner("a: adapter=gone", "b: adapter=wide", shelf=shelf)
    assert made.planned(shelf.models["m"]).adapters == ()
    codes = []
    for name in ("a", "b", "wide"):
        with pytest.raises(Misasked) as caught:
            made.planned(shelf.models[name])
        codes.append(caught.value.code)
    assert codes == ["adapter_not_found", "adapter_does_not_fit", "adapter_alone"]
