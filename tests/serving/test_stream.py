"""Bytes in, events out."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.core.chat import ChatEvent, Delta, Finished, Reasoning, TokenLogprob, Usage
from intramural.core.errors import Broken, IntramuralError, Misasked
from intramural.serving.stream import AnswerReader, refusal

TIMINGS = {"cache_n": 3, "prompt_n": 4, "predicted_n": 1, "prompt_ms": 12.5, "predicted_ms": 2.0}


def frames(*values: object, done: bool = True) -> bytes:
    data = b"".join(b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n" for value in values)
    return data + (b"data: [DONE]\n\n" if done else b"")


def piece(**delta: str | None) -> dict[str, object]:
    return {"index": 0, "delta": delta, "finish_reason": None}


WHOLE = frames(
    {"choices": [piece(role="assistant", content=None)], "prompt_progress": {"total": 7, "cache": 3, "processed": 5}},
    {"choices": [piece(reasoning_content="hm")]},
    {"choices": [piece(content="Grüße 👋")], "timings": TIMINGS},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {
        "choices": [],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}},
    },
)
EVENTS: list[ChatEvent] = [Reasoning(1, "hm"), Delta(1, "Grüße 👋"), Finished(1, "stop")]


def read(*parts: bytes) -> tuple[list[ChatEvent], AnswerReader]:
    reader = AnswerReader(1)
    return [event for part in parts for event in reader.feed(part)], reader


@given(st.lists(st.integers(0, len(WHOLE)), max_size=12))
def test_any_split_of_the_bytes_gives_the_same_events(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(WHOLE)]
    events, reader = read(*(WHOLE[a:b] for a, b in itertools.pairwise(edges)))
    reader.end()
    assert events == EVENTS
    assert reader.usage == Usage(7, 2, 3, 12.5, 2.0)


def test_byte_by_byte() -> None:
    events, _ = read(*(WHOLE[i : i + 1] for i in range(len(WHOLE))))
    assert events == EVENTS


def test_line_ends_and_comments() -> None:
    events, _ = read(b": ping\r\n\r\n" + WHOLE.replace(b"\n", b"\r\n"))
    assert events == EVENTS


def test_usage_is_there_from_the_first_frame_on() -> None:
    _, reader = read(frames({"choices": [], "prompt_progress": {"cache": 3, "processed": 5}}, done=False))
    assert reader.usage == Usage(5, 0, 3)
    reader.feed(frames({"choices": [piece(content="x")], "timings": TIMINGS}, done=False))
    assert reader.usage == Usage(7, 1, 3, 12.5, 2.0)


@given(st.binary(max_size=200))
def test_whatever_comes_is_events_or_garbage(data: bytes) -> None:
    try:
        read(data)
    except IntramuralError as error:
        assert error.code in ("worker_garbage", "engine_failed")


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\n",
        b"data: {nope\n",
        b'data: {"choices": 3}\n',
        b'data: {"choices": [{"delta": {"content": 3}}]}\n',
        b'data: {"choices": [{"finish_reason": "bored"}]}\n',
        b'data: {"usage": {"prompt_tokens": -1, "completion_tokens": 0}}\n',
        b"data: \xff\xff\n",
        b"x" * (1 << 21),
        frames({"choices": [piece(), piece()]}),
        WHOLE + b"data: {}\n",
        frames({"choices": [{"finish_reason": "stop"}]}, {"choices": [piece(content="more")]}),
    ],
)
def test_garbage(data: bytes) -> None:
    with pytest.raises(Broken) as caught:
        read(data)
    assert caught.value.code == "worker_garbage"


@pytest.mark.parametrize("cut", [b"", WHOLE[:50], WHOLE[: -len(b"data: [DONE]\n\n")]])
def test_an_end_before_the_end_is_a_death(cut: bytes) -> None:
    _, reader = read(cut)
    with pytest.raises(Broken) as caught:
        reader.end()
    assert caught.value.code == "worker_died"


def test_log_probabilities() -> None:
    token = {"token": " a", "logprob": None, "bytes": [32, 97], "top_logprobs": [{"token": "b", "logprob": -1.5}]}
    frame = frames({"choices": [{"text": " a", "logprobs": {"content": [token]}}]})
    assert AnswerReader(0, 1).feed(frame) == [
        Delta(0, " a", (TokenLogprob(" a", -9999.0, b" a", (TokenLogprob("b", -1.5, b"b"),)),))
    ]
    assert AnswerReader(0, 0).feed(frame)[0] == Delta(0, " a", (TokenLogprob(" a", -9999.0, b" a"),))


TOO_LONG = {"type": "exceed_context_size_error", "n_prompt_tokens": 9, "n_ctx": 5}


@pytest.mark.parametrize(
    ("status", "error", "code", "param"),
    [
        (400, TOO_LONG, "context_length_exceeded", "messages"),
        (400, {"message": "JSON schema error at #: unrecognized type"}, "invalid_schema", "response_format"),
        (400, {"message": "Failed to parse grammar: failed to parse grammar"}, "invalid_schema", "response_format"),
        (400, {"message": "Prompt contains invalid tokens"}, "invalid_token", "prompt"),
        (400, {"message": '"prompt" must not be empty'}, "empty_prompt", "prompt"),
        (400, {"message": "something else"}, "engine_refused", None),
    ],
)  # fmt: skip
def test_what_is_the_callers_fault(status: int, error: dict[str, object], code: str, param: str | None) -> None:
    found = refusal(status, json.dumps({"error": error}).encode())
    assert isinstance(found, Misasked)
    assert (found.code, found.param) == (code, param)


def test_what_is_the_engines_fault() -> None:
    assert refusal(500, b'{"error": {"message": "bad alloc"}}').code == "engine_failed"
    assert refusal(502, b"<html>").code == "worker_garbage"


def test_an_error_in_mid_stream() -> None:
    for data in (b'data: {"error": {"code": 500, "message": "x"}}\n', b'error: {"code": 500, "message": "x"}\n'):
        with pytest.raises(Broken) as caught:
            read(data)
        assert caught.value.code == "engine_failed"
