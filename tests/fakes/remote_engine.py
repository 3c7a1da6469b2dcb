"""An engine elsewhere that can misbehave: a real HTTP server on loopback that speaks as vLLM does, with knobs."""

import json
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.web import Reply, Request

Json = dict[str, Any]


def sse(*frames: Json | str) -> bytes:
    """Frames as an event stream."""
    return b"".join(b"data: " + (f if isinstance(f, str) else json.dumps(f)).encode() + b"\n\n" for f in frames)


@dataclass
class Engine:
    """What `tests.fakes.web.serving` asks. Change its knobs at any time.

    `serves`: names in the list of models. `healthy`: what the health check says. `replies`: taken one by one by
    requests for answers, before the well-behaved ones. `counts`: whether every frame carries counts.
    """

    serves: tuple[str, ...] = ("theirs",)
    healthy: bool = True
    max_model_len: int | None = 512
    words: tuple[str, ...] = ("one", " two", " three")
    reasoning: tuple[str, ...] = ()
    counts: bool = True
    build_info: str | None = None  # a llama-server's, in its properties
    replies: list[Reply] = field(default_factory=list)
    asked: list[tuple[str, Json]] = field(default_factory=list)
    seen: list[Request] = field(default_factory=list)

    def __call__(self, request: Request) -> Reply:
        self.seen.append(request)
        if request.path == "/health":
            return Reply(200 if self.healthy else 503)
        if request.path == "/v1/models":
            if not self.healthy:
                return Reply(503)
            about = {"object": "model", "max_model_len": self.max_model_len}
            return self.json({"object": "list", "data": [{"id": name, **about} for name in self.serves]})
        if request.path == "/props":
            return Reply(404) if self.build_info is None else self.json({"build_info": self.build_info})
        self.asked.append((request.path, json.loads(request.body)))
        if self.replies:
            return self.replies.pop(0)
        if request.path in ("/v1/chat/completions", "/v1/completions"):
            return self.stream(chat=request.path.endswith("chat/completions"))
        if request.path == "/v1/embeddings":
            given = self.asked[-1][1]["input"]
            count = len(given) if isinstance(given, list) else 1
            data = [{"index": i, "embedding": [3.0, 4.0 + i]} for i in range(count)]
            return self.json({"data": data, "usage": {"prompt_tokens": 7, "total_tokens": 7}})
        if request.path == "/v1/rerank":
            count = len(self.asked[-1][1]["documents"])
            results = [{"index": i, "relevance_score": 0.5 + i / 10} for i in reversed(range(count))]
            return self.json({"results": results, "usage": {"total_tokens": 9}})
        if request.path == "/tokenize":
            return self.json({"count": 5, "max_model_len": 512, "tokens": [1, 2, 3, 4, 5]})
        return Reply(404)

    def stream(self, *, chat: bool = True) -> Reply:
        """A whole answer."""
        return Reply(200, {"Content-Type": "text/event-stream"}, self.body(chat=chat))

    def body(self, *, chat: bool = True) -> bytes:
        """Its frames, as vLLM writes them."""
        frames: list[Json | str] = []
        pieces = [("reasoning", text) for text in self.reasoning] + [("content", text) for text in self.words]
        for count, (name, text) in enumerate(pieces, start=1):
            choice: Json = {"index": 0, "finish_reason": None, "logprobs": None}
            choice |= {"delta": {name: text}} if chat else {"text": text}
            frames.append({"choices": [choice], **({"usage": self.usage(count)} if self.counts else {})})
        end = {"index": 0, "finish_reason": "stop", "stop_reason": None, **({"delta": {}} if chat else {"text": ""})}
        frames.append({"choices": [end]})
        frames.append({"choices": [], "usage": self.usage(len(pieces))})
        return sse(*frames, "[DONE]")

    @staticmethod
    def usage(completion_tokens: int) -> Json:
        total = 11 + completion_tokens
        return {"prompt_tokens": 11, "total_tokens": total, "completion_tokens": completion_tokens,
                "prompt_tokens_details": None}  # fmt: skip

    @staticmethod
    def json(value: Any, status: int = 200, **headers: str) -> Reply:
        return Reply(status, {"Content-Type": "application/json", **headers}, json.dumps(value).encode())

    @classmethod
    def error(cls, status: int, message: str = "no", **headers: str) -> Reply:
        """As vLLM words one."""
        return cls.json({"error": {"message": message, "type": "BadRequestError", "param": None, "code": status}},
                        status, **headers)  # fmt: skip
