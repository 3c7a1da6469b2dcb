"""The dialect routes in the OpenAPI document: generated from the msgspec shapes that decode them."""

from typing import Any

import msgspec

from intramural.http.openai import shapes

_REF = "#/components/schemas/{name}"
_ERROR = {"description": "An error in OpenAI's shape, with a hint."}
_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"session": []}]
_BODIES: dict[str, tuple[type, str]] = {
    "/v1/chat/completions": (shapes.ChatIn, "Answer a conversation."),
    "/v1/completions": (shapes.CompletionIn, "Continue a text."),
    "/v1/embeddings": (shapes.EmbeddingIn, "Turn texts into vectors."),
}


def extend(document: dict[str, Any]) -> dict[str, Any]:
    """`document` with the routes that FastAPI does not know: the dialects, health and metrics."""
    schemas, components = msgspec.json.schema_components([shape for shape, _ in _BODIES.values()], ref_template=_REF)
    document["components"].setdefault("schemas", {}).update(components)
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "session": {"type": "apiKey", "in": "cookie", "name": "intramural_session"},
    }
    for (path, (_, summary)), schema in zip(_BODIES.items(), schemas, strict=True):
        body = {"required": True, "content": {"application/json": {"schema": schema}}}
        document["paths"][path] = {"post": _operation(summary, request_body=body)}
    document["paths"]["/v1/models"] = {"get": _operation("The models one may use.")}
    document["paths"]["/v1/models/{name}"] = {"get": _operation("One model.", parameters=[_path_parameter("name")])}
    document["paths"]["/metrics"] = {"get": _operation("Prometheus metrics.", media="text/plain")}
    document["paths"]["/healthz"] = {"get": _operation("Whether the process runs.", public=True)}
    document["paths"]["/readyz"] = {"get": _operation("Whether it can answer.", public=True)}
    return document


def _operation(
    summary: str,
    *,
    request_body: dict[str, Any] | None = None,
    parameters: list[dict[str, Any]] | None = None,
    media: str = "application/json",
    public: bool = False,
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {
            "200": {"description": "The answer.", "content": {media: {}}},
            "4XX": _ERROR,
            "5XX": _ERROR,
        },
        "security": [] if public else _SECURITY,
    }
    if request_body:
        operation["requestBody"] = request_body
    if parameters:
        operation["parameters"] = parameters
    return operation


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
