"""How the engine computes a model: what an administrator may set for it, within bounds. Pure.

    serving.options = ["llama-8b: kv=q8_0 context=32768 slots=1", "*: flash=on"]

Settings for `*` hold for every model, those for one model before them. Everything is off unless measured to be better:
`bench/options.py` has a line for each, docs/tuning.md says what to expect.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from intramural.core.errors import Misasked

Kv = Literal["f16", "q8_0", "q4_0"]
Flash = Literal["auto", "on", "off"]
Rope = Literal["none", "linear", "yarn"]
Speculative = Literal["off", "ngram", "draft"]

#: What stretching is known to bear: beyond it answers turn into noise (YaRN: arXiv 2309.00071; linear: 2306.15595).
MOST_STRETCH: Mapping[Rope, float] = {"none": 1.0, "linear": 4.0, "yarn": 8.0}
MOST_CONTEXT_TOKENS = 1 << 20
MOST_SLOTS = 64
MOST_LAYERS = 512
MOST_ADAPTERS = 8
MOST_SCALE = 4.0
ANY_MODEL = "*"


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """`kv`: how the cache is stored. `full_windows`: sliding windows cache the whole context, so that every turn can be
    gone on from. `stretch`: how many times its trained context a model is given. `draft`: the small model of the shelf
    that guesses ahead. `context_tokens` and `slots`: instead of the settings' (0: those). `gpu_layers` (-1: as many as
    there is room for) and `experts_on_cpu` are for engines with a graphics card; others ignore them. `adapters`: names
    in the library, with how strongly each is applied."""

    kv: Kv = "f16"
    flash: Flash = "auto"
    full_windows: bool = False
    rope: Rope = "none"
    stretch: float = 1.0
    speculative: Speculative = "off"
    draft: str = ""
    context_tokens: int = 0
    slots: int = 0
    gpu_layers: int = -1
    experts_on_cpu: int = 0
    adapters: tuple[tuple[str, float], ...] = ()


PLAIN = EngineOptions()
Given = Mapping[str, Mapping[str, Any]]


def parse_options(lines: Iterable[str]) -> Given:
    """What is set for each model, as fields of `EngineOptions`. Raises Misasked(`bad_setting`)."""
    found: dict[str, dict[str, Any]] = {}
    for line in lines:
        # A model's name may have a colon of its own, as in `qwen3:8b`; the one that ends it has a space behind it.
        name, colon, rest = line.partition(": ")
        if not colon or not name.strip() or not rest.split():
            raise _bad(line, "It has the form `MODEL: key=value key=value`.")
        given = found.setdefault(name.strip(), {})
        for pair in rest.split():
            key, equals, value = pair.partition("=")
            if not equals:
                raise _bad(line, f"{pair!r} is not `key=value`.")
            given.update(_adapter(line, value, given) if key == "adapter" else _field(line, key, value))
    for name, given in found.items():
        _checked(EngineOptions(**{**found.get(ANY_MODEL, {}), **given}), name)
    return found


def options_for(given: Given, name: str) -> EngineOptions:
    """The options of the model `name`."""
    both = {**given.get(ANY_MODEL, {}), **given.get(name, {})}
    return replace(PLAIN, **both) if both else PLAIN


def as_text(options: EngineOptions) -> str:
    """What differs from the plain, for people: `kv=q8_0 stretch=2`."""
    changed = [each.name for each in fields(options) if getattr(options, each.name) != getattr(PLAIN, each.name)]
    return " ".join(f"{name}={getattr(options, name)}" for name in changed)


def _field(line: str, key: str, value: str) -> dict[str, Any]:
    match key:
        case "kv":
            return {"kv": _one_of(line, key, value, ("f16", "q8_0", "q4_0"))}
        case "flash":
            return {"flash": _one_of(line, key, value, ("auto", "on", "off"))}
        case "windows":
            return {"full_windows": _one_of(line, key, value, ("sliding", "full")) == "full"}
        case "rope":
            return _rope(line, value)
        case "speculative":
            kind, _, draft = value.partition(":")
            _one_of(line, key, kind, ("off", "ngram", "draft"))
            if (kind == "draft") != bool(draft):
                raise _bad(line, "A draft model is named so: `speculative=draft:NAME`.")
            return {"speculative": kind, "draft": draft}
        case "context":
            return {"context_tokens": _number(line, key, value, 256, MOST_CONTEXT_TOKENS)}
        case "slots":
            return {"slots": _number(line, key, value, 1, MOST_SLOTS)}
        case "gpu_layers":
            return {"gpu_layers": _number(line, key, value, 0, MOST_LAYERS)}
        case "experts_on_cpu":
            return {"experts_on_cpu": _number(line, key, value, 0, MOST_LAYERS)}
    known = "kv, flash, windows, rope, speculative, context, slots, adapter, gpu_layers, experts_on_cpu"
    raise _bad(line, f"There is no {key!r}. Known: {known}.")


def _adapter(line: str, value: str, given: Mapping[str, Any]) -> dict[str, Any]:
    name, star, factor = value.partition("*")
    try:
        scale = float(factor) if star else 1.0
    except ValueError:
        scale = 0.0
    before: tuple[tuple[str, float], ...] = given.get("adapters", ())
    if not name or not 0 < scale <= MOST_SCALE:
        raise _bad(
            line, f"It is `adapter=NAME` or `adapter=NAME*SCALE`, with a scale above 0 and at most {MOST_SCALE:g}."
        )
    if len(before) >= MOST_ADAPTERS or name in dict(before):
        raise _bad(line, f"A model has at most {MOST_ADAPTERS} adapters, each once.")
    return {"adapters": (*before, (name, scale))}


def _rope(line: str, value: str) -> dict[str, Any]:
    kind, _, factor = value.partition(":")
    _one_of(line, "rope", kind, tuple(MOST_STRETCH))
    if kind == "none":
        return {"rope": "none", "stretch": 1.0}
    most = next(number for name, number in MOST_STRETCH.items() if name == kind)
    try:
        stretch = float(factor)
    except ValueError:
        raise _bad(line, f"It is `rope={kind}:FACTOR`.") from None
    if not 1 < stretch <= most:
        raise _bad(line, f"The factor of rope={kind} is above 1 and at most {most:g}.")
    return {"rope": kind, "stretch": stretch}


def _one_of(line: str, key: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise _bad(line, f"{key} is one of: {', '.join(known)}.")
    return value


def _number(line: str, key: str, value: str, least: int, most: int) -> int:
    if not value.isascii() or not value.isdigit() or not least <= int(value) <= most:
        raise _bad(line, f"{key} is a number from {least} to {most}.")
    return int(value)


def _checked(options: EngineOptions, name: str) -> None:
    if options.kv != "f16" and options.flash == "off":
        raise _bad(f"{name}: kv={options.kv} flash=off", "A quantised cache needs flash attention: leave it at auto.")
    if options.draft == name:
        raise _bad(f"{name}: speculative=draft:{name}", "A model cannot be its own draft.")


def _bad(line: str, why: str) -> Misasked:
    return Misasked("bad_setting", f"serving.options has {line!r}.", why)
