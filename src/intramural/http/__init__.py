"""The HTTP doors: they speak the outside's languages and have no rules of their own.

Promises: wire shapes stop here; every field of a request is honoured or refused by name; every refusal has the
dialect's own error body with code, message and what to try; a client that leaves cancels what it asked for.
Never: decides who may do what, touches a database, a model or a worker. It calls `services`.

Read in this order: `errors`, `wire`, `bodies`, `identity`, `replay`, `sse`, `operations`, `openai/`, `page/`, `health`,
`browsers`, `build`.
"""

from intramural.http.build import build
from intramural.http.replay import Streams

__all__ = ["Streams", "build"]
