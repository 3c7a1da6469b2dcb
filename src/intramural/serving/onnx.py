"""The child's side of an ONNX model: vectors, ranks and tokens on a Unix socket. `serve` runs after confinement.

It speaks the HTTP that the engine speaks, so that pool and scheduler need not know which of the two a worker is. Every
import is at the top: nothing can be imported once it is confined. No thread exists before that; ONNX Runtime makes its
own when a session is made.

Texts are computed one at a time, and requests take turns between them. A batch would be a tenth quicker at best, for
short texts (measured; 64 of 10 tokens: 47 a second instead of 38, of 200 tokens none), and with dynamically quantised
weights, which nearly all published ones for processors are, a text's vector would depend on its neighbours.
"""

import contextlib
import json
import select
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import httptools
import numpy as np
import onnxruntime
import tokenizers

Json: TypeAlias = dict[str, Any]

_BACKLOG = 128
_MAX_BODY_BYTES = 64 << 20
_READ_BYTES = 1 << 16


def serve(arg: Mapping[str, Any], fds: Mapping[str, int]) -> None:
    """Load the model and answer on `arg["socket"]` until the process is ended.

    `arg`: socket, weights, tokenizer (paths; `fds` keeps open what they lead to), context_tokens, threads, pooling.
    """
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(arg["socket"])
    listening.listen(_BACKLOG)
    encoder = _Encoder(arg)
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=_converse, args=(connection, encoder), daemon=True).start()


class _Asked(Exception):
    """The request is wrong; said in the engine's shape."""

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.body: Json = {"error": {"code": 400, "type": "invalid_request_error", "message": message, **fields}}


class _Gone(Exception):
    """The client has left."""


StillThere: TypeAlias = Callable[[], None]


class _Encoder:
    """One session and its tokenizer."""

    def __init__(self, arg: Mapping[str, Any]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(arg["threads"])
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # its complaints may quote what people sent
        # A waiting thread sleeps: it would burn the core that others need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Memory for the longest batch ever seen would stay with the worker.
        options.enable_cpu_mem_arena = False
        self._session = onnxruntime.InferenceSession(arg["weights"], options, providers=["CPUExecutionProvider"])
        self._inputs = {each.name for each in self._session.get_inputs()}
        self._pooling: str = arg["pooling"]
        self._output = _output_of(self._session, self._pooling)
        self._context_tokens = int(arg["context_tokens"])
        with open(arg["tokenizer"], encoding="utf-8") as file:  # noqa: PTH123 — a descriptor's path, to be read once
            self._tokenizer = tokenizers.Tokenizer.from_str(file.read())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._vocabulary = self._tokenizer.get_vocab_size(with_added_tokens=True)
        self._turn = threading.Lock()

    def embed(self, body: Json, still_there: StillThere) -> Json:
        given = body["input"]
        inputs = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
        texts = [self._text(each) for each in inputs]
        vectors = self._computed(texts, still_there)
        data = [{"index": at, "embedding": [float(x) for x in vector]} for at, vector in enumerate(vectors)]
        return {"data": data, "usage": {"prompt_tokens": sum(len(ids) for ids, _ in texts)}}

    def rerank(self, body: Json, still_there: StillThere) -> Json:
        query, documents = body["query"], body["documents"]
        pairs = [self._pair(query, each) for each in documents]
        scores = self._computed(pairs, still_there)
        results = [{"index": at, "relevance_score": float(score[0])} for at, score in enumerate(scores)]
        return {"results": results, "usage": {"prompt_tokens": sum(len(ids) for ids, _ in pairs)}}

    def tokenize(self, body: Json, _: StillThere) -> Json:
        found = self._tokenizer.encode(body["content"], add_special_tokens=bool(body.get("add_special")))
        if not body.get("with_pieces"):
            return {"tokens": found.ids}
        return {"tokens": [{"id": i, "piece": piece} for i, piece in zip(found.ids, found.tokens, strict=True)]}

    def detokenize(self, body: Json, _: StillThere) -> Json:
        return {"content": self._tokenizer.decode(self._known(body["tokens"]), skip_special_tokens=False)}

    # from texts to tokens

    def _text(self, given: str | list[int]) -> tuple[list[int], list[int]]:
        if isinstance(given, str):
            found = self._tokenizer.encode(given)
            return self._fitting(found.ids), found.type_ids
        return self._fitting(self._known(given)), [0] * len(given)

    def _pair(self, query: str, document: str) -> tuple[list[int], list[int]]:
        found = self._tokenizer.encode(query, document)
        return self._fitting(found.ids), found.type_ids

    def _known(self, tokens: list[int]) -> list[int]:
        if not all(0 <= token < self._vocabulary for token in tokens):
            raise _Asked("Prompt contains invalid tokens")
        return tokens

    def _fitting(self, ids: list[int]) -> list[int]:
        if len(ids) > self._context_tokens:
            counts = {"n_prompt_tokens": len(ids), "n_ctx": self._context_tokens}
            raise _Asked("The input is too long", **{**counts, "type": "exceed_context_size_error"})
        if not ids:
            raise _Asked("Input must not be empty")
        return ids

    # from tokens to numbers

    def _computed(self, texts: Sequence[tuple[list[int], list[int]]], still_there: StillThere) -> list[Any]:
        """A row of numbers for each text, in their order. Raises _Gone once nobody waits for it any more."""
        found = []
        for tokens, types in texts:
            still_there()
            with self._turn:
                found.append(self._one(tokens, types))
        return found

    def _one(self, tokens: list[int], types: list[int]) -> Any:
        feed = {
            "input_ids": np.array([tokens], np.int64),
            "attention_mask": np.ones((1, len(tokens)), np.int64),
            "token_type_ids": np.array([types], np.int64),
            "position_ids": np.arange(len(tokens), dtype=np.int64)[np.newaxis],
        }
        (out,) = self._session.run([self._output], {name: feed[name] for name in self._inputs})
        row = np.asarray(out[0], np.float32)
        if self._pooling == "rank":
            return row
        vector = _pooled(row, self._pooling)
        return vector / max(float(np.sqrt((vector * vector).sum())), 1e-12)


#: Outputs with a vector a text. As inspection chose (`library.encoder`), from the same description of the graph.
_WHOLE_TEXT = ("sentence_embedding", "sentence_embeddings", "text_embeds")


def _output_of(session: Any, pooling: str) -> str:
    outputs = [(each.name, each.shape) for each in session.get_outputs()]
    for name, shape in outputs:
        if pooling == "given":
            fits = name in _WHOLE_TEXT
        elif pooling == "rank":
            fits = len(shape) == 2 and shape[1] == 1
        else:
            fits = len(shape) == 3
        if fits:
            return str(name)
    raise ValueError("no output is what inspection saw")


def _pooled(row: Any, pooling: str) -> Any:
    """One vector, of one a token (or what is one already)."""
    if pooling == "given":
        return row
    if pooling == "cls":
        return row[0]
    return row[-1] if pooling == "last" else row.mean(axis=0)


# HTTP -----------------------------------------------------------------------------------------------------------------


class _Request:
    """What has come of a request; filled by its parser."""

    def __init__(self) -> None:
        self.target = b""
        self.body = b""
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


def _converse(connection: socket.socket, encoder: _Encoder) -> None:
    """One request, one answer."""
    with connection, contextlib.suppress(OSError, _Gone):
        request = _read(connection)
        if request is not None:
            status, body = _answer(request, encoder, connection)
            _write(connection, status, body)


def _read(connection: socket.socket) -> _Request | None:
    request = _Request()
    parser = httptools.HttpRequestParser(request)
    while not request.complete:
        data = connection.recv(_READ_BYTES)
        if not data or len(request.body) > _MAX_BODY_BYTES:
            return None
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return None
    return request


def _answer(request: _Request, encoder: _Encoder, connection: socket.socket) -> tuple[int, Json]:
    routes: dict[bytes, Callable[[Json, StillThere], Json]] = {
        b"/v1/embeddings": encoder.embed,
        b"/v1/rerank": encoder.rerank,
        b"/tokenize": encoder.tokenize,
        b"/detokenize": encoder.detokenize,
    }
    if request.target == b"/health":
        return 200, {"status": "ok"}
    if request.target not in routes:
        return 404, {"error": {"code": 404, "type": "not_found_error", "message": "There is no such route"}}
    try:
        return 200, routes[request.target](json.loads(request.body), lambda: _require_there(connection))
    except _Asked as error:
        return 400, error.body
    except (ValueError, KeyError, TypeError, RuntimeError):  # ONNX Runtime's own are RuntimeErrors
        return 500, {"error": {"code": 500, "type": "server_error", "message": "The model failed on this input"}}


def _require_there(connection: socket.socket) -> None:
    """A client that closed its side is gone: nobody here sends anything after a request."""
    readable, _, _ = select.select([connection], [], [], 0)
    if readable and not connection.recv(1, socket.MSG_PEEK):
        raise _Gone


def _write(connection: socket.socket, status: int, body: Json) -> None:
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n"
    connection.sendall(head.encode("ascii") + b"connection: close\r\n\r\n" + data)
