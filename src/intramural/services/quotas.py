"""Quotas: holding what a request may use before a model is asked, charging what it used when it has ended.

The balance is decided on in memory, in one step; the row of what is held is committed with the question's record, and
the charge with the meter's row and the answer's record. What a crash leaves open is charged in full at the next start:
nobody knows how much of the answer was made, and a limit that a crash can stretch is none.
"""

import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from intramural.access import Action
from intramural.audit import AuditLog, Beside, Event, Fact
from intramural.core.actor import SYSTEM, Actor
from intramural.core.chat import Usage
from intramural.core.clock import Clock
from intramural.core.config import QuotasConfig
from intramural.core.errors import Missing, QuotaSpent, Refused, Throttled
from intramural.core.ids import new_id
from intramural.files import Holder, Most
from intramural.metering import (
    Amounts,
    Asker,
    Ledger,
    Limit,
    Price,
    QuotaRows,
    Rate,
    Refusal,
    Reservation,
    Standing,
    applying,
    checked_limit,
    parse_prices,
    zone_of,
)
from intramural.services import quota_words
from intramural.services.gate import Gate

#: An answer of no stated length holds so many tokens more whenever it has used up what it held; less near the limit.
STEPS_TOKENS = (64, 8, 1)
#: How often the engine time of an answer is looked at while nothing comes of it.
LOOK_EVERY_S = 0.1
#: Engine time that is held ahead: so many times the longest that a model was silent, and how long that is at first.
_AHEAD, _SILENT_MS = 1.5, 600.0
#: An engine that is silent for less is as good as never silent: a look may come late by so much.
_TOLD_MS = 100.0
#: Means move this much towards each answer: about the last fifty count.
_TOWARDS = 0.02
#: Requests whose standing can still be told in their headers.
_TOLD = 4_096
#: Refusals remembered, so that each is recorded once in its window.
_REFUSED = 4_096
#: Balances of windows that began longer ago are dropped at a start: two months, so that a clock may be set back.
_KEPT_MS = 62 * 86_400_000
#: Of a limit that each has of their own, so many are listed: those who used most.
_LISTED = 20

#: The exact number of tokens of a prompt, where it matters.
Count = Callable[[], Awaitable[int]]


class Stored(Protocol):
    """What is stored, as `files.Files` knows it."""

    async def stored_bytes(self, holder: Holder) -> int: ...


@dataclass(slots=True)
class _Mean:
    """What answers of one model have been like. `silent_ms`: the longest engine time between two of its counts."""

    completion_tokens: float
    prompt_ms: float = 1.0
    token_ms: float = 20.0
    silent_ms: float = _SILENT_MS

    def ahead_ms(self, least_ms: int) -> int:
        """What must be held beyond what was used: no step of the engine can be stopped half-way. Of a limit of
        `least_ms` no more than half, or one long silence would end its use for ever.
        """
        return min(math.ceil(self.silent_ms * _AHEAD), least_ms // 2)

    def note(self, usage: Usage, silent_ms: float) -> None:
        self.silent_ms += _TOWARDS * (max(silent_ms, _TOLD_MS) - self.silent_ms)
        self.completion_tokens += _TOWARDS * (usage.completion_tokens - self.completion_tokens)
        if fresh := usage.prompt_tokens - usage.cached_tokens:
            self.prompt_ms += _TOWARDS * (usage.prompt_ms / max(1, fresh) - self.prompt_ms)
        if usage.completion_tokens:
            self.token_ms += _TOWARDS * (usage.completion_ms / usage.completion_tokens - self.token_ms)


@dataclass(slots=True)
class Hold:
    """What one answer holds. `open_ended`: its request sets no length, so it holds more as it grows."""

    reservation: Reservation
    model: str
    prompt_tokens: int
    completion_tokens: int
    open_ended: bool
    engine_ms: int = 0
    #: The smallest limit of engine time that applies; 0: none does, and `time_passed` need not be told.
    least_ms: int = 0
    written: int = 0
    #: Of engine time: what was counted when it was last looked at, and the longest between two looks.
    seen_ms: float = 0.0
    silent_ms: float = 0.0

    def note(self) -> bool:
        """A piece of the answer has come, a token at least; True where more must be held before the next."""
        self.written += 1
        return self.open_ended and self.written >= self.completion_tokens


@dataclass(frozen=True, slots=True)
class Listed:
    """A limit, and how it stands for those whose balances it has in this window (`who` empty: all together)."""

    limit: Limit
    standings: Sequence[tuple[str, Standing]] = field(default=())


class Quotas:
    """Limits, for everybody who asks a model or stores a file. `open` when the house is opened."""

    def __init__(
        self,
        gate: Gate,
        rows: QuotaRows,
        audit: AuditLog,
        clock: Clock,
        config: QuotasConfig,
        stored: Stored,
        known_person: Callable[[str], Awaitable[object]],
    ) -> None:
        """Raises Misasked(`bad_setting`) for a time zone or prices that are none."""
        self._gate = gate
        self._rows = rows
        self._audit = audit
        self._clock = clock
        self._config = config
        self._stored = stored
        self._known_person = known_person
        self._prices = parse_prices(config.prices)
        self._ledger = Ledger(rows.used, zone_of(config.time_zone))
        self._addresses = Rate(config.address_requests_per_minute)
        self._people = Rate(config.person_requests_per_minute)
        self._everybody = Rate(config.requests_per_minute)
        self._means: dict[str, _Mean] = {}
        self._told: OrderedDict[str, Reservation] = OrderedDict()
        self._refused: OrderedDict[tuple[str, str, int | None], None] = OrderedDict()

    @property
    def currency(self) -> str:
        return self._config.currency

    async def open(self) -> None:
        """Charge what a crash left open, and read the limits."""
        async with self._audit.transaction() as (connection, record):
            await self._rows.forget(connection, self._now_ms() - _KEPT_MS)
            found = await self._rows.left_open(connection)
            for held in found:
                await self._rows.charge(connection, held.request_id, () if held.metered else held.charges)
            metered = sum(held.metered for held in found)
            record(Event.QUOTAS_OPENED, SYSTEM, facts={"left_open": len(found), "metered": metered})
        self._ledger.use(await self._rows.limits())

    def knock(self, address: str) -> None:
        """Count a request from `address`. Raises Throttled(`too_many_requests`)."""
        self._knock(self._addresses, address, "from this address")

    def knock_as(self, actor: Actor) -> None:
        """Count a request of a person's, with whichever key, and one of everybody's. Raises as `knock`."""
        self._knock(self._people, actor.person_id, "of yours")
        self._knock(self._everybody, "", "of everybody together")

    def _knock(self, rate: Rate, name: str, whose: str) -> None:
        wait_s = rate.wait_s(name, self._clock.monotonic_s())
        if wait_s:
            message = f"There were more than {rate.per_minute} requests a minute {whose}."
            raise Throttled("too_many_requests", message, f"Try again in {wait_s:.1f} s.", retry_after_s=wait_s)

    # answers ----------------------------------------------------------------------------------------------------------

    def limits(self, actor: Actor) -> bool:
        """Whether anything could limit what `actor` asks; if not, nothing needs to be estimated."""
        return bool(self._ledger.limits) and actor.kind != "system"

    async def reserve(
        self, actor: Actor, model: str, request_id: str, prompt_tokens: int, completion_tokens: int | None, count: Count
    ) -> Hold | None:
        """Hold what one request may use; None where nothing limits it. `prompt_tokens`: at most so many.

        `completion_tokens` None: as many as it will be; held is this model's mean, and more as the answer grows. Where
        there is too little room, the prompt is counted. Raises QuotaSpent, Refused(`quota_too_small`).
        """
        open_ended = completion_tokens is None
        tokens = round(self._mean(model).completion_tokens) if completion_tokens is None else completion_tokens
        tries = [(prompt_tokens, tokens)]
        asker, refusal = _asker(actor), None
        least_ms = self._ledger.smallest(asker, model, "seconds")
        for prompt, completion in tries:
            wanted, now_ms = self._amounts(model, prompt, completion, least_ms), self._now_ms()
            await self._ledger.prepare(asker, model, now_ms)
            found = self._ledger.reserve(request_id, asker, model, wanted, now_ms)
            if isinstance(found, Reservation):
                self._remember(found)
                return Hold(found, model, prompt, completion, open_ended, wanted.engine_ms, least_ms)
            if found is None:
                return None
            refusal = found
            if len(tries) == 1 and refusal.standing.limit.measure not in ("requests", "streams"):
                exact = min(prompt_tokens, await count())
                tries.append((exact, tokens))
                tries += [(exact, min(tokens, step)) for step in STEPS_TOKENS if open_ended]
        assert refusal is not None
        raise await self._refusal(actor, request_id, refusal)

    def prompt_read(self, hold: Hold, usage: Usage) -> None:
        """The engine has counted the prompt: hold that, which is no more."""
        hold.prompt_tokens = min(hold.prompt_tokens, usage.prompt_tokens)
        mean = self._mean(hold.model)
        to_come_ms = max(mean.ahead_ms(hold.least_ms), math.ceil(hold.completion_tokens * mean.token_ms))
        hold.engine_ms = min(hold.engine_ms, math.ceil(usage.prompt_ms + usage.completion_ms) + to_come_ms)
        self._ledger.change(hold.reservation, self._held(hold), self._now_ms())

    def grow(self, hold: Hold, usage: Usage) -> None:
        """Hold more for an answer that goes on. Raises QuotaSpent where there is no more."""
        hold.written = max(hold.written, usage.completion_tokens)
        refusal = None
        for step in STEPS_TOKENS:
            grown = replace(hold, completion_tokens=hold.written + step)
            refusal = self._ledger.change(hold.reservation, self._held(grown), self._now_ms())
            if refusal is None:
                hold.completion_tokens = grown.completion_tokens
                return
        assert refusal is not None
        raise self._spent(refusal, cut=True)

    def time_passed(self, hold: Hold, engine_ms: float) -> None:
        """So much engine time was used by now. What is held stays ahead of it; raises QuotaSpent where it cannot.

        It is to be told whenever something has come, and every `LOOK_EVERY_S`.
        """
        mean = self._mean(hold.model)
        hold.silent_ms = max(hold.silent_ms, engine_ms - hold.seen_ms)
        mean.silent_ms = max(mean.silent_ms, hold.silent_ms)
        hold.seen_ms = engine_ms
        ahead_ms = mean.ahead_ms(hold.least_ms)
        if engine_ms + ahead_ms <= hold.engine_ms:
            return
        refusal = None
        for times in (4, 1):
            grown = replace(hold, engine_ms=math.ceil(engine_ms) + times * ahead_ms)
            refusal = self._ledger.change(hold.reservation, self._held(grown), self._now_ms())
            if refusal is None:
                hold.engine_ms = grown.engine_ms
                return
        assert refusal is not None
        raise self._spent(refusal, cut=True)

    def asked_rows(self, hold: Hold | None) -> Sequence[Beside]:
        """What is to be committed with the question's record."""
        charges = [] if hold is None else hold.reservation.charges()
        if hold is None or not charges:
            return ()
        return [Beside(*row) for row in self._rows.hold(hold.reservation.request_id, self._now_ms(), charges)]

    def settle(self, hold: Hold | None, usage: Usage, engine_ms: float | None = None) -> Sequence[Beside]:
        """The answer has ended: what is to be committed with its record. Call `written` when it is.

        `engine_ms`: of an engine that does not count it in `usage`. What failed before anything was computed costs
        nothing.
        """
        if hold is None or hold.reservation.settled:
            return ()
        tokens = usage.prompt_tokens + usage.completion_tokens
        spent = Amounts(
            requests=1 if tokens else 0,
            tokens=tokens,
            engine_ms=round(usage.prompt_ms + usage.completion_ms if engine_ms is None else engine_ms),
            micros=self._price(hold.model).of(usage.prompt_tokens, usage.completion_tokens),
        )
        if usage.completion_tokens:
            self._mean(hold.model).note(usage, hold.silent_ms)
        kept = hold.reservation.charges()
        charges = self._ledger.settle(hold.reservation, spent)
        return [Beside(*row) for row in self._rows.settle(hold.reservation.request_id, charges)] if kept else ()

    def written(self, hold: Hold | None) -> None:
        """What `settle` gave is on the disk."""
        if hold is not None:
            self._ledger.written(hold.reservation)

    def let_go(self, hold: Hold | None) -> None:
        """Nothing was asked, and nothing of it is on the disk."""
        if hold is not None and not hold.reservation.settled:
            self._ledger.settle(hold.reservation, Amounts())
            self._ledger.written(hold.reservation)

    def told(self, request_id: str) -> list[Standing]:
        """How the limits of a request stand now; nothing where none limits it."""
        found = self._told.get(request_id)
        return [] if found is None else self._ledger.now(found)

    # stored files -----------------------------------------------------------------------------------------------------

    def most_stored(self, actor: Actor) -> Most:
        """How many bytes files may have together with those that `actor` stores; and with which key they do."""
        asker = _asker(actor)
        amounts: dict[Holder, int] = {}
        for limit in self._storage(actor):
            holder = _holder(limit, actor.person_id)
            amounts[holder] = min(limit.amount, amounts.get(holder, limit.amount))
        return Most(amounts, asker.key_id, asker.groups)

    # asking and setting -----------------------------------------------------------------------------------------------

    async def own(self, actor: Actor, model: str | None = None) -> list[Standing]:
        """How everything that limits `actor` stands."""
        await self._gate.require(actor, Action.QUOTAS_READ, owner_id=actor.person_id)
        asker, now_ms = _asker(actor), self._now_ms()
        await self._ledger.prepare(asker, model, now_ms)
        found = self._ledger.standings(asker, model, now_ms)
        for limit in self._storage(actor):
            stored = await self._stored.stored_bytes(_holder(limit, actor.person_id))
            found.append(Standing(limit, stored, 0, None))
        return found

    async def all(self, actor: Actor) -> list[Listed]:
        """Every limit, with the balances of those who used most of it in this window."""
        await self._gate.require(actor, Action.QUOTAS_READ)
        now_ms = self._now_ms()
        found: list[Listed] = []
        for limit in self._ledger.limits:
            if limit.measure == "storage_bytes":
                there = [] if limit.personal else [("", await self._stored.stored_bytes(_holder(limit, "")))]
                found.append(Listed(limit, [(who, Standing(limit, used, 0, None)) for who, used in there]))
                continue
            start_ms = self._ledger.start_ms(limit.period, now_ms)
            used = await self._rows.balances(limit.id, start_ms, _LISTED) if limit.personal else [("", 0)]
            found.append(Listed(limit, [(who, await self._ledger.standing(limit, who, now_ms)) for who, _ in used]))
        return found

    async def set(self, actor: Actor, limit: Limit) -> Limit:
        """Make a limit, or change the amount of the one that is for the same. What was used of that stays used.

        Raises Misasked(`bad_quota`), Missing(`person_not_found`).
        """
        await self._gate.require(actor, Action.QUOTAS_CHANGE)
        checked_limit(limit)
        if limit.subject == "person":
            await self._known_person(limit.subject_id)
        same = next((each for each in self._ledger.limits if _same(each, limit)), None)
        limit = replace(limit, id=new_id("quota", self._clock) if same is None else same.id)
        async with self._audit.transaction() as (connection, record):
            await self._rows.put(connection, limit)
            before = None if same is None else same.amount
            record(Event.QUOTA_SET, actor, target=f"quota:{limit.id}", facts={**_facts(limit), "before": before})
        self._ledger.use(await self._rows.limits())
        return limit

    async def remove(self, actor: Actor, limit_id: str) -> None:
        """Raises Missing(`quota_not_found`)."""
        await self._gate.require(actor, Action.QUOTAS_CHANGE, target=f"quota:{limit_id}")
        found = next((each for each in self._ledger.limits if each.id == limit_id), None)
        if found is None:
            raise Missing("quota_not_found", f"There is no quota {limit_id[:64]!r}.", "See `intramural quota list`.")
        async with self._audit.transaction() as (connection, record):
            await self._rows.remove(connection, limit_id)
            record(Event.QUOTA_REMOVED, actor, target=f"quota:{limit_id}", facts=_facts(found))
        self._ledger.use(await self._rows.limits())

    # parts ------------------------------------------------------------------------------------------------------------

    def _now_ms(self) -> int:
        return int(self._clock.now_s() * 1000)

    def _mean(self, model: str) -> _Mean:
        return self._means.setdefault(model, _Mean(float(self._config.answer_tokens)))

    def _price(self, model: str) -> Price:
        return self._prices.get(model) or self._prices.get("*") or Price()

    def _amounts(self, model: str, prompt_tokens: int, completion_tokens: int, least_ms: int) -> Amounts:
        mean = self._mean(model)
        mean_ms = round(prompt_tokens * mean.prompt_ms + completion_tokens * mean.token_ms)
        return Amounts(
            requests=1,
            tokens=prompt_tokens + completion_tokens,
            engine_ms=max(mean.ahead_ms(least_ms), mean_ms, 1),
            streams=1,
            micros=self._price(model).of(prompt_tokens, completion_tokens),
        )

    def _held(self, hold: Hold) -> Amounts:
        amounts = self._amounts(hold.model, hold.prompt_tokens, hold.completion_tokens, hold.least_ms)
        return replace(amounts, engine_ms=hold.engine_ms)

    def _storage(self, actor: Actor) -> list[Limit]:
        wanted = (limit for limit in self._ledger.limits if limit.measure == "storage_bytes")
        return [limit for limit, _ in applying(wanted, _asker(actor), None)]

    def _remember(self, reservation: Reservation) -> None:
        self._told[reservation.request_id] = reservation
        if len(self._told) > _TOLD:
            self._told.popitem(last=False)

    async def _refusal(self, actor: Actor, request_id: str, refusal: Refusal) -> Refused:
        standing = refusal.standing
        limit = standing.limit
        once = (limit.id, actor.person_id, standing.renews_ms)
        if once not in self._refused:
            self._refused[once] = None
            if len(self._refused) > _REFUSED:
                self._refused.popitem(last=False)
            facts = {**_facts(limit), "used": standing.used, "held": standing.held, "wanted": refusal.wanted}
            await self._audit.record(
                Event.QUOTA_REFUSED,
                actor,
                target=f"quota:{limit.id}",
                outcome="refused",
                request_id=request_id,
                facts=facts,
            )
        return self._spent(refusal)

    def _spent(self, refusal: Refusal, *, cut: bool = False) -> Refused:
        zone, currency = self._config.time_zone, self._config.currency
        message, hint = quota_words.refused(refusal, zone, currency, cut=cut)
        told = quota_words.told(refusal.standing, currency)
        if refusal.retry_s is None and not cut:
            return Refused("quota_too_small", message, hint)
        return QuotaSpent("quota_spent", message, hint, retry_after_s=refusal.retry_s or 1.0, quota=told)


def _asker(actor: Actor) -> Asker:
    key_id = actor.credential_id if actor.kind == "key" else None
    return Asker(actor.person_id, key_id, actor.groups, actor.workspace)


def _holder(limit: Limit, person_id: str) -> Holder:
    """Whose stored bytes a limit counts, for this person."""
    return ("person", person_id) if limit.personal else (limit.subject, limit.subject_id)


def _same(one: Limit, other: Limit) -> bool:
    return replace(one, id="", amount=0) == replace(other, id="", amount=0)


def _facts(limit: Limit) -> dict[str, Fact]:
    return {
        "subject": limit.subject,
        "subject_id": limit.subject_id,
        "model": limit.model,
        "measure": limit.measure,
        "period": limit.period,
        "amount": limit.amount,
        "each": limit.each,
    }
