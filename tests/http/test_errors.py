"""Errors in every dialect: its own shape, its own name for the parameter at fault."""

import json

import pytest

from intramural.core.errors import Misasked
from intramural.http.wire import Wire, wire_of


@pytest.mark.parametrize(
    ("path", "headers", "named"),
    [
        ("/v1/chat/completions", {}, {"thinking": "reasoning_effort", "messages": "messages"}),
        ("/v1/responses", {}, {"thinking": "reasoning", "messages": "input", "response_format": "text.format"}),
        ("/v1/messages", {}, {"thinking": "thinking", "stop": "stop_sequences"}),
        ("/v1/models", {"anthropic-version": ""}, {"limit": "limit"}),
        ("/api/chat", {}, {"thinking": "think", "response_format": "format"}),
    ],
)
def test_a_parameter_is_named_as_the_dialect_names_it(
    path: str, headers: dict[str, str], named: dict[str, str]
) -> None:
    wire = wire_of(path, headers)
    for core, theirs in named.items():
        assert f'"{theirs}"' in _text(wire, Misasked("some_code", "No.", "Yes.", param=core))


def test_an_error_about_no_parameter_names_none() -> None:
    assert wire_of("/v1/responses", {}).body(Misasked("some_code", "No.", "Yes."))["error"]["param"] is None


def _text(wire: Wire, error: Misasked) -> str:
    return json.dumps(wire.body(error))
