"""`options`: what becomes of each. Pure.

Honoured: everything that says how words are drawn, and `num_ctx` as the context that must at least be there. What is
about the machine (threads, layers on a graphics card, batches) is for whoever runs the service to decide; it has no
effect, and the answer's header `X-Intramural-Ignored` names it. What would change the answer and cannot be had is
refused.
"""

from collections.abc import Mapping
from typing import Any, Final

from intramural.core.chat import Sampling
from intramural.core.errors import Misasked
from intramural.http.ollama.shapes import OptionsIn

MAX_STOPS: Final = 16
_INT63: Final = 2**63 - 1

#: Name → (name in `Sampling`, least, most).
REALS: Final[Mapping[str, tuple[str, float, float]]] = {
    "temperature": ("temperature", 0.0, 2.0),
    "top_p": ("top_p", 0.0, 1.0),
    "min_p": ("min_p", 0.0, 1.0),
    "typical_p": ("typical_p", 0.0, 1.0),
    "presence_penalty": ("presence_penalty", -2.0, 2.0),
    "frequency_penalty": ("frequency_penalty", -2.0, 2.0),
    "repeat_penalty": ("repeat_penalty", 0.01, 10.0),
}
#: Without effect, and said to be.
HINTS: Final = (
    "num_batch", "num_gpu", "main_gpu", "num_thread", "num_keep", "draft_num_predict", "use_mmap", "use_mlock", "numa",
    "low_vram", "f16_kv", "logits_all", "vocab_only", "embedding_only",
)  # fmt: skip
#: Refused, but for the values that ask for nothing. Without Mirostat its two numbers say nothing.
_NEUTRAL: Final[Mapping[str, tuple[Any, ...]]] = {
    "mirostat": (0,),
    "tfs_z": (1,),
    "penalize_newline": (False,),
}
_INSTEAD: Final = "Leave it out. There are `temperature`, `top_p`, `min_p`, `typical_p` and `repeat_penalty`."


def sampling(options: OptionsIn | None, *, logprobs: bool | None, top_logprobs: int | None) -> Sampling:
    """How tokens are drawn. Raises Misasked naming `options.NAME`."""
    given = options or OptionsIn()
    for name, neutral in _NEUTRAL.items():
        if getattr(given, name) not in (None, *neutral):
            raise _refused(name, f"`options.{name}` is not supported.", _INSTEAD)
    alternatives = top_logprobs or 0
    if not 0 <= alternatives <= 20:
        raise Misasked("bad_parameter", f"`top_logprobs` is {top_logprobs}.", "From 0 to 20.", param="top_logprobs")
    if alternatives and not logprobs:
        message = "`top_logprobs` needs `logprobs: true`."
        raise Misasked("bad_parameter", message, "Set both or neither.", param="top_logprobs")
    reals: dict[str, Any] = {ours: _real(given, name, low, high) for name, (ours, low, high) in REALS.items()}
    return Sampling(
        **reals,
        top_k=_top_k(given),
        repeat_last_n=_whole(given, "repeat_last_n", -1, 2**20),
        seed=_seed(given),
        max_tokens=_num_predict(given),
        stop=_stop(given),
        logprobs=bool(logprobs),
        top_logprobs=alternatives,
    )


def context_tokens(options: OptionsIn | None) -> int | None:
    """The context that must at least be there; None: any."""
    return None if options is None else _whole(options, "num_ctx", 1, 2**31)


def without_effect(options: OptionsIn | None) -> list[str]:
    """Names of what was given and has no effect."""
    return [] if options is None else [name for name in HINTS if getattr(options, name) is not None]


def without_effect_on_vectors(options: OptionsIn | None) -> list[str]:
    """As `without_effect`, where nothing is generated: only `num_ctx` says anything."""
    names = [name for name in OptionsIn.__struct_fields__ if name != "num_ctx"]
    return [] if options is None else [name for name in names if getattr(options, name) is not None]


def _real(given: OptionsIn, name: str, low: float, high: float) -> float | None:
    value: float | None = getattr(given, name)
    if value is not None and not low <= value <= high:
        raise _bad(name, f"`options.{name}` is {value}.", f"It must be from {low:g} to {high:g}.")
    return value


def _whole(given: OptionsIn, name: str, low: int, high: int) -> int | None:
    value: float | None = getattr(given, name)
    if value is None:
        return None
    if value != value or abs(value) == float("inf") or int(value) != value:
        raise _bad(name, f"`options.{name}` is {value}.", "It must be a whole number.")
    if not low <= value <= high:
        raise _bad(name, f"`options.{name}` is {value}.", f"It must be from {low} to {high}.")
    return int(value)


def _top_k(given: OptionsIn) -> int | None:
    """Nothing and less mean: no such limit."""
    value = _whole(given, "top_k", -_INT63, 1_000_000)
    return None if value is None else max(0, value)


def _seed(given: OptionsIn) -> int | None:
    """-1 means: choose one."""
    value = _whole(given, "seed", -_INT63 - 1, _INT63)
    return None if value == -1 else value


def _num_predict(given: OptionsIn) -> int | None:
    """-1 and -2 mean: as many as there is room for."""
    value = _whole(given, "num_predict", -2, _INT63)
    if value == 0:
        raise _bad("num_predict", "`options.num_predict` is 0.", "It must be -1 (no limit), or at least 1.")
    return None if value is None or value < 0 else value


def _stop(given: OptionsIn) -> tuple[str, ...]:
    stops = (given.stop,) if isinstance(given.stop, str) else tuple(given.stop or ())
    if len(stops) > MAX_STOPS or any(not 0 < len(each) <= 1024 for each in stops):
        raise _bad("stop", "`options.stop` is out of bounds.", f"At most {MAX_STOPS} texts of 1 to 1024 characters.")
    return stops


def _bad(name: str, message: str, hint: str) -> Misasked:
    return Misasked("bad_parameter", message, hint, param=f"options.{name}")


def _refused(name: str, message: str, hint: str) -> Misasked:
    return Misasked("unsupported_parameter", message, hint, param=f"options.{name}")
