"""One request under guard: its marks, what was found, and its answer on the way out."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from intramural.audit import Fact
from intramural.core.chat import ChatEvent, Delta, Finished, Reasoning, ToolCallDelta
from intramural.core.errors import Refused
from intramural.guard import Counts, Kind, Policy, Pseudonyms, Span, Window, treated
from intramural.guard.tree import parsed

#: Finds what a policy looks for in a text.
Find = Callable[[str], Awaitable[Sequence[Span]]]
#: An event as the log has it, and as the person who asked is told it.
Told = tuple[ChatEvent, ChatEvent]
_SHOWN = 5


@dataclass(slots=True)
class Shield:
    """`marks` are of what was asked: they are put back for the person who asked. What the answer brings of its own
    gets marks that stay."""

    policy: Policy
    marks: Pseudonyms
    #: In a text that is there as a whole, and in a part of one that still grows.
    find: Find
    find_part: Find
    #: The answer is JSON: what is put back into it is escaped.
    as_json: bool = False
    #: Whether it will be looked at by sentences.
    sentences: bool = False
    blind: frozenset[Kind] = frozenset()
    into: Counts = field(default_factory=Counter)
    out: Counts = field(default_factory=Counter)
    _own: Pseudonyms | None = None
    _windows: dict[tuple[type, int], Window] = field(default_factory=dict)
    _calls: dict[int, list[ToolCallDelta]] = field(default_factory=dict)
    _heard: dict[int, list[str]] = field(default_factory=dict)

    async def told(self, event: ChatEvent) -> list[Told]:
        """What may leave now that `event` has come. Raises Refused(`guard_stopped`) for what must not."""
        if not self.policy.changes:
            await self._listen(event)
            return [(event, event)]
        match event:
            case Delta() | Reasoning():
                window = self._window(event)
                window.push(event.text)
                return await self._released(event, window, window.ready())
            case ToolCallDelta():
                self._calls.setdefault(event.index, []).append(event)
                return []
            case Finished():
                return [*await self._rest(event.index), (event, event)]
        return [(event, event)]

    async def _listen(self, event: ChatEvent) -> None:
        """Nothing is held back where nothing may be changed: what was found is counted in the end."""
        if isinstance(event, Delta | Reasoning):
            self._heard.setdefault(event.index, []).append(event.text)
        elif isinstance(event, ToolCallDelta):
            self._heard.setdefault(event.index, []).append(event.arguments)
        elif isinstance(event, Finished):
            text = "".join(self._heard.pop(event.index, ()))
            self.out += treated(text, await self.find(text), self.policy, self.marks).counts

    def _window(self, event: Delta | Reasoning) -> Window:
        return self._windows.setdefault((type(event), event.index), Window(self.sentences))

    async def _released(self, event: Delta | Reasoning, window: Window, count: int) -> list[Told]:
        if not count:
            return []
        text, spans = window.take(count, await self.find_part(window.text))
        return [self._both(event, self._done(text, spans))] if text else []

    async def _rest(self, index: int) -> list[Told]:
        """All that is still held of choice `index`."""
        found: list[Told] = []
        for (kind, place), window in self._windows.items():
            if place == index and window.pending:
                event = kind(index, "")
                found += await self._released(event, window, len(window.pending))
        for calls in _by_position(self._calls.pop(index, ())):
            found.append(await self._call(calls))
        return found

    async def _call(self, parts: Sequence[ToolCallDelta]) -> Told:
        """A whole call: its arguments are JSON, and looked at as that."""
        whole = replace(parts[0], arguments="".join(part.arguments for part in parts))
        tree = parsed(whole.arguments)
        if tree is None:
            done = self._done(whole.arguments, await self.find(whole.arguments))
            return replace(whole, arguments=done), replace(whole, arguments=self._back(done, as_json=True))
        noted = shown = whole.arguments
        texts: list[str | None] = []
        for leaf, spans in tree.by_leaf(await self.find(tree.flat)):
            texts.append(self._done(tree.flat[leaf.start : leaf.end], spans) if spans else None)
        if any(text is not None for text in texts):
            noted = shown = json.dumps(tree.replaced(texts), ensure_ascii=False)
        return replace(whole, arguments=noted), replace(whole, arguments=self._back(shown, as_json=True))

    def _done(self, text: str, spans: Sequence[Span]) -> str:
        if self._own is None:
            self._own = Pseudonyms(self.marks.key, self.marks.this_year)
        done = treated(text, spans, self.policy, self._own)
        self.out += done.counts
        if done.blocked:
            raise stopped(self.policy, [("the answer", span) for span in done.blocked], positions=False)
        return done.text

    def _both(self, event: Delta | Reasoning, text: str) -> Told:
        # Probabilities are of the model's own tokens; asking for them is refused where texts may change.
        noted = replace(event, text=text)
        return noted, replace(event, text=self._back(text, as_json=self.as_json))

    def _back(self, text: str, *, as_json: bool) -> str:
        return self.marks.restored(text, as_json=as_json)

    def asked_facts(self) -> dict[str, Fact]:
        """For the log: what was found in the question, and what nobody looked for."""
        return {
            "guard": {"label": self.policy.label, "found": counted(self.into), "not_looked_for": sorted(self.blind)}
        }

    def answered_facts(self) -> dict[str, Fact]:
        """For the log: what was found in the answer."""
        return {"guard": {"label": self.policy.label, "found": counted(self.out)}}


def _by_position(parts: Iterable[ToolCallDelta]) -> list[list[ToolCallDelta]]:
    found: dict[int, list[ToolCallDelta]] = {}
    for part in parts:
        found.setdefault(part.position, []).append(part)
    return list(found.values())


def counted(counts: Counts) -> dict[str, dict[str, int]]:
    """`{"redact": {"mrn": 2}}`."""
    found: dict[str, dict[str, int]] = {}
    for (kind, deed), number in sorted(counts.items()):
        found.setdefault(deed.value, {})[kind.value] = number
    return found


def stopped(policy: Policy, places: Sequence[tuple[str, Span]], *, positions: bool = True) -> Refused:
    """The refusal: classes and places, never a value."""
    said = [
        f"{span.kind.label} ({where}, characters {span.start + 1} to {span.end})" if positions else f"{span.kind.label}"
        for where, span in places[:_SHOWN]
    ]
    more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    what = "The answer was stopped" if not positions else "The guard stopped this before a model read it"
    return Refused(
        "guard_stopped",
        f"{what}: under the label {policy.label!r} it must not hold what looks like a {', a '.join(said)}{more}.",
        "Leave it out and ask again, or ask where such data is allowed; `intramural guard check` shows what would be "
        "found.",
    )
