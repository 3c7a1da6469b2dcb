"""Talking to the service as a plain HTTP client would: no help from a library that hides what came."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from conformance.judge import Answer

_TIMEOUT_S = 110


@dataclass(frozen=True)
class Door:
    """A dialect's address with its credentials in `headers`."""

    address: str
    headers: Mapping[str, str]
    session: requests.Session = field(default_factory=requests.Session)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        files: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Answer:
        """One request, read to its end. A stream comes back as its events."""
        sent: dict[str, Any] = {}
        if files is not None:
            sent = {"files": files, "data": body or {}}
        elif raw is not None:
            sent = {"data": raw}
        elif body is not None:
            sent = {"json": body}
        answer = self.session.request(
            method,
            self.address + path,
            params=query,
            headers=self.headers if headers is None else headers,
            timeout=_TIMEOUT_S,
            **sent,
        )
        kind = answer.headers.get("content-type", "")
        if "event-stream" in kind:
            return Answer(answer.status_code, None, answer.headers, tuple(_events(answer.text)), answer.text)
        if "ndjson" in kind:
            lines = tuple(json.loads(line) for line in answer.text.splitlines() if line)
            return Answer(answer.status_code, None, answer.headers, lines, answer.text)
        return Answer(answer.status_code, _json(answer), answer.headers, (), answer.text if "json" in kind else "")


def _json(answer: requests.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None


def _events(text: str) -> Iterator[Any]:
    for line in text.splitlines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))
