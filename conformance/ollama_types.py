"""Operations of the Ollama client, from its request and answer types. Its methods name their routes in plain calls."""

from typing import Any

import ollama._types as types
from pydantic import BaseModel

from conformance.spec import Field, Operation
from conformance.values import plain

#: method, path, request, answer. Every route the client's source calls; `tests` compares the two.
_ROUTES: tuple[tuple[str, str, type[BaseModel] | None, Any, bool], ...] = (
    ("POST", "/api/generate", types.GenerateRequest, types.GenerateResponse, True),
    ("POST", "/api/chat", types.ChatRequest, types.ChatResponse, True),
    ("POST", "/api/embed", types.EmbedRequest, types.EmbedResponse, False),
    ("POST", "/api/embeddings", types.EmbeddingsRequest, types.EmbeddingsResponse, False),
    ("POST", "/api/pull", types.PullRequest, types.ProgressResponse, True),
    ("POST", "/api/push", types.PushRequest, types.ProgressResponse, True),
    ("POST", "/api/create", types.CreateRequest, types.ProgressResponse, True),
    ("GET", "/api/tags", None, types.ListResponse, False),
    ("DELETE", "/api/delete", types.DeleteRequest, types.StatusResponse, False),
    ("POST", "/api/copy", types.CopyRequest, types.StatusResponse, False),
    ("POST", "/api/show", types.ShowRequest, types.ShowResponse, False),
    ("GET", "/api/ps", None, types.ProcessResponse, False),
    ("POST", "/api/blobs/{digest}", None, None, False),
    ("POST", "/api/web_search", types.WebSearchRequest, types.WebSearchResponse, False),
    ("POST", "/api/web_fetch", types.WebFetchRequest, types.WebFetchResponse, False),
    ("POST", "/api/systemone", types.SystemOneRequest, None, False),
)


def operations() -> list[Operation]:
    """Every operation of the client."""
    return [
        Operation(
            group=path.removeprefix("/api/"),
            method=method,
            path=path,
            fields=_fields(request),
            answer=answer,
            event=answer if streams else None,
        )
        for method, path, request, answer, streams in _ROUTES
    ]


def _fields(request: type[BaseModel] | None) -> tuple[Field, ...]:
    if request is None:
        return ()
    return tuple(
        Field(name.rstrip("_"), _narrowed(name, each.annotation), required=each.is_required())
        for name, each in request.model_fields.items()
    )


def _narrowed(name: str, kind: Any) -> Any:
    """The client takes any mapping for options; what is meant is the type beside it."""
    return types.Options if name in ("options", "parameters") else plain(kind)
