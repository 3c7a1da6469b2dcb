"""What the pool is asked to serve: a name, a digest, a way to open the files, and a plan of what it may use."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from intramural.core.engines import Remote
from intramural.serving.options import PLAIN, EngineOptions

#: How one vector is made of a text's tokens. `last`: the last token's, which in a causal model has seen the whole text.
#: `given`: the model itself makes it. `rank`: none; a query and a text make one number, how well the text answers.
Pooling = Literal["last", "mean", "cls", "given", "rank"]


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


#: What runs a model: the engine, or for ONNX files a worker of its own kind that speaks as the engine does.
Runner = Literal["engine", "onnx"]


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file of a model, open for reading. Several of role `weights` are the shards of one set, in order; those of
    another model that guesses ahead have the role `draft`, low-rank changes to the weights the role `adapter`."""

    role: Literal["weights", "projector", "tokenizer", "draft", "adapter"]
    descriptor: int


@dataclass(frozen=True)
class ModelToServe:
    """A model with everything a worker needs.

    `open_files` returns descriptors whose content was verified through those very descriptors; whoever starts the
    worker closes them. `template` is the approved chat template's text (None: the one inside the weights). With
    `pooling` None the engine is started without embeddings. With `remote` there is nothing to open: an engine elsewhere
    has the model already.
    `scales` has, for each file of role `adapter`, how strongly it is applied to the answers: workers of models that
    differ in nothing else are one.
    """

    name: str
    digest: str
    open_files: Callable[[], Awaitable[Sequence[OpenFile]]]
    plan: Plan
    template: str | None = None
    pooling: Pooling | None = "last"
    reads_images: bool = False
    runner: Runner = "engine"
    options: EngineOptions = PLAIN
    scales: tuple[float, ...] = ()
    remote: Remote | None = None
