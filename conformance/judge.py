"""What one answer proves about one case."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Verdict = Literal["honoured", "accepted", "refused", "failed", "not applicable"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A response as it came. `body` is its JSON (None: none), `events` those of a stream, in order."""

    status: int
    body: Any
    headers: Mapping[str, str]
    events: tuple[Any, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the report."""

    dialect: str
    kind: Literal["operation", "scenario", "field", "answer field", "event", "error"]
    operation: str
    case: str
    verdict: Verdict
    reason: str = ""


#: Says what is wrong with an effect, or None.
Check = Callable[[Answer], str | None]


def differs(found: Any, wanted: Any) -> str | None:
    """How `found` differs from what was wanted; None if it does not."""
    return None if found == wanted else f"{found!r} instead of {wanted!r}"


def refusal(answer: Answer, names: set[str], message_of: Callable[[Any], str | None]) -> str | None:
    """None if `answer` is a refusal in the dialect's shape that names one of `names`; else what it is instead."""
    if answer.status >= 500 and answer.status != 501:
        return f"{answer.status}: {answer.text[:160]}"
    message = message_of(answer.body)
    if message is None:
        return f"{answer.status} without the dialect's error shape: {answer.text[:160]}"
    if not any(name and name in message for name in names):
        return f"{answer.status}, but does not say what is refused: {message[:160]}"
    return None


def names_in(label: str) -> set[str]:
    """What a refusal of the case `messages[]<image_url>.image_url.detail=low` may name: any part of its path."""
    parts = label.replace("[]", "").replace("<", ".").replace(">", ".").replace("=", ".").split(".")
    return {part for part in parts if part}
