"""What the log is told of one answer, and the statement that a receipt makes of it. Pure.

`asked` and `answered` are the facts and texts of the two events; `statement` reads them back. Facts are numbers,
identifiers and digests; everything that people or the model wrote goes into texts, of which the log keeps a commitment.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

from msgspec import structs

from intramural.audit import Fact, StoredRecord, canonical
from intramural.core.chat import (
    ChatEvent,
    ChatRequest,
    Delta,
    Finished,
    Image,
    Message,
    Reasoning,
    Sampling,
    ToolCallDelta,
    Usage,
)
from intramural.library import Elsewhere, Manifest
from intramural.serving import NOT_CONFINED

#: Which package computes models of a format.
_ENGINES: Mapping[str, str] = {"gguf": "xllamacpp", "onnx": "onnxruntime"}
#: Of `Sampling`, all but people's words and what has no bound: that goes into the text `options`.
_NUMBERS = tuple(each.name for each in structs.fields(Sampling) if each.name not in ("stop", "logit_bias"))


@cache
def engine_of(format_: str) -> str:
    """The engine that computes models of that format, with its version: `xllamacpp 2026.10.11549`."""
    package = _ENGINES.get(format_)
    return "" if package is None else f"{package} {version(package)}"


def fingerprint(manifest: Manifest) -> str:
    """Ten hexadecimal digits that change when the weights, the template or the engine do."""
    if isinstance(manifest, Elsewhere):
        return _fingerprint(manifest.remote.engine.shown, manifest.remote.model.theirs)
    return _fingerprint(manifest.digest, manifest.template_digest or "", engine_of(manifest.format))


@lru_cache(maxsize=256)
def _fingerprint(*parts: str) -> str:
    """Remembered: it is asked for between an answer's first token and its leaving."""
    return "fp_" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:10]


def model(manifest: Manifest) -> dict[str, Fact]:
    """What computed the answer. Of an engine elsewhere that is what an administrator wrote down: it tells no digest."""
    if isinstance(manifest, Elsewhere):
        return {
            "weights": None,
            "files": [],
            "format": manifest.format,
            "source": manifest.source,
            "engine": manifest.remote.engine.shown,
            "theirs": manifest.remote.model.theirs,
            "confinement": NOT_CONFINED,
        }
    files = [file.blob.digest for file in manifest.files]
    return {
        "weights": manifest.digest,
        "files": files,
        "format": manifest.format,
        "quantisation": manifest.quantisation,
        "architecture": manifest.architecture,
        "template": manifest.template_digest,
        "source": manifest.source,
        "trust": manifest.trust,
        "engine": engine_of(manifest.format),
    }


def asked(
    request: ChatRequest,
    manifest: Manifest,
    rule: str,
    *,
    seed_given: bool,
    computed: Mapping[str, Fact] = MappingProxyType({}),
) -> dict[str, Fact]:
    """The facts of `chat.asked`, besides dialect and operation. `rule`: the policy's that allowed it. `computed`: what
    besides the weights decides on the answer (`Planned.facts`)."""
    facts: dict[str, Fact] = {
        "model": {**model(manifest), **computed},
        "weights": manifest.digest or None,
        "rule": rule,
        "sampling": _sampling(request.sampling),
        "seed_from": "client" if seed_given else "service",
        "deterministic": request.deterministic,
        "choices": request.choices,
        "messages": len(request.messages),
        "tools": len(request.tools),
        "images": sum(isinstance(part, Image) for message in request.messages for part in message.parts),
        "tool_choice": request.tool_choice.kind,
        "format": request.response_format.kind,
    }
    if request.thinking.kind != "default":
        facts["thinking"] = {"kind": request.thinking.kind, "effort": request.thinking.effort}
    if request.thinking.budget_tokens is not None:
        facts["thinking_tokens"] = request.thinking.budget_tokens
    return facts


def asked_texts(request: ChatRequest) -> dict[str, str]:
    """`prompt`, and where there is any: `options` (what shapes the answer besides numbers) and the client's `labels`.

    The last two are one line of JSON with sorted keys.
    """
    options: dict[str, Any] = {}
    if request.sampling.stop:
        options["stop"] = list(request.sampling.stop)
    if request.sampling.logit_bias:
        options["logit_bias"] = {str(token): bias for token, bias in request.sampling.logit_bias.items()}
    if request.tools:
        options["tools"] = [
            {"name": t.name, "description": t.description, "parameters": t.parameters} for t in request.tools
        ]
        options["tool"] = request.tool_choice.name
    if request.response_format.schema is not None:
        options["schema"] = request.response_format.schema
    if request.suffix is not None:
        options["suffix"] = request.suffix
    texts = {"prompt": prompt_text(request)}
    if options:
        texts["options"] = canonical(options)
    return texts | labelled(request.labels)


def labelled(labels: Mapping[str, str]) -> dict[str, str]:
    """The client's own words about a request, as a text."""
    return {"labels": canonical(labels)} if labels else {}


def prompt_text(request: ChatRequest) -> str:
    """What was asked, as text: the prompt, or the messages one below the other.

    A message is `role: content`; before its content stand its thoughts as `[reasoning …]`, after it its pictures as
    `[image sha256:…]` and its calls as `[call name arguments]`.
    """
    if request.prompt is not None:
        return request.prompt if isinstance(request.prompt, str) else " ".join(map(str, request.prompt))
    return "\n".join(map(_message_text, request.messages))


def _message_text(message: Message) -> str:
    thoughts = f"[reasoning {message.reasoning}]" if message.reasoning else ""
    images = [f"[image {_digest(part)}]" for part in message.parts if isinstance(part, Image)]
    calls = [f"[call {call.name} {call.arguments}]" for call in message.tool_calls]
    return f"{message.role}: {thoughts}{message.content}{''.join(images)}{''.join(calls)}"


def _digest(image: Image) -> str:
    return f"sha256:{hashlib.sha256(image.data).hexdigest()}"


def _sampling(sampling: Sampling) -> dict[str, Fact]:
    """What was set."""
    given = {name: getattr(sampling, name) for name in _NUMBERS}
    found: dict[str, Fact] = {name: value for name, value in given.items() if value is not None and value is not False}
    if not sampling.top_logprobs:
        found.pop("top_logprobs", None)
    if sampling.stop:
        found["stop"] = len(sampling.stop)
    if sampling.logit_bias:
        found["logit_bias"] = len(sampling.logit_bias)
    return found


@dataclass(slots=True)
class Said:
    """What the model said, as it comes: its words by choice, its thoughts, its calls, why it ended."""

    words: dict[int, list[str]] = field(default_factory=dict)
    thoughts: dict[int, list[str]] = field(default_factory=dict)
    calls: dict[tuple[int, int], list[str]] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def note(self, event: ChatEvent) -> None:
        """Once for every event."""
        match event:
            case Delta():
                self.words.setdefault(event.index, []).append(event.text)
            case Reasoning():
                self.thoughts.setdefault(event.index, []).append(event.text)
            case ToolCallDelta():
                name = "" if event.name is None else f"{event.name} "
                self.calls.setdefault((event.index, event.position), []).append(name + event.arguments)
            case Finished():
                self.reasons.append(event.reason)

    def texts(self) -> dict[str, str]:
        """`answer` (further choices: `answer_1` …) and where there are any `reasoning` and `calls` (`name arguments`,
        a line each), in the choices' order."""
        found = {f"answer_{index}" if index else "answer": "".join(parts) for index, parts in self.words.items()}
        found.setdefault("answer", "")
        if self.thoughts:
            found["reasoning"] = "\n".join("".join(parts) for _, parts in sorted(self.thoughts.items()))
        if self.calls:
            found["calls"] = "\n".join("".join(parts) for _, parts in sorted(self.calls.items()))
        return found


def answered(usage: Usage, *, waited_ms: float, first_ms: float | None, took_ms: float) -> dict[str, Fact]:
    """The facts of an ending, besides what ended it."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cached_tokens": usage.cached_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "waited_ms": round(waited_ms),
        "first_ms": None if first_ms is None else round(first_ms),
        "prompt_ms": round(usage.prompt_ms),
        "completion_ms": round(usage.completion_ms),
        "took_ms": round(took_ms),
    }


_TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
_TIMES = ("waited_ms", "first_ms", "prompt_ms", "completion_ms", "took_ms")
#: Said where there is something to say: of engines elsewhere, and of models with options.
_ABOUT_SOME = ("theirs", "confinement", "options", "adapters")
_ABOUT_MODEL = ("format", "quantisation", "architecture", "template", "files", "source", "trust")


def statement(records: Sequence[StoredRecord]) -> dict[str, Any]:
    """What the log's entries of one request say, as a receipt states it. `records`: asked, then answered."""
    first, last = records[0], records[-1]
    facts, end = first.facts, last.facts
    about = facts.get("model") or {}
    return {
        "request_id": first.request_id,
        "actor": {"kind": first.actor.kind, "id": first.actor.id, "role": first.actor.role,
                  "credential": first.actor.credential},
        "dialect": facts.get("dialect"),
        "operation": facts.get("operation"),
        "model": {"name": first.target.removeprefix("model:"), "digest": facts.get("weights"),
                  **{name: about.get(name) for name in _ABOUT_MODEL},
                  **{name: about[name] for name in _ABOUT_SOME if name in about}},
        "engine": about.get("engine"),
        "policy": {"action": "model.use", "rule": facts.get("rule")},
        "sampling": facts.get("sampling", {}),
        "seed": facts.get("sampling", {}).get("seed"),
        "seed_from": facts.get("seed_from"),
        "deterministic": facts.get("deterministic", False),
        "outcome": last.outcome,
        "reasons": end.get("reasons", []),
        "error": end.get("error"),
        "tokens": {name.removesuffix("_tokens"): end.get(name) for name in _TOKENS},
        "times_ms": {"asked": first.time_ms, "answered": last.time_ms,
                     **{name.removesuffix("_ms"): end.get(name) for name in _TIMES}},
        "texts": {name: text for each in records for name, text in each.texts.items() if isinstance(text, Mapping)},
        "entries": [
            {"position": each.position, "event": each.event, "nonce": each.texts.get("nonce")} for each in records
        ],
    }  # fmt: skip
