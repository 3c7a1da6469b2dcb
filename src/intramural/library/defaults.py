"""What a model says and does unless a request says otherwise: its own system text, first messages and sampling. Pure.

Kept in the manifest, so that they hold in every dialect.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import structs
from msgspec.structs import replace

from intramural.core.chat import ChatRequest, Message

MAX_TEXT_CHARS: Final = 64 * 1024
MAX_MESSAGES: Final = 256

_Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT_CHARS)]


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of the messages that stand before every conversation."""

    role: Literal["system", "user", "assistant"]
    content: _Text


class Defaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """None and nothing: as for any other model. The numbers are those of `core.chat.Sampling`.

    `context_tokens`: the most a slot gets, where that is less than the settings say.
    """

    system: _Text | None = None
    messages: Annotated[tuple[Said, ...], msgspec.Meta(max_length=MAX_MESSAGES)] = ()
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    typical_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repeat_penalty: float | None = None
    repeat_last_n: int | None = None
    seed: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    context_tokens: int | None = None

    @property
    def given(self) -> list[str]:
        """Names of what is set."""
        return [each.name for each in structs.fields(self) if getattr(self, each.name) not in (None, ())]


SAMPLING: Final = (
    "temperature", "top_p", "top_k", "min_p", "typical_p", "presence_penalty", "frequency_penalty", "repeat_penalty",
    "repeat_last_n", "seed", "max_tokens", "stop",
)  # fmt: skip


def as_options(defaults: Defaults | None) -> dict[str, Any]:
    """Its numbers as Ollama calls them, in its API and in registries."""
    if defaults is None:
        return {}
    called = {"max_tokens": "num_predict", "context_tokens": "num_ctx"}
    found = {name: getattr(defaults, name) for name in (*SAMPLING, "context_tokens") if name in defaults.given}
    return {called.get(name, name): list(v) if isinstance(v, tuple) else v for name, v in found.items()}


def merged(before: Defaults | None, given: Defaults) -> Defaults | None:
    """`given`, and of `before` what `given` leaves open; None if nothing is set at all."""
    both = structs.replace(before or Defaults(), **{name: getattr(given, name) for name in given.given})
    return both if both.given else None


def applied(request: ChatRequest, defaults: Defaults | None) -> ChatRequest:
    """`request` with what it leaves open. Its own system text goes before the model's; a raw prompt stays as it is."""
    if defaults is None:
        return request
    open_ones: dict[str, Any] = {
        name: getattr(defaults, name) for name in SAMPLING if getattr(request.sampling, name) in (None, ())
    }
    sampling = replace(request.sampling, **open_ones)
    return replace(request, sampling=sampling, messages=_begun(request.messages, defaults))


def _begun(messages: tuple[Message, ...], defaults: Defaults) -> tuple[Message, ...]:
    if not messages:
        return messages
    own = next((at for at, message in enumerate(messages) if message.role != "system"), len(messages))
    system = messages[:own] or ((Message("system", defaults.system),) if defaults.system is not None else ())
    return (*system, *(Message(said.role, said.content) for said in defaults.messages), *messages[own:])
