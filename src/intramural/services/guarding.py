"""What tells who somebody is, looked for in what goes to models and comes back, by the label of the data.

A request is looked at before anything of it reaches a model, the log, a vector or a trace, and what is redacted there
is redacted for all of them. Only the person who asked is told their own values again. Under a label that allows
everything nothing is looked at.
"""

import asyncio
import hashlib
import json
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from msgspec import structs

from intramural.access import NO_AGES, Action, AgeRules
from intramural.audit import AuditLog, Event, Fact
from intramural.core.actor import Actor
from intramural.core.chat import ChatRequest, Image, Message, ToolCall
from intramural.core.clock import Clock
from intramural.core.config import GuardConfig
from intramural.core.errors import Misasked, Refused
from intramural.guard import (
    NAMED,
    Counts,
    Deed,
    Kind,
    Names,
    Policy,
    Pseudonyms,
    Span,
    found,
    policies,
    treated,
)
from intramural.guard.policy import FLOORS, LABELS, raised
from intramural.guard.tree import parsed, tree
from intramural.metering import Metrics
from intramural.services.gate import Gate
from intramural.services.shield import Shield, counted, stopped

#: Longer texts are looked at beside the event loop.
_LONG_CHARS = 2_000
#: A conversation comes again with every turn: what was found in so many texts is remembered (places, not texts).
_REMEMBERED = 1_024
#: In a schema, what is a word of the schema's own language and no text.
_SCHEMA_WORDS = frozenset({"type", "format", "pattern", "$ref", "required", "$schema", "$id"})
_SECONDS_A_YEAR = 365.2425 * 86_400


@dataclass(frozen=True, slots=True)
class Checked:
    """What would be found in a text under a label, and what would become of it."""

    policy: Policy
    spans: tuple[Span, ...]
    redacted: str
    blind: frozenset[Kind]


@dataclass(slots=True)
class _Look:
    """One request being looked at."""

    shield: Shield
    blocked: list[tuple[str, Span]] = field(default_factory=list)

    async def text(self, text: str, where: str) -> str:
        if not text:
            return text
        shield = self.shield
        done = treated(text, await shield.find(text), shield.policy, shield.marks)
        shield.into += done.counts
        self.blocked += [(where, span) for span in done.blocked]
        return done.text

    async def json_text(self, text: str, where: str) -> str:
        """JSON, by its values; what cannot be read as JSON, as text."""
        found_tree = parsed(text)
        if found_tree is None:
            return await self.text(text, where)
        value = await self._tree(found_tree, where)
        return text if value is found_tree.value else json.dumps(value, ensure_ascii=False)

    async def value(self, value: Any, where: str) -> Any:
        """A JSON value that has been read already."""
        found_tree = tree(value)
        return value if found_tree is None else await self._tree(found_tree, where)

    async def _tree(self, found_tree: Any, where: str) -> Any:
        shield = self.shield
        texts: list[str | None] = []
        for leaf, spans in found_tree.by_leaf(await shield.find(found_tree.flat)):
            plain = found_tree.flat[leaf.start : leaf.end]
            if not spans or leaf.path[-1] in _SCHEMA_WORDS:
                texts.append(None)
                continue
            done = treated(plain, spans, shield.policy, shield.marks)
            shield.into += done.counts
            self.blocked += [(where, span) for span in done.blocked]
            texts.append(None if done.text == plain else done.text)
        return found_tree.replaced(texts)


class Guarding:
    """Looks, by label."""

    def __init__(
        self,
        config: GuardConfig,
        gate: Gate,
        names: Names,
        audit: AuditLog,
        metrics: Metrics,
        clock: Clock,
        key_of: Callable[[str], bytes],
        ages: AgeRules = NO_AGES,
    ) -> None:
        """`key_of` gives a project's key for marks; `ages`: what is done at least about what younger people write.
        Raises Misasked(`bad_setting`).
        """
        self._policies = policies(config.rules)
        self._ages = ages
        self._raised = {(label, floor): raised(self._policies[label], floor) for label in LABELS for floor in FLOORS}
        if config.label not in self._policies:
            known = ", ".join(self._policies)
            raise Misasked("bad_setting", f"guard.label is {config.label!r}.", f"Labels are {known}.")
        self._label = config.label
        self._gate = gate
        self._names = names
        self._audit = audit
        self._metrics = metrics
        self._clock = clock
        self._key_of = key_of
        self._remembered: OrderedDict[bytes, tuple[Span, ...]] = OrderedDict()

    def policy_of(self, actor: Actor) -> Policy:
        """The policy for what `actor` asks now: of the workspace it is asked in, else of the settings' label; and at
        least what their age asks for."""
        label = self._label if actor.place is None else actor.place.label
        return self._raised[label, self._ages.limits(actor.standing.age, actor.place).guard]

    def blind(self, policy: Policy) -> frozenset[Kind]:
        """Classes that `policy` names and nobody looks for: pictures always, names where nothing reads the language."""
        unread = (NAMED - self._names.kinds) | {Kind.IMAGE}
        return policy.looking & unread

    @property
    def reader(self) -> str:
        """What reads names, with its version; empty: nothing does."""
        return self._names.about

    # what goes in -----------------------------------------------------------------------------------------------------

    async def incoming(self, actor: Actor, request: ChatRequest) -> tuple[ChatRequest, Shield | None]:
        """`request` as a model may read it, and what looks at its answer; None under a label that allows everything.

        Raises Refused(`guard_stopped`) for what must not be asked, Refused(`guard_cannot_look`) for what cannot be
        looked into and may have to be changed, Unavailable(`guard_unavailable`).
        """
        policy = self.policy_of(actor)
        if policy.idle:
            return request, None
        self._require_readable(policy, request)
        look = _Look(self._shield(actor, policy, as_json=request.response_format.kind != "text"))
        messages = tuple([await self._message(look, each, at) for at, each in enumerate(request.messages, start=1)])
        prompt, suffix = request.prompt, request.suffix
        if isinstance(prompt, str):
            prompt = await look.text(prompt, "the prompt")
        if suffix is not None:
            suffix = await look.text(suffix, "the suffix")
        tools = tuple(
            [
                structs.replace(
                    tool,
                    description=await look.text(tool.description, f"tool {at}"),
                    parameters=await look.value(tool.parameters, f"tool {at}"),
                )
                for at, tool in enumerate(request.tools, start=1)
            ]
        )
        labels = {name: await look.text(text, "its labels") for name, text in request.labels.items()}
        await self._over(actor, look, request.id)
        changed = structs.replace(request, messages=messages, prompt=prompt, suffix=suffix, tools=tools, labels=labels)
        return changed, look.shield

    async def texts(self, actor: Actor, texts: Sequence[Any], request_id: str) -> tuple[list[Any], Shield | None]:
        """As `incoming`, for texts of which vectors or ranks are made."""
        policy = self.policy_of(actor)
        if policy.idle:
            return list(texts), None
        if policy.changes and not all(isinstance(text, str) for text in texts):
            raise _unreadable(policy, "numbers of tokens", "Send the text itself.")
        look = _Look(self._shield(actor, policy))
        done = [await look.text(t, f"input {at}") if isinstance(t, str) else t for at, t in enumerate(texts, start=1)]
        await self._over(actor, look, request_id)
        return done, look.shield

    def answered(self, shield: Shield) -> None:
        """An answer has ended: count what was found in it."""
        self._metrics.guarded(shield.policy.label, "out", _words(shield.out))

    async def _message(self, look: _Look, message: Message, at: int) -> Message:
        where = f"message {at}"
        parts: list[str | Image] = []
        for part in message.parts:
            if isinstance(part, str):
                quiet = _Look(replace(look.shield, into=Counter()))  # it is in `content` too: counted there
                parts.append(await quiet.text(part, where))
                continue
            deed = look.shield.policy.deeds[Kind.IMAGE]
            if deed is not Deed.ALLOW:
                look.shield.into[Kind.IMAGE, deed] += 1
            if deed is Deed.BLOCK:
                look.blocked.append((where, Span(Kind.IMAGE, 0, 0, 1.0, "image")))
            parts.append(part)
        content = message.content
        content = await (look.json_text if message.role == "tool" else look.text)(content, where)
        calls = [
            ToolCall(call.id, call.name, await look.json_text(call.arguments, f"{where}, its call"))
            for call in message.tool_calls
        ]
        reasoning = message.reasoning
        if reasoning is not None:
            reasoning = await look.text(reasoning, f"{where}, its reasoning")
        return structs.replace(
            message, content=content, parts=tuple(parts), tool_calls=tuple(calls), reasoning=reasoning
        )

    async def _over(self, actor: Actor, look: _Look, request_id: str) -> None:
        """Everything was looked at: count it, and refuse what must not pass."""
        shield = look.shield
        self._metrics.guarded(shield.policy.label, "in", _words(shield.into))
        if look.blocked:
            error = stopped(shield.policy, look.blocked)
            facts: dict[str, Fact] = {"label": shield.policy.label, "found": counted(shield.into)}
            await self._audit.record(Event.GUARD_STOPPED, actor, outcome="refused", request_id=request_id, facts=facts)
            raise error

    def _require_readable(self, policy: Policy, request: ChatRequest) -> None:
        if not policy.changes:
            return
        if isinstance(request.prompt, tuple):
            raise _unreadable(policy, "a prompt of token numbers", "Send the text itself.")
        if request.sampling.logprobs:
            raise _unreadable(policy, "the probabilities of single tokens", "Ask without `logprobs`.")

    # looking ----------------------------------------------------------------------------------------------------------

    def _shield(self, actor: Actor, policy: Policy, *, as_json: bool = False) -> Shield:
        # Whoever works together has the same marks; outside workspaces a person is their own project.
        project = f"person:{actor.person_id}" if actor.place is None else f"workspace:{actor.place.id}"
        marks = Pseudonyms(self._key_of(project), self._this_year())
        reads = bool(policy.looking & self._names.kinds)
        find, find_part = (partial(self._find, policy.looking, whole=whole) for whole in (True, False))
        return Shield(policy, marks, find, find_part, as_json, reads, self.blind(policy))

    def _this_year(self) -> int:
        return 1970 + int(self._clock.now_s() / _SECONDS_A_YEAR)

    async def _find(self, kinds: frozenset[Kind], text: str, *, whole: bool) -> tuple[Span, ...]:
        """Everything of `kinds` in `text`; `whole`: it is not a part of one that still grows."""
        name = hashlib.blake2b(f"{sorted(kinds)}{whole}\0{text}".encode(errors="replace"), digest_size=16).digest()
        if (known := self._remembered.get(name)) is not None:
            self._remembered.move_to_end(name)
            return known
        more: tuple[Span, ...] = ()
        if kinds & self._names.kinds:
            (more,) = await self._names.find([text])
        look = partial(found, text, kinds, more, whole=whole)
        spans = await asyncio.to_thread(look) if len(text) > _LONG_CHARS else look()
        self._remembered[name] = spans
        if len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)
        return spans

    # for people -------------------------------------------------------------------------------------------------------

    async def standing(self, actor: Actor) -> Policy:
        """What is done about what `actor` asks now. Raises Refused."""
        await self._gate.require(actor, Action.GUARD_READ, target="guard")
        return self.policy_of(actor)

    async def check(self, actor: Actor, text: str, label: str | None = None) -> Checked:
        """What would be found in `text`.

        Raises Refused, Misasked(`no_such_label`), Unavailable(`guard_unavailable`).
        """
        await self._gate.require(actor, Action.GUARD_READ, target="guard")
        policy = self.policy_of(actor) if label is None else self._policies.get(label)
        if policy is None:
            raise Misasked(
                "no_such_label", f"There is no label {label!r:.80}.", f"Labels are {', '.join(self._policies)}."
            )
        shield = self._shield(actor, policy)
        spans = () if policy.idle else tuple(await shield.find(text))
        return Checked(policy, spans, treated(text, spans, policy, shield.marks).text, shield.blind)


def _words(counts: Counts) -> Mapping[tuple[str, str], int]:
    return {(kind.value, deed.value): number for (kind, deed), number in counts.items()}


def _unreadable(policy: Policy, what: str, hint: str) -> Refused:
    message = f"Under the label {policy.label!r} the guard has to look at texts, and cannot look into {what}."
    return Refused("guard_cannot_look", message, hint)
