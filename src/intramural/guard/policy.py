"""What becomes of what is found, by the label of the data. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from intramural.core.errors import Misasked
from intramural.guard.classes import Kind
from intramural.guard.marks import Pseudonyms
from intramural.guard.span import Span


class Deed(StrEnum):
    """What is done about one class, the mildest first."""

    ALLOW = "allow"
    WARN = "warn"
    REDACT = "redact"
    BLOCK = "block"


#: Every label there is, and what is done unless the settings say otherwise. A picture cannot be redacted.
DEFAULTS: Mapping[str, str] = {
    "public": "*=warn",
    "internal": "*=allow",
    "confidential": "*=warn ssn=redact card=redact account=redact",
    "phi": "*=redact organisation=warn image=warn",
    "education": "*=redact organisation=warn image=warn",
}
LABELS = tuple(DEFAULTS)


#: What is done at least about what people of some ages write, whatever the label: `redact` as for records of pupils;
#: `block` stops besides what leads to a person before a model reads it.
FLOORS: Mapping[str, str] = {
    "allow": "*=allow",
    "redact": "*=redact organisation=warn image=warn",
    "block": "*=redact organisation=warn image=warn street=block phone=block fax=block email=block ssn=block "
    "account=block card=block licence=block student=block member=block mrn=block ip=block",
}


@dataclass(frozen=True, slots=True)
class Policy:
    """What is done under one label, class by class."""

    label: str
    deeds: Mapping[Kind, Deed]
    #: Classes that are looked for at all.
    looking: frozenset[Kind] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "looking", frozenset(k for k, deed in self.deeds.items() if deed is not Deed.ALLOW))

    @property
    def idle(self) -> bool:
        """Whether nothing is looked for."""
        return not self.looking

    @property
    def changes(self) -> bool:
        """Whether a text may come out other than it went in, or not at all."""
        return any(deed in (Deed.REDACT, Deed.BLOCK) for deed in self.deeds.values())


def policies(lines: Iterable[str]) -> Mapping[str, Policy]:
    """Every label's policy; `lines` such as `phi: *=redact date=warn` come on top of the defaults.

    Raises Misasked(`bad_setting`).
    """
    given = {label: [text] for label, text in DEFAULTS.items()}
    for line in lines:
        label, colon, text = line.partition(":")
        if not colon or label.strip() not in given:
            raise _bad(line, f"A line begins with a label and a colon; labels are {', '.join(LABELS)}.")
        given[label.strip()].append(text)
    return {label: Policy(label, _deeds(texts)) for label, texts in given.items()}


def raised(policy: Policy, floor: str) -> Policy:
    """The policy with at least what a floor of `FLOORS` says, class by class."""
    least, order = _deeds([FLOORS[floor]]), list(Deed)
    deeds = {kind: max(deed, least[kind], key=order.index) for kind, deed in policy.deeds.items()}
    return Policy(policy.label, deeds)


def _deeds(texts: Sequence[str]) -> Mapping[Kind, Deed]:
    deeds = dict.fromkeys(Kind, Deed.ALLOW)
    for text in texts:
        for part in text.split():
            name, _, word = part.partition("=")
            if word not in [deed.value for deed in Deed] or not (name == "*" or name in [kind.value for kind in Kind]):
                known = ", ".join(kind.value for kind in Kind)
                raise _bad(part, f"Write class=allow, warn, redact or block; classes are {known}, or * for all.")
            kinds = list(Kind) if name == "*" else [Kind(name)]
            deeds |= dict.fromkeys(kinds, Deed(word))
    if deeds[Kind.IMAGE] is Deed.REDACT:
        deeds[Kind.IMAGE] = Deed.BLOCK  # nobody here can draw over a face; to let it through would be less than asked
    return deeds


def _bad(part: str, hint: str) -> Misasked:
    return Misasked("bad_setting", f"guard.rules: {part.strip()[:80]!r} is no rule.", hint)


#: How often each class was found, and what was done about it.
Counts = Counter[tuple[Kind, Deed]]


@dataclass(frozen=True, slots=True)
class Treated:
    """`text` with marks for what is redacted; what was found, counted; what must not pass."""

    text: str
    counts: Counts
    blocked: tuple[Span, ...]


def treated(text: str, spans: Sequence[Span], policy: Policy, marks: Pseudonyms) -> Treated:
    """Do with `spans` of `text` what `policy` says."""
    counts: Counts = Counter()
    parts: list[str] = []
    place = 0
    for span in spans:
        deed = policy.deeds[span.kind]
        counts[span.kind, deed] += 1
        if deed is Deed.REDACT:
            parts += (text[place : span.start], marks.mark(span.kind, text[span.start : span.end]))
            place = span.end
    blocked = tuple(span for span in spans if policy.deeds[span.kind] is Deed.BLOCK)
    return Treated("".join(parts) + text[place:] if parts else text, counts, blocked)
