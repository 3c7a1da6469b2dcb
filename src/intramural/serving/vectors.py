"""What is asked of a model besides generations: vectors, ranks and tokens, as whole answers within one lease.

Inputs go to the worker a few at a time: enough to fill its slots, few enough that others get their turn in between and
that a client who leaves is noticed.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, TypeVar

import msgspec

from intramural.core.chat import Embeddings, Ranking
from intramural.core.errors import IntramuralError, Misasked
from intramural.serving.exchange import worker_garbage
from intramural.serving.model import ModelToServe

#: Inputs of one request to a worker that computes them together.
TOGETHER = 16

#: Left free where a text is cut: for the tokens around it, and because what was cut apart may be read as a few more.
_ROOM_TOKENS = 8

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Byte = Annotated[int, msgspec.Meta(ge=0, le=255)]
_Body = TypeVar("_Body", bound=msgspec.Struct)
_Item = TypeVar("_Item")


class WholeLease(Protocol):
    """A slot of a ready worker (see `answer.Lease`) that can read whole answers."""

    async def whole(self, target: str, body: object, shape: type[_Body]) -> _Body: ...
    async def blame(self, error: IntramuralError) -> IntramuralError: ...


@dataclass(frozen=True, slots=True)
class Token:
    """A token and the bytes it stands for, which need not be whole characters."""

    id: int
    piece: bytes


class _Vector(msgspec.Struct):
    embedding: list[float]
    index: _Count = 0


class _Usage(msgspec.Struct):
    prompt_tokens: _Count = 0
    total_tokens: _Count = 0  # all that vLLM says of ranks


class _Vectors(msgspec.Struct):
    data: list[_Vector]
    usage: _Usage


class _Score(msgspec.Struct):
    index: _Count
    relevance_score: float


class _Scores(msgspec.Struct):
    results: list[_Score]
    usage: _Usage


class _Token(msgspec.Struct):
    id: _Count
    #: Bytes where the piece is no text by itself.
    piece: str | list[_Byte]


class _Tokens(msgspec.Struct):
    tokens: list[_Token]


class _Ids(msgspec.Struct):
    tokens: list[_Count]


class _Content(msgspec.Struct):
    """`prompt` is vLLM's word."""

    content: str | None = None
    prompt: str | None = None


async def embed(
    lease: WholeLease, model: ModelToServe, inputs: Sequence[str | tuple[int, ...]], *, cut: bool = False
) -> Embeddings:
    """One vector of length 1 per input. Raises Misasked(`context_length_exceeded`) naming the input, or with `cut`
    takes the beginning of a text that is too long.

    Prompts of a generating model (pooling `last`) go one by one; an encoder takes short steps, several together.
    """
    vectors: list[tuple[float, ...]] = []
    prompt_tokens = 0
    were_cut: list[int] = []
    if cut:
        most_tokens = max(1, model.plan.context_tokens - _ROOM_TOKENS)
        shorter = [each if isinstance(each, tuple) else await _cut(lease, each, most_tokens) for each in inputs]
        were_cut = [at for at, each in enumerate(shorter) if each != inputs[at]]
        inputs = shorter
    for first, some in _some(inputs, 1 if model.pooling == "last" else TOGETHER):
        bodies = [{"input": each} for each in some]
        try:
            asked = bodies[0] if len(some) == 1 else {"input": some}
            answer = await lease.whole("/v1/embeddings", asked, _Vectors)
        except Misasked as error:
            found, at = await _at_fault(lease, error, "/v1/embeddings", bodies, _Vectors)
            raise _named(found, "input" if len(inputs) == 1 else f"input[{first + at}]", "Split the text.") from None
        ordered = sorted(answer.data, key=lambda each: each.index)
        if len(ordered) != len(some) or (vectors and len(ordered[0].embedding) != len(vectors[0])):
            raise await lease.blame(worker_garbage("embeddings nobody asked for"))
        made = [tuple(each.embedding) for each in ordered]
        vectors += made if model.remote is None else map(_unit, made)
        prompt_tokens += answer.usage.prompt_tokens
    return Embeddings(tuple(vectors), prompt_tokens, tuple(were_cut))


async def rerank(
    lease: WholeLease, query: str, documents: Sequence[str], max_tokens_per_document: int | None
) -> Ranking:
    """A score per document. With `max_tokens_per_document` longer ones are cut to that; one that does not fit beside
    the query raises Misasked(`context_length_exceeded`) naming it."""
    scores: list[float] = []
    prompt_tokens = 0
    if max_tokens_per_document is not None:
        documents = [await _cut(lease, each, max_tokens_per_document) for each in documents]
    for first, some in _some(documents, TOGETHER):
        bodies = [{"query": query, "documents": [each]} for each in some]
        try:
            answer = await lease.whole("/v1/rerank", {"query": query, "documents": some}, _Scores)
        except Misasked as error:
            found, at = await _at_fault(lease, error, "/v1/rerank", bodies, _Scores)
            hint = "Send `max_tokens_per_doc` to have documents cut, or split it."
            raise _named(found, f"documents[{first + at}]", hint) from None
        ordered = sorted(answer.results, key=lambda each: each.index)
        if [each.index for each in ordered] != list(range(len(some))):
            raise await lease.blame(worker_garbage("ranks nobody asked for"))
        scores += [each.relevance_score for each in ordered]
        prompt_tokens += answer.usage.prompt_tokens or answer.usage.total_tokens
    if not all(map(math.isfinite, scores)):
        raise await lease.blame(worker_garbage("a rank that is no number"))
    return Ranking(tuple(scores), prompt_tokens)


async def tokenize(lease: WholeLease, text: str, *, special: bool, marks: bool) -> tuple[Token, ...]:
    """The tokens of `text`. `special`: with those the model puts around a text. `marks`: what is spelt like a special
    token (`<|im_end|>`) is one."""
    asked = {"content": text, "add_special": special, "parse_special": marks, "with_pieces": True}
    answer = await lease.whole("/tokenize", asked, _Tokens)
    return tuple(Token(each.id, _raw(each.piece)) for each in answer.tokens)


async def detokenize(lease: WholeLease, tokens: Sequence[int]) -> str:
    """The text that `tokens` stand for. Raises Misasked(`invalid_token`)."""
    found = await lease.whole("/detokenize", {"tokens": list(tokens)}, _Content)
    return found.content or found.prompt or ""


def _unit(vector: Sequence[float]) -> tuple[float, ...]:
    """An engine elsewhere may make vectors of any length."""
    length = math.sqrt(math.fsum(x * x for x in vector))
    return tuple(x / length for x in vector) if length and math.isfinite(length) else tuple(vector)


def _raw(piece: str | list[int]) -> bytes:
    return piece.encode() if isinstance(piece, str) else bytes(piece)


def _some(items: Sequence[_Item], count: int) -> Iterator[tuple[int, Sequence[_Item]]]:
    """`count` of them at a time, and the place of the first."""
    return ((first, items[first : first + count]) for first in range(0, len(items), count))


async def _cut(lease: WholeLease, text: str, most_tokens: int) -> str:
    if len(text.encode()) <= most_tokens:  # a token is at least a byte
        return text
    tokens = (await lease.whole("/tokenize", {"content": text}, _Ids)).tokens
    return text if len(tokens) <= most_tokens else await detokenize(lease, tokens[:most_tokens])


async def _at_fault(
    lease: WholeLease, error: Misasked, target: str, bodies: Sequence[dict[str, Any]], shape: type[msgspec.Struct]
) -> tuple[Misasked, int]:
    """Which of inputs that went together is refused, and with what: each is asked alone until one is."""
    for at, body in enumerate(bodies if len(bodies) > 1 else ()):
        try:
            await lease.whole(target, body, shape)
        except Misasked as found:
            return found, at
    return error, 0


def _named(error: Misasked, param: str, hint: str) -> Misasked:
    if error.code == "context_length_exceeded":
        return Misasked(error.code, error.message.replace("The prompt", f"`{param}`"), hint, param=param)
    return Misasked(error.code, error.message, error.hint, param=param)
