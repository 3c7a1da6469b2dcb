"""Limits and what is decided by them. Pure: balances and time come as arguments.

Amounts are whole numbers: requests, tokens, milliseconds of engine time, streams, bytes, and millionths of the
institution's currency. What a request will use is *held* before the model is asked and *used* when it has ended, so at
any moment `used + held` is at most the limit.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from intramural.core.errors import Misasked
from intramural.metering.windows import PERIODS, Period

Subject = Literal["everyone", "person", "group", "key", "workspace"]
SUBJECTS: tuple[Subject, ...] = ("everyone", "person", "group", "key", "workspace")
Measure = Literal["requests", "tokens", "seconds", "streams", "storage_bytes", "money"]
MEASURES: tuple[Measure, ...] = ("requests", "tokens", "seconds", "streams", "storage_bytes", "money")

#: How many of our whole numbers are one of what people write.
UNITS: Mapping[Measure, int] = {"seconds": 1_000, "money": 1_000_000}
#: What is there at this moment, and not what was used since some beginning.
LEVELS: frozenset[Measure] = frozenset({"streams", "storage_bytes"})
MAX_AMOUNT = 2**53 - 1
#: When something is given back soon by answers that are under way, this is when to try again.
SOON_S = 2.0


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `amount` of `measure` in each `period`, for a subject, with `model` (None: any).

    `each`: for every person of the subject by themselves; else for all of it together.
    """

    id: str
    subject: Subject
    subject_id: str
    model: str | None
    measure: Measure
    period: Period
    amount: int
    each: bool

    @property
    def personal(self) -> bool:
        """Whether it is one person's own: then the nearest such limit counts, and not all of them."""
        return self.each or self.subject == "person"


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, as far as limits tell people apart."""

    person_id: str
    key_id: str | None
    groups: tuple[str, ...] = ()
    workspace: str | None = None


@dataclass(frozen=True, slots=True)
class Amounts:
    """What one request uses."""

    requests: int = 0
    tokens: int = 0
    engine_ms: int = 0
    streams: int = 0
    micros: int = 0

    def of(self, measure: Measure) -> int:
        if measure == "tokens":
            return self.tokens
        if measure == "requests":
            return self.requests
        if measure == "seconds":
            return self.engine_ms
        if measure == "money":
            return self.micros
        return self.streams if measure == "streams" else 0


@dataclass(frozen=True, slots=True)
class Standing:
    """How a limit stands for somebody: `renews_ms` is when its window ends (None: it has none)."""

    limit: Limit
    used: int
    held: int
    renews_ms: int | None

    @property
    def remaining(self) -> int:
        return max(0, self.limit.amount - self.used - self.held)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which limit does not allow it. `retry_s`: when it may (None: never, for it alone is more than the limit)."""

    standing: Standing
    wanted: int
    retry_s: float | None


@dataclass(frozen=True, slots=True)
class Price:
    """Millionths of the currency for 1,000 tokens read and for 1,000 written."""

    prompt: int = 0
    completion: int = 0

    def of(self, prompt_tokens: int, completion_tokens: int) -> int:
        """What they cost, rounded up to a millionth."""
        return -(-(prompt_tokens * self.prompt + completion_tokens * self.completion) // 1_000)


def decide(standings: Sequence[Standing], wanted: Amounts, now_ms: int) -> Refusal | None:
    """None where every limit has room for `wanted`; else the refusal that lasts longest. Total and pure."""
    refusals = [found for each in standings if (found := _refused(each, wanted.of(each.limit.measure), now_ms))]
    return max(refusals, key=_lasting) if refusals else None


def _refused(standing: Standing, wanted: int, now_ms: int) -> Refusal | None:
    limit = standing.limit
    if wanted <= 0 or standing.used + standing.held + wanted <= limit.amount:
        return None
    if wanted > limit.amount:
        return Refusal(standing, wanted, None)
    if standing.used + wanted <= limit.amount or standing.renews_ms is None:
        return Refusal(standing, wanted, SOON_S)  # others' answers hold it, and may give some back
    return Refusal(standing, wanted, max(0.001, (standing.renews_ms - now_ms) / 1000))


def _lasting(refusal: Refusal) -> float:
    return float("inf") if refusal.retry_s is None else refusal.retry_s


def applying(limits: Iterable[Limit], asker: Asker, model: str | None) -> list[tuple[Limit, str]]:
    """The limits on what `asker` does with `model` (None: whatever it is), each with whose balance counts.

    All that are for several people together count. Of those that are one person's own, for the same measure, period and
    model, the nearest counts: the person's, else that of their groups or workspace which gives most, else everyone's.
    """
    found: list[tuple[Limit, str]] = []
    personal: dict[tuple[str, str, str | None], Limit] = {}
    for limit in limits:
        if not _is_for(limit, asker) or (limit.model is not None and model is not None and limit.model != model):
            continue
        if not limit.personal:
            found.append((limit, ""))
            continue
        kind = (limit.measure, limit.period, limit.model)
        if kind not in personal or _nearness(limit) > _nearness(personal[kind]):
            personal[kind] = limit
    return found + [(limit, asker.person_id) for limit in personal.values()]


def _is_for(limit: Limit, asker: Asker) -> bool:
    if limit.subject == "everyone":
        return True
    if limit.subject == "group":
        return limit.subject_id in asker.groups
    own = {"person": asker.person_id, "key": asker.key_id, "workspace": asker.workspace}
    return limit.subject_id == own[limit.subject]


def _nearness(limit: Limit) -> tuple[int, int]:
    degree = {"everyone": 0, "group": 1, "workspace": 1, "key": 1, "person": 2}
    return degree[limit.subject], limit.amount


def checked(limit: Limit) -> Limit:
    """`limit`, if it can be one. Raises Misasked(`bad_quota`)."""
    wrong = _wrong_with(limit)
    if wrong:
        raise Misasked("bad_quota", wrong, "See `intramural quota set --help`.")
    return limit


def _wrong_with(limit: Limit) -> str | None:
    if limit.subject not in SUBJECTS or limit.measure not in MEASURES or limit.period not in PERIODS:
        return "A quota is for a known kind of subject, measure and period."
    if (limit.subject == "everyone") == bool(limit.subject_id):
        return "A quota for everyone names nobody; any other names its person, group, key or workspace."
    if not 0 <= limit.amount <= MAX_AMOUNT:
        return f"The amount of a quota is from 0 to {MAX_AMOUNT // UNITS.get(limit.measure, 1)}."
    if (limit.measure in LEVELS) != (limit.period == "now"):
        return "Streams and stored bytes are limited at any moment (`now`), the rest in a minute, hour, day or month."
    if limit.each and limit.subject in ("person", "key"):
        return "A person and a key are one: `each` is for everyone, a group or a workspace."
    if limit.measure == "storage_bytes" and (limit.model or (limit.subject == "workspace" and limit.each)):
        return (
            "Stored bytes are of no model; and of each person they are limited wherever they lie, not in a workspace."
        )
    return None


def shown(amount: int, measure: Measure) -> float | int:
    """An amount in the unit that people write: seconds, or whole currency."""
    unit = UNITS.get(measure, 1)
    return amount if unit == 1 else amount / unit


def prices(text: str) -> Mapping[str, Price]:
    """`llama=0.5, qwen=0.2/0.8`, read: what 1,000 tokens cost, or 1,000 read and 1,000 written. `*`: any other model.

    Raises Misasked(`bad_setting`).
    """
    found: dict[str, Price] = {}
    for part in text.split(","):
        if not part.strip():
            continue
        name, _, numbers = part.strip().rpartition("=")
        first, _, second = numbers.partition("/")
        try:
            each = [round(float(number) * UNITS["money"]) for number in (first, second or first)]
        except (ValueError, OverflowError):
            each = [-1]
        if not name.strip() or min(each) < 0:
            hint = "Write `model=price, model=price of reading/price of writing`, each for 1,000 tokens."
            raise Misasked("bad_setting", f"quotas.prices: {part.strip()!r} is no price.", hint)
        found[name.strip()] = Price(*each)
    return found
