"""What the pool is asked to serve: a name, the weights' digest, a way to open them, and a plan of what they may use."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol

#: How one vector is made of a text's tokens. `last`: the last token's, which in a causal model has seen the whole text.
Pooling = Literal["last", "mean", "cls"]


class Plan(Protocol):
    """What a worker may use. `context_tokens` is per slot; `memory_bytes` is weights, context and compute together."""

    @property
    def context_tokens(self) -> int: ...
    @property
    def slots(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class ServingPlan:
    """The plainest `Plan`."""

    context_tokens: int
    slots: int
    memory_bytes: int


@dataclass(frozen=True)
class ModelToServe:
    """A model with everything a worker needs.

    `open_weights` returns an open descriptor whose content was verified through that very descriptor; whoever starts
    the worker closes it. `template` is the approved chat template's text (None: the one inside the weights).
    """

    name: str
    digest: str
    open_weights: Callable[[], Awaitable[int]]
    plan: Plan
    template: str | None = None
    pooling: Pooling = "last"
