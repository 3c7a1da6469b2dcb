"""What is the same for every dialect: walking operations and fields, sending cases, collecting results."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from conformance.answers import Shapes, event_names
from conformance.door import Door
from conformance.judge import Answer, Check, Result, Verdict, names_in, refusal
from conformance.spec import IN_BODY, IN_PATH, IN_QUERY, Field, Operation
from conformance.values import Values, Variation

#: Cases in flight: as many as the service has slots.
_LANES = 3


@dataclass(frozen=True)
class Subject:
    """An operation the service offers, and how to try it. `base`: the least body that works; `ids`: fresh path values.

    `wrap` turns a field's value into the body that carries it (a tool choice needs tools). `checks` look for the
    effect of a field, by its name or a variation's label; `silent` says why a field's effect shows in no answer.
    `also` are further bodies that must work, for what a single field cannot bring about (name → body).
    """

    key: str
    base: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    ids: Callable[[], Mapping[str, str]] = dict
    files: Callable[[], Mapping[str, Any]] | None = None
    wrap: Mapping[str, Callable[[Any], Mapping[str, Any]]] = field(default_factory=dict)
    checks: Mapping[str, Check] = field(default_factory=dict)
    silent: Mapping[str, str] = field(default_factory=dict)
    skip: Mapping[str, str] = field(default_factory=dict)
    also: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass
class Dialect:
    """One dialect under test."""

    name: str
    door: Door
    prefix: str
    operations: Sequence[Operation]
    subjects: Mapping[str, Subject]
    samples: Mapping[str, Any]
    message_of: Callable[[Any], str | None]
    shapes: Shapes
    #: Path prefix → why what lies below is not this product's business.
    elsewhere: Mapping[str, str]
    #: Operation key or path prefix → what is missing, in a sentence. These count as failures.
    missing: Mapping[str, str]
    #: Event name → why no stream of ours holds it.
    no_event: Mapping[str, str] = field(default_factory=dict)
    #: Events the vendor documents and its types leave out.
    undeclared_events: frozenset[str] = frozenset()
    #: (type, field) or field name → why no answer of ours holds it.
    no_field: Mapping[str, str] = field(default_factory=dict)
    item_of: Callable[[Any], Iterable[Any]] = lambda body: body.get("data", ())
    events_seen: set[str] = field(default_factory=set)

    def run(self) -> list[Result]:
        """Every case of the dialect."""
        results: list[Result] = []
        cases: list[tuple[Operation, Subject]] = []
        for operation in self.operations:
            subject = self.subjects.get(operation.key)
            if subject is None:
                results.append(self._not_offered(operation))
            else:
                cases.append((operation, subject))
        for operation, subject in cases:
            results += self._operation(operation, subject)
        return [*results, *self._events(), *self._answer_fields()]

    # operations -------------------------------------------------------------------------------------------------------

    def _not_offered(self, operation: Operation) -> Result:
        """An operation without a subject: it must be answered honestly all the same."""
        declined = self.missing.get(operation.key)
        why = next((text for start, text in self.elsewhere.items() if operation.path.startswith(start)), None)
        path = self.prefix + re.sub(r"{\w+}", "x", operation.path)
        answer = self.door.ask(operation.method, path, {} if operation.method == "POST" else None)
        if declined and answer.status in (400, 501) and self.message_of(answer.body) is not None:
            return self._result("operation", operation, "", "refused", declined)
        if answer.status not in (404, 405, 501) or self.message_of(answer.body) is None:
            return self._result("operation", operation, "", "failed", f"answered {answer.status}: {answer.text[:120]}")
        if why is not None:
            return self._result("operation", operation, "", "not applicable", why)
        missing = (
            text for start, text in self.missing.items() if operation.key == start or operation.path.startswith(start)
        )
        return self._result("operation", operation, "", "failed", next(missing, "not offered, and no reason is known"))

    def _operation(self, operation: Operation, subject: Subject) -> Iterator[Result]:
        first = self._send(operation, subject, {}, {})
        trouble = self._trouble(operation, first)
        if first.status >= 300 or trouble:
            yield self._result("operation", operation, "", "failed", trouble or f"{first.status}: {first.text[:160]}")
            return
        yield self._result("operation", operation, "", "honoured")
        with ThreadPoolExecutor(_LANES) as pool:
            yield from pool.map(lambda case: self._scenario(operation, subject, *case), subject.also.items())
            yield from self._fields(pool, operation, subject)
            yield from pool.map(lambda case: self._error(operation, subject, *case), self._wrong(operation, subject))

    def _scenario(self, operation: Operation, subject: Subject, name: str, body: Mapping[str, Any]) -> Result:
        answer = self._send(operation, subject, body, {})
        wrong = self._trouble(operation, answer) if answer.status < 300 else f"{answer.status}: {answer.text[:160]}"
        if wrong is None and name in subject.checks:
            wrong = subject.checks[name](answer)
        return self._result("scenario", operation, name, "failed" if wrong else "honoured", wrong or "")

    def _fields(self, pool: ThreadPoolExecutor, operation: Operation, subject: Subject) -> Iterator[Result]:
        """Every variation, outer types before what is inside them: a type that is refused is one case, not hundreds."""
        levels: dict[int, list[tuple[Field, Variation]]] = defaultdict(list)
        for each, variation in self._variations(operation, subject):
            label = variation.label
            levels[2 * label.count("<") - label.endswith(">")].append((each, variation))
        refused: list[str] = []
        for level in sorted(levels):
            cases = [case for case in levels[level] if not case[1].label.startswith(tuple(refused))]
            for result in pool.map(lambda case: self._field(operation, subject, *case), cases):
                if result.verdict == "refused" and result.case.endswith(">"):
                    refused.append(result.case)
                yield result

    def _variations(self, operation: Operation, subject: Subject) -> Iterator[tuple[Field, Variation]]:
        for each in operation.fields:
            if each.where == IN_PATH:
                continue
            if each.name in self.samples and f"each {each.name}" not in self.samples:
                yield each, Variation(each.name, self.samples[each.name])
                continue
            values = Values(self.samples)
            for variation in values.variations(each.type, each.name, each.name):
                yield each, variation

    def _send(
        self, operation: Operation, subject: Subject, body: Mapping[str, Any], query: Mapping[str, Any]
    ) -> Answer:
        path = self.prefix + operation.path.format_map(dict(subject.ids()))
        whole = {**subject.base, **body}
        return self.door.ask(
            operation.method,
            path,
            whole if operation.method in ("POST", "PUT", "DELETE") and (whole or operation.method == "POST") else None,
            query={**subject.query, **query} or None,
            files=subject.files() if subject.files else None,
        )

    def _trouble(self, operation: Operation, answer: Answer) -> str | None:
        """What is wrong with the shape of a good answer."""
        if answer.status >= 300:
            return None
        if answer.events:
            return self._stream_trouble(operation, answer)
        if operation.paged and isinstance(answer.body, dict):
            found = [p for item in self.item_of(answer.body) for p in self.shapes.problems(operation.answer, item)]
        elif answer.body is not None and hasattr(operation.answer, "model_fields"):
            found = self.shapes.problems(operation.answer, answer.body)
        else:
            found = []
        return "; ".join(found[:3]) or None

    def _stream_trouble(self, operation: Operation, answer: Answer) -> str | None:
        found: list[str] = []
        for event in answer.events:
            name = str(event.get("type", "")) if isinstance(event, dict) else ""
            self.events_seen.add(name)
            if name in self.undeclared_events:
                continue
            found += self.shapes.problems(operation.event or operation.answer, event)
        return "; ".join(found[:3]) or None

    # fields -----------------------------------------------------------------------------------------------------------

    def _field(self, operation: Operation, subject: Subject, each: Field, variation: Variation) -> Result:
        label = variation.label
        if each.name in subject.skip:
            return self._result("field", operation, label, "not applicable", subject.skip[each.name])
        carried = subject.wrap.get(each.name, lambda value: {each.name: value})(variation.value)
        in_query = each.where == IN_QUERY
        answer = self._send(operation, subject, {} if in_query else carried, carried if in_query else {})
        if answer.status >= 300:
            instead = refusal(answer, names_in(label), self.message_of)
            return self._result(
                "field",
                operation,
                label,
                "failed" if instead else "refused",
                instead or _short(self.message_of(answer.body)),
            )
        if trouble := self._trouble(operation, answer):
            return self._result("field", operation, label, "failed", trouble)
        check = subject.checks.get(label) or (subject.checks.get(each.name) if label == each.name else None)
        if check is not None:
            wrong = check(answer)
            return self._result("field", operation, label, "failed" if wrong else "honoured", wrong or "")
        return self._result("field", operation, label, "accepted", subject.silent.get(each.name, ""))

    # errors -----------------------------------------------------------------------------------------------------------

    def _wrong(self, operation: Operation, subject: Subject) -> Iterator[tuple[str, dict[str, Any], set[int], str]]:
        """(what, arguments of the request, statuses that are right, what the message must name)."""
        anonymous = {name: value for name, value in self.door.headers.items() if name == "anthropic-version"}
        yield "no credentials", {"headers": anonymous}, {401}, ""
        yield (
            "wrong key",
            {"headers": {**self.door.headers, "authorization": "Bearer im-wrong", "x-api-key": "im-wrong"}},
            {401},
            "",
        )
        if operation.method == "POST" and subject.files is None and any(f.where == IN_BODY for f in operation.fields):
            yield "broken JSON", {"raw": b'{"model": '}, {400}, ""
            yield "not an object", {"raw": b"[]"}, {400}, ""
            yield "unknown field", {"body": {**subject.base, "no_such_field": 1}}, {400}, "no_such_field"
            for name in subject.base:
                wanted = operation.named(name)
                if wanted is not None and wanted.required:
                    rest = {key: value for key, value in subject.base.items() if key != name}
                    yield f"without {name}", {"body": rest}, {400}, name
            for each in operation.fields:
                if each.where == IN_BODY and each.name not in subject.skip:
                    wrong = {**subject.base, each.name: _wrong_kind(each)}
                    yield f"wrong kind: {each.name}", {"body": wrong}, {400}, each.name
            if "model" in subject.base:
                yield "unknown model", {"body": {**subject.base, "model": "no-such-model"}}, {404}, "no-such-model"

    def _error(
        self,
        operation: Operation,
        subject: Subject,
        what: str,
        arguments: dict[str, Any],
        statuses: set[int],
        named: str,
    ) -> Result:
        path = self.prefix + operation.path.format_map(dict(subject.ids()))
        if subject.files and "body" not in arguments:
            arguments = {**arguments, "body": dict(subject.base), "files": subject.files()}
        elif operation.method == "POST" and "raw" not in arguments and "body" not in arguments:
            arguments = {**arguments, "body": dict(subject.base)}
        answer = self.door.ask(operation.method, path, **arguments)
        message = self.message_of(answer.body)
        if answer.status not in statuses:
            reason = f"{answer.status} instead of {sorted(statuses)}: {answer.text[:140]}"
        elif message is None:
            reason = f"{answer.status} without the dialect's error shape: {answer.text[:140]}"
        elif named not in message:
            reason = f"does not name {named!r}: {message[:140]}"
        else:
            return self._result("error", operation, what, "honoured")
        return self._result("error", operation, what, "failed", reason)

    # what was seen ----------------------------------------------------------------------------------------------------

    def _events(self) -> Iterator[Result]:
        names = {name for each in self.operations if each.key in self.subjects for name in event_names(each.event)}
        for name in sorted(names):
            operation = replace(self.operations[0], method="", path="(stream)")
            if name in self.events_seen:
                yield self._result("event", operation, name, "honoured")
            else:
                why = next((text for start, text in self.no_event.items() if name.startswith(start)), None)
                verdict: Verdict = "not applicable" if why else "failed"
                yield Result(self.name, "event", "(stream)", name, verdict, why or "never seen")

    def _answer_fields(self) -> Iterator[Result]:
        for kind, name in sorted(self.shapes.known):
            if (kind, name) in self.shapes.seen:
                yield Result(self.name, "answer field", kind, name, "honoured")
                continue
            why = self.no_field.get(f"{kind}.{name}") or self.no_field.get(name) or self.no_field.get(kind)
            verdict: Verdict = "not applicable" if why else "failed"
            yield Result(self.name, "answer field", kind, name, verdict, why or "no answer held a value")

    def _result(self, kind: Any, operation: Operation, case: str, verdict: Any, reason: str = "") -> Result:
        return Result(self.name, kind, operation.key, case, verdict, reason)


def _wrong_kind(each: Field) -> Any:
    """A value of a kind the parameter does not have: an object with a strange member; a number where it is a map."""
    text = str(each.type)
    return 3.25 if "Dict" in text or "TypedDict" in text or "Metadata" in text or "object" in text else {"strange": [1]}


def _short(text: str | None) -> str:
    return (text or "")[:160]
