"""Streams of the Responses API as they come over the wire, each event checked against the official client's types."""

import json
from typing import Any

import requests
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter
from tests.service import MODEL, Service

#: The client's own idea of every event of a stream: what does not fit raises.
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def frames(service: Service, key: str, **body: Any) -> list[dict[str, Any]]:
    """The events of a stream as they come over the wire, each checked against the client's types."""
    answer = requests.post(
        f"{service.address}/v1/responses",
        json={"model": MODEL, "stream": True, **body},
        headers={"Authorization": f"Bearer {key}"},
        timeout=100,
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return events_of(answer.text)


def events_of(text: str) -> list[dict[str, Any]]:
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    assert blocks.pop() == "data: [DONE]"
    events = []
    for block in blocks:
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        EVENT.validate_python(event, strict=True)
        events.append(event)
    return events


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]
