"""The HTTP doors: they speak the outside's languages and have no rules of their own.

Promises: wire shapes stop here; every field of a request is honoured or refused by name; every refusal has the
dialect's own error body with code, message and what to try; a client that leaves cancels what it asked for.
Never: decides who may do what, touches a database, a model or a worker. It calls `services`.

Read in this order: `errors`, `wire`, `bodies`, `checks`, `identity`, `doors`, `replay`, `gathered`, `sse`,
`operations`; the dialects `openai`, `anthropic` and `ollama`, with what they share: `images`, `uploads`, `attachments`,
`abilities`, `balances`, `labels`, `models`, `files`; what is nobody's dialect: `rerank`, `tokens`, `receipts`,
`streams`, `mcp`, `scim`, `witness`; then `page`, `health`, `browsers`, `paced`, `inside`, `build`.
"""

from intramural.http.build import build
from intramural.http.replay import Streams

__all__ = ["Streams", "build"]
