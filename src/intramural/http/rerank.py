"""`/v1/rerank` and `/v2/rerank`: which of some documents answer a query, best first.

The shapes are Cohere's (its versions 1 and 2) and Jina's, which differ in little: one answer serves all. Sources:
Cohere's API reference, Jina's, and what vLLM and llama.cpp's server answer.
"""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from intramural.core.chat import Ranking
from intramural.core.errors import Misasked
from intramural.http import bodies, sse
from intramural.http.checks import bad
from intramural.http.doors import Doors
from intramural.http.openai.parse import labels
from intramural.http.operations import Operation
from intramural.http.wire import Json
from intramural.metering import Dialect

MAX_DOCUMENTS = 1000
_MAX_TOKENS = 2**20
_DIALECT: Dialect = "openai"


class DocumentIn(msgspec.Struct, forbid_unknown_fields=True):
    """A document as an object; its text is what is ranked."""

    text: str


class RerankIn(msgspec.Struct, forbid_unknown_fields=True):
    """All fields of Cohere's `/v1/rerank` and `/v2/rerank` and of Jina's."""

    model: str
    query: str | DocumentIn
    documents: list[str | DocumentIn]
    top_n: int | None = None
    return_documents: bool | None = None
    max_tokens_per_doc: int | None = None
    max_chunks_per_doc: int | None = None
    rank_fields: list[str] | None = None
    priority: int | None = None
    return_embeddings: bool | None = None
    user: str | None = None


def operations(doors: Doors) -> list[Operation]:
    """Ranking documents."""
    inference = doors.services.inference

    async def rerank(request: Request) -> Response:
        caller = await doors.identify(request)
        wire = bodies.decode(await doors.body(request), RerankIn)
        query, documents = _checked(wire)
        request_id = doors.request_id(request)
        # Jina's clients get the documents back unless they say otherwise, Cohere's newer ones never.
        shown = wire.return_documents if wire.return_documents is not None else request.url.path.startswith("/v1/")

        async def whole() -> Response:
            ranking = await inference.rerank(
                caller.actor, wire.model, query, documents, _DIALECT, request_id,
                max_tokens_per_document=wire.max_tokens_per_doc, labels=labels(wire),
            )  # fmt: skip
            body = answer(request_id, wire.model, ranking, documents if shown else None, wire.top_n)
            return Json(body, headers={"X-Request-Id": request_id})

        return await sse.answered(request, whole())

    return [
        Operation("POST", path, "Rank documents by how well they answer a query.", rerank, RerankIn)
        for path in ("/v1/rerank", "/v2/rerank")
    ]


def answer(
    request_id: str, model: str, ranking: Ranking, documents: list[str] | None, top_n: int | None
) -> dict[str, Any]:
    """The whole answer: the best `top_n` (all), best first, with their texts if `documents` are given."""
    order = sorted(range(len(ranking.scores)), key=lambda at: -ranking.scores[at])
    results = []
    for at in order[:top_n]:
        text = {} if documents is None else {"document": {"text": documents[at]}}
        results.append({"index": at, "relevance_score": ranking.scores[at], **text})
    return {
        "id": request_id,
        "object": "list",
        "model": model,
        "results": results,
        "usage": {"prompt_tokens": ranking.prompt_tokens, "total_tokens": ranking.prompt_tokens},
        "meta": {
            "api_version": {"version": "2"},
            "billed_units": {"search_units": 1},
            "tokens": {"input_tokens": ranking.prompt_tokens, "output_tokens": 0},
        },
    }


def _checked(wire: RerankIn) -> tuple[str, list[str]]:
    """Query and documents as texts. Raises Misasked naming the parameter."""
    for field, neutral in (("max_chunks_per_doc", 1), ("return_embeddings", False), ("priority", 0)):
        if getattr(wire, field) not in (None, neutral):
            raise _unsupported(field, "Leave it out.")
    if wire.rank_fields not in (None, [], ["text"]):
        raise _unsupported("rank_fields", "Send each document as one text.")
    query, documents = _text(wire.query), [_text(each) for each in wire.documents]
    if not query.strip():
        raise bad("query", "`query` is empty.", "Send some text.")
    if not 1 <= len(documents) <= MAX_DOCUMENTS:
        raise bad("documents", f"`documents` has {len(documents)} entries.", f"Send 1 to {MAX_DOCUMENTS}.")
    for at, each in enumerate(documents):
        if not each.strip():
            raise bad(f"documents[{at}]", f"`documents[{at}]` is empty.", "Leave it out.")
    if wire.top_n is not None and wire.top_n < 1:
        raise bad("top_n", f"`top_n` is {wire.top_n}.", "It must be at least 1.")
    if wire.max_tokens_per_doc is not None and not 1 <= wire.max_tokens_per_doc <= _MAX_TOKENS:
        message = f"`max_tokens_per_doc` is {wire.max_tokens_per_doc}."
        raise bad("max_tokens_per_doc", message, f"It must be from 1 to {_MAX_TOKENS}.")
    return query, documents


def _text(given: str | DocumentIn) -> str:
    return given if isinstance(given, str) else given.text


def _unsupported(field: str, hint: str) -> Misasked:
    return Misasked("unsupported_parameter", f"`{field}` is not supported.", hint, param=field)
