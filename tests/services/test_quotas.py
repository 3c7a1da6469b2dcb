"""Quotas over a real database and log: together with their events, right after a crash, whole under many at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from msgspec import structs
from sqlalchemy import func, select
from tests import databases
from tests.audit.settable_clock import SettableClock

from intramural.audit import AuditLog, Beside, Event
from intramural.core.actor import CONSOLE, SCOPES, SYSTEM, Actor, Place
from intramural.core.chat import Usage
from intramural.core.config import AuditConfig, QuotasConfig
from intramural.core.errors import Misasked, Missing, QuotaSpent, Refused, Throttled, Unavailable
from intramural.files import Holder, Most
from intramural.metering import Limit, Meter, QuotaRows, Standing, UsageRow
from intramural.services.gate import Gate
from intramural.services.quotas import Hold, Quotas
from intramural.storage.schema import quota_balances, quota_holds

MIA, BOB, EVE = (
    Actor("person", name, name, "member", frozenset(SCOPES), f"s_{name}") for name in ("mia", "bob", "eve")
)
TOKENS = Limit("", "everyone", "", None, "tokens", "day", 1_000, each=True)
DAY_S = 86_400


class Bench:
    """Quotas over a database that can be left as a crash leaves it."""

    def __init__(self, root: Path, clock: SettableClock, stack: AsyncExitStack) -> None:
        self.root, self.clock, self.stack = root, clock, stack
        self.stored = {"mia": 70}
        self.names = iter(range(10**6))
        self.counted = 10**9

    async def start(self, **config: object) -> Quotas:
        """Opened again, knowing nothing but what is in the database."""
        if not hasattr(self, "db"):
            self.db = await databases.opened(self.root / "intramural.db")
            self.stack.push_async_callback(self.db.close)
            self.audit = await AuditLog.open(self.db, self.root / "secrets", AuditConfig(), self.clock)
            self.stack.push_async_callback(self.audit.close)
        self.meter = Meter(self.db, self.clock)

        async def known(person_id: str) -> object:
            if person_id not in ("mia", "bob", "eve"):
                raise Missing("person_not_found", "No.")
            return person_id

        settings = QuotasConfig(**{"answer_tokens": 100, **config})  # type: ignore[arg-type]  # a test's own
        self.quotas = Quotas(Gate(self.audit), QuotaRows(self.db), self.audit, self.clock, settings, self, known)
        await self.quotas.open()
        return self.quotas

    async def stored_bytes(self, holder: Holder) -> int:
        return self.stored.get(holder[1], 0)

    async def ask(self, actor: Actor, prompt: int, answer: int | None, model: str = "m") -> Hold | None:
        async def count() -> int:
            return self.counted

        name = f"req_{next(self.names)}"
        hold = await self.quotas.reserve(actor, model, name, prompt, answer, count)
        await self.audit.record(Event.CHAT_ASKED, actor, request_id=name, beside=self.quotas.asked_rows(hold))
        return hold

    async def end(self, hold: Hold | None, actor: Actor, usage: Usage) -> None:
        charged = self.quotas.settle(hold, usage)
        row = UsageRow(f"used_{next(self.names)}", actor.person_id, "k", "m", "", "openai", "chat", "finished", 1, 1)
        metered = Beside(*self.meter.insertion(row))
        await self.audit.record(Event.CHAT_ANSWERED, actor, beside=(metered, *charged))
        self.quotas.written(hold)

    async def rows(self) -> tuple[int, int]:
        """How much was used in all, how many hold something."""
        async with self.db.reading() as connection:
            used = await connection.scalar(select(func.sum(quota_balances.c.used)))
            return used or 0, await connection.scalar(select(func.count()).select_from(quota_holds)) or 0

    async def events(self, event: Event) -> int:
        return len(await self.audit.entries(event=event, limit=1_000))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        found = Bench(tmp_path, SettableClock(), stack)
        await found.start()
        yield found


async def test_what_was_used_is_charged_with_the_answer_and_stays(bench: Bench) -> None:
    await bench.quotas.set(CONSOLE, TOKENS)
    hold = await bench.ask(MIA, 100, 200)
    (standing,) = await bench.quotas.own(MIA)
    assert (standing.used, standing.held, standing.remaining) == (0, 300, 700)
    assert await bench.rows() == (0, 1)
    await bench.end(hold, MIA, Usage(40, 50))
    assert await bench.rows() == (90, 0)
    for quotas in (bench.quotas, await bench.start()):
        (standing,) = await quotas.own(MIA)
        assert (standing.used, standing.held) == (90, 0)
    assert (await bench.quotas.own(BOB))[0].used == 0


async def test_a_refusal_names_the_quota_what_is_left_and_when_it_renews(bench: Bench) -> None:
    limit = await bench.quotas.set(CONSOLE, TOKENS)
    hold = await bench.ask(MIA, 100, 850)
    await bench.end(hold, MIA, Usage(100, 850))
    said = rf"At most 1,000 tokens a day for each person \({limit.id}\); 50 remain"
    with pytest.raises(QuotaSpent, match=said) as caught:
        await bench.ask(MIA, 100, 100)
    renews_ms = caught.value.quota["renews_ms"]
    assert renews_ms % (DAY_S * 1000) == 0 and "renews at" in caught.value.hint
    assert 0 < caught.value.retry_after_s <= DAY_S
    assert caught.value.quota["remaining"] == 50
    assert await bench.ask(BOB, 100, 100) is not None
    with pytest.raises(QuotaSpent):
        await bench.ask(MIA, 100, 100)
    assert await bench.events(Event.QUOTA_REFUSED) == 1  # once for each person and window
    bench.clock.offset_s = DAY_S
    assert await bench.ask(MIA, 100, 100) is not None


async def test_near_the_limit_the_prompt_is_counted_and_what_never_fits_is_no_429(bench: Bench) -> None:
    bench.counted = 10
    await bench.quotas.set(CONSOLE, TOKENS)
    hold = await bench.ask(MIA, 4_000, 900)  # at most 4,000: the model counts 10
    assert hold is not None and (hold.prompt_tokens, hold.completion_tokens) == (10, 900)
    bench.quotas.let_go(hold)
    with pytest.raises(Refused, match="quota_too_small") as caught:
        await bench.ask(MIA, 10, 5_000)
    assert not isinstance(caught.value, Throttled)


async def test_an_answer_of_no_stated_length_holds_more_as_it_grows_and_is_cut_where_there_is_no_more(
    bench: Bench,
) -> None:
    await bench.quotas.set(CONSOLE, replace(TOKENS, amount=300))
    hold = await bench.ask(MIA, 10, None)
    assert hold is not None and hold.completion_tokens == 100
    other = await bench.ask(MIA, 10, 60)
    written = 0
    with pytest.raises(QuotaSpent, match="cut"):
        while True:
            written += 1
            if hold.note():
                bench.quotas.grow(hold, Usage(10, written))
    assert 100 < written <= 220
    await bench.end(hold, MIA, Usage(10, written))
    await bench.end(other, MIA, Usage(10, 60))
    assert (await bench.quotas.own(MIA))[0].used <= 300


async def test_what_a_crash_leaves_open_is_charged_in_full_and_once(bench: Bench) -> None:
    await bench.quotas.set(CONSOLE, TOKENS)
    await bench.end(await bench.ask(MIA, 10, 10), MIA, Usage(10, 5))
    await bench.ask(MIA, 100, 200)  # and nobody hears of it again
    for _ in range(2):
        await bench.start()
        (standing,) = await bench.quotas.own(MIA)
        assert (standing.used, standing.held) == (315, 0)
    assert await bench.rows() == (315, 0)
    opened = await bench.audit.entries(event=Event.QUOTAS_OPENED)
    assert [entry.facts["left_open"] for entry in opened] == [0, 1, 0]


async def test_what_the_meter_knows_is_not_charged_again_after_a_crash(bench: Bench) -> None:
    await bench.quotas.set(CONSOLE, TOKENS)
    hold = await bench.ask(MIA, 100, 200)
    assert hold is not None
    row = UsageRow(hold.reservation.request_id, "mia", "k", "m", "", "openai", "chat", "finished", 1, 1)
    await bench.meter.record(row)
    await bench.start()
    assert await bench.rows() == (0, 0)


async def test_a_question_that_could_not_be_recorded_holds_nothing(bench: Bench) -> None:
    await bench.quotas.set(CONSOLE, TOKENS)
    hold = await bench.ask(MIA, 100, 200)
    bench.quotas.let_go(hold)
    bench.quotas.let_go(hold)
    assert bench.quotas.settle(hold, Usage(100, 200)) == ()
    (standing,) = await bench.quotas.own(MIA)
    assert (standing.used, standing.held) == (0, 0)


async def test_many_at_once_never_go_over_and_every_token_is_charged_once(bench: Bench) -> None:
    """200 answers, 16 at a time, over limits of every kind; then memory, rows and what was used agree."""
    for limit in (
        replace(TOKENS, amount=2_000),
        replace(TOKENS, each=False, amount=4_500, period="month"),
        replace(TOKENS, measure="streams", period="now", amount=3),
        replace(TOKENS, measure="requests", period="hour", amount=40),
        replace(TOKENS, measure="money", each=False, amount=8_000_000, model="m"),
    ):
        await bench.quotas.set(CONSOLE, limit)
    chance, gate, spent = Random(7), asyncio.Semaphore(16), {"mia": 0, "bob": 0, "eve": 0}
    refused = 0

    async def one(actor: Actor) -> None:
        nonlocal refused
        prompt, answer = chance.randrange(5, 50), chance.randrange(5, 60)
        async with gate:
            try:
                hold = await bench.ask(actor, prompt, answer)
            except QuotaSpent:
                refused += 1
                return
            _check(await bench.quotas.own(actor))
            await asyncio.sleep(0)
            usage = Usage(prompt, chance.randrange(answer + 1))
            spent[actor.person_id] += usage.prompt_tokens + usage.completion_tokens
            await bench.end(hold, actor, usage)
            _check(await bench.quotas.own(actor))

    await asyncio.gather(*(one(chance.choice([MIA, BOB, EVE])) for _ in range(200)))
    assert refused and sum(spent.values()) <= 4_500 and max(spent.values()) <= 2_000
    before = {who.person_id: await bench.quotas.own(who) for who in (MIA, BOB, EVE)}
    await bench.start()
    assert {who.person_id: await bench.quotas.own(who) for who in (MIA, BOB, EVE)} == before
    used = {
        who: next(s.used for s in found if s.limit.measure == "tokens" and s.limit.each)
        for who, found in before.items()
    }
    assert used == spent
    assert (await bench.rows())[1] == 0


def _check(standings: list[Standing]) -> None:
    for each in standings:
        assert each.used + each.held <= each.limit.amount, each


async def test_what_failed_before_anything_was_computed_costs_nothing(bench: Bench) -> None:
    await bench.quotas.set(CONSOLE, replace(TOKENS, measure="requests", amount=1))
    await bench.end(await bench.ask(MIA, 5, 5), MIA, Usage(0, 0))
    await bench.end(await bench.ask(MIA, 5, 5), MIA, Usage(5, 0))
    with pytest.raises(QuotaSpent):
        await bench.ask(MIA, 5, 5)


async def test_money_follows_the_prices_of_models(bench: Bench) -> None:
    await bench.start(prices="m=1/2, *=10")
    await bench.quotas.set(CONSOLE, replace(TOKENS, measure="money", amount=5_000_000))
    await bench.end(await bench.ask(MIA, 1_000, 1_000), MIA, Usage(1_000, 1_000))
    assert (await bench.quotas.own(MIA))[0].used == 3_000_000
    with pytest.raises(QuotaSpent, match="EUR"):
        await bench.ask(MIA, 200, 1, model="other")
    assert await bench.ask(MIA, 1_000, 500) is not None


async def test_groups_and_workspaces_come_from_the_actor(bench: Bench) -> None:
    await bench.quotas.set(CONSOLE, replace(TOKENS, subject="group", subject_id="g", each=False, amount=100))
    pupil = structs.replace(MIA, groups=("h", "g"))
    assert await bench.ask(MIA, 500, 500) is None
    await bench.end(await bench.ask(pupil, 30, 30), pupil, Usage(30, 30))
    with pytest.raises(QuotaSpent, match="for the group g"):
        await bench.ask(structs.replace(BOB, groups=("g",)), 30, 30)


async def test_setting_the_same_again_changes_its_amount_and_removing_it_forgets(bench: Bench) -> None:
    made = await bench.quotas.set(CONSOLE, TOKENS)
    await bench.end(await bench.ask(MIA, 500, 400), MIA, Usage(500, 400))
    again = await bench.quotas.set(CONSOLE, replace(TOKENS, amount=2_000))
    assert again.id == made.id and (await bench.quotas.own(MIA))[0].remaining == 1_100
    (listed,) = await bench.quotas.all(CONSOLE)
    assert [(who, each.used) for who, each in listed.standings] == [("mia", 900)]
    await bench.quotas.remove(CONSOLE, made.id)
    assert await bench.quotas.own(MIA) == [] and await bench.rows() == (0, 0)
    with pytest.raises(Missing):
        await bench.quotas.remove(CONSOLE, made.id)
    assert await bench.events(Event.QUOTA_SET) == 2 and await bench.events(Event.QUOTA_REMOVED) == 1


async def test_only_administrators_set_limits_and_everybody_sees_their_own(bench: Bench) -> None:
    with pytest.raises(Refused):
        await bench.quotas.set(MIA, TOKENS)
    with pytest.raises(Refused):
        await bench.quotas.remove(MIA, "quota_x")
    with pytest.raises(Refused):
        await bench.quotas.all(MIA)
    assert await bench.quotas.own(MIA) == []
    with pytest.raises(Missing):
        await bench.quotas.set(CONSOLE, replace(TOKENS, subject="person", subject_id="nobody", each=False))
    with pytest.raises(Misasked):
        await bench.quotas.set(CONSOLE, replace(TOKENS, amount=-1))


async def test_stored_bytes_are_limited_by_the_nearest_quota(bench: Bench) -> None:
    stored = replace(TOKENS, measure="storage_bytes", period="now", amount=100)
    await bench.quotas.set(CONSOLE, stored)
    (standing,) = await bench.quotas.own(MIA)
    assert (standing.used, standing.remaining) == (70, 30)
    await bench.quotas.set(CONSOLE, replace(stored, subject="person", subject_id="mia", each=False, amount=500))
    assert bench.quotas.most_stored(MIA) == Most({("person", "mia"): 500}, groups=MIA.groups)
    assert bench.quotas.most_stored(BOB).amounts == {("person", "bob"): 100}
    bench.stored["w1"] = 40
    await bench.quotas.set(CONSOLE, replace(stored, subject="workspace", subject_id="w1", each=False, amount=300))
    inside = MIA.inside(Place("w1", "Ward", "phi"), "")
    assert bench.quotas.most_stored(inside).amounts == {("person", "mia"): 500, ("workspace", "w1"): 300}
    standings = {each.limit.subject: each.used for each in await bench.quotas.own(inside)}
    assert standings == {"person": 70, "workspace": 40}


async def test_stored_bytes_are_limited_of_a_key_a_group_and_all_together(bench: Bench) -> None:
    stored = replace(TOKENS, measure="storage_bytes", period="now", each=False)
    bench.stored |= {"k1": 10, "g1": 20, "": 30}
    for subject, name, amount in (("key", "k1", 100), ("group", "g1", 200), ("everyone", "", 300)):
        await bench.quotas.set(CONSOLE, replace(stored, subject=subject, subject_id=name, amount=amount))
    program = structs.replace(MIA, kind="key", credential_id="k1", groups=("g1", "g2"))
    shares = {("everyone", ""): 300, ("group", "g1"): 200, ("key", "k1"): 100}
    assert bench.quotas.most_stored(program) == Most(shares, "k1", ("g1", "g2"))
    standings = {each.limit.subject: (each.used, each.remaining) for each in await bench.quotas.own(program)}
    assert standings == {"everyone": (30, 270), "group": (20, 180), "key": (10, 90)}
    assert bench.quotas.most_stored(structs.replace(BOB, groups=())).amounts == {("everyone", ""): 300}
    listed = {each.limit.subject: each.standings[0][1].used for each in await bench.quotas.all(CONSOLE)}
    assert listed == {"everyone": 30, "group": 20, "key": 10}


async def test_the_service_itself_has_no_limits(bench: Bench) -> None:
    await bench.quotas.set(CONSOLE, replace(TOKENS, amount=0))
    assert not bench.quotas.limits(SYSTEM) and bench.quotas.limits(MIA)


async def test_an_address_that_knocks_too_often_waits(bench: Bench) -> None:
    quotas = await bench.start(address_requests_per_minute=3)
    for _ in range(3):
        quotas.knock("10.0.0.1")
    with pytest.raises(Throttled, match="too_many_requests"):
        quotas.knock("10.0.0.1")
    quotas.knock("10.0.0.2")


async def test_a_person_who_asks_too_often_waits_whichever_key_they_use_and_so_does_everybody(bench: Bench) -> None:
    quotas = await bench.start(person_requests_per_minute=3, requests_per_minute=5)
    key = structs.replace(MIA, kind="key", credential_id="key_1")
    for actor in (MIA, key, MIA):
        quotas.knock_as(actor)
    with pytest.raises(Throttled, match="3 requests a minute of yours") as caught:
        quotas.knock_as(key)
    assert 0 < caught.value.retry_after_s <= 20
    quotas.knock_as(BOB)
    quotas.knock_as(EVE)
    with pytest.raises(Throttled, match="5 requests a minute of everybody together"):
        quotas.knock_as(BOB)
    bench.clock.offset_s += 3_600  # a clock that is set makes no difference: nobody's turn comes sooner
    with pytest.raises(Throttled):
        quotas.knock_as(MIA)


async def test_nothing_is_charged_when_the_log_cannot_be_written(bench: Bench) -> None:
    """The record, the meter's row and the charge are one: a meter's row that cannot be written takes all along."""
    await bench.quotas.set(CONSOLE, TOKENS)
    hold = await bench.ask(MIA, 10, 10)
    charged = bench.quotas.settle(hold, Usage(10, 10))
    row = UsageRow("twice", "mia", "k", "m", "", "openai", "chat", "finished", 1, 1)
    metered = Beside(*bench.meter.insertion(row))
    await bench.meter.record(row)
    size = bench.audit.size
    with pytest.raises(Unavailable, match="audit_unavailable"):
        await bench.audit.record(Event.CHAT_ANSWERED, MIA, beside=(metered, *charged))
    assert bench.audit.size == size and await bench.rows() == (0, 1)
    await bench.start()  # what is not known to have ended is charged as held
    assert await bench.rows() == (20, 0)


# engine time ----------------------------------------------------------------------------------------------------------


class Engine:
    """As many answers as are begun, each of which takes `step_ms` of an engine until it can be stopped again."""

    def __init__(self, bench: Bench, chance: Random, steps_ms: tuple[float, float]) -> None:
        self.bench, self.chance, self.steps_ms = bench, chance, steps_ms
        self.running: dict[int, tuple[Hold, Actor, float]] = {}
        self.names = iter(range(10**6))
        self.charged_ms = self.cut = self.over_ms = 0.0

    async def begin(self, actor: Actor) -> None:
        with suppress(QuotaSpent):
            hold = await self.bench.ask(actor, 20, 30)
            assert hold is not None
            self.running[next(self.names)] = (hold, actor, 0.0)

    async def step(self) -> None:
        """One of them uses the engine for a while, and may end by itself."""
        name = self.chance.choice(list(self.running))
        hold, actor, used_ms = self.running[name]
        used_ms += self.chance.uniform(*self.steps_ms)
        self.running[name] = (hold, actor, used_ms)
        self.over_ms = max(self.over_ms, used_ms - hold.engine_ms)
        try:
            self.bench.quotas.time_passed(hold, used_ms)
        except QuotaSpent:
            self.cut += 1
            await self.end(name)
            return
        if self.chance.random() < 0.05:
            await self.end(name)

    async def end(self, name: int) -> None:
        hold, actor, used_ms = self.running.pop(name)
        self.charged_ms += used_ms
        await self.bench.end(hold, actor, Usage(20, 30, prompt_ms=used_ms / 4, completion_ms=used_ms * 3 / 4))

    @property
    def used_ms(self) -> float:
        return self.charged_ms + sum(used for _, _, used in self.running.values())


async def drive(bench: Bench, steps_ms: tuple[float, float], seed: int) -> Engine:
    """Sixteen clients until nothing is left of the limit, looking at every step."""
    await bench.quotas.set(CONSOLE, replace(TOKENS, measure="seconds", amount=30_000, each=False))
    engine = Engine(bench, Random(seed), steps_ms)
    for _ in range(20_000):
        if len(engine.running) < 16:
            await engine.begin(engine.chance.choice([MIA, BOB, EVE]))
        if not engine.running:
            break
        await engine.step()
        _check(await bench.quotas.own(MIA)) if engine.over_ms <= 0 else None
    assert not engine.running and engine.cut
    return engine


@pytest.mark.parametrize("seed", range(4))
async def test_sixteen_clients_never_go_over_a_limit_of_engine_time(bench: Bench, seed: int) -> None:
    """However long their answers take: more is held before what is held is used up, else the answer is stopped."""
    engine = await drive(bench, (1.0, 400.0), seed)
    assert 27_000 < engine.used_ms <= 30_000 and engine.over_ms <= 0
    (standing,) = await bench.quotas.own(MIA)
    assert standing.held == 0 and abs(standing.used - engine.used_ms) <= len(range(200))


async def test_a_step_longer_than_any_before_exceeds_a_limit_by_its_own_rest_alone(bench: Bench) -> None:
    """Nothing stops an engine half-way. Whoever else is under way stays within what they hold."""
    await bench.quotas.set(CONSOLE, replace(TOKENS, measure="seconds", amount=4_000, each=False))
    other, hold = await bench.ask(BOB, 20, 30), await bench.ask(MIA, 20, 30)
    assert other is not None and hold is not None and hold.engine_ms == other.engine_ms == 900
    with pytest.raises(QuotaSpent, match="cut"):
        bench.quotas.time_passed(hold, 3_500.0)
    await bench.end(hold, MIA, Usage(20, 30, prompt_ms=3_500.0))
    with pytest.raises(QuotaSpent, match="cut"):  # there is nothing more to hold than it has
        bench.quotas.time_passed(other, 100.0)
    await bench.end(other, BOB, Usage(20, 30, prompt_ms=100.0))
    (standing,) = await bench.quotas.own(MIA)
    assert (standing.used, standing.held) == (3_600, 0)
    with pytest.raises(QuotaSpent):
        await bench.ask(MIA, 20, 30)
    bench.clock.offset_s += DAY_S  # and one long silence does not shut a small limit for ever
    assert await bench.ask(MIA, 20, 30) is not None


async def test_engine_time_that_is_limited_is_held_from_what_the_model_takes(bench: Bench) -> None:
    await bench.quotas.set(CONSOLE, replace(TOKENS, measure="seconds", amount=60_000))
    hold = await bench.ask(MIA, 1_000, 1_000)
    assert hold is not None and hold.engine_ms == 1_000 * 1 + 1_000 * 20
    bench.quotas.prompt_read(hold, Usage(200, 0, prompt_ms=100.0))
    assert hold.engine_ms == 100 + 1_000 * 20
    bench.quotas.time_passed(hold, 5_000.0)
    assert hold.engine_ms == 20_100
    bench.quotas.time_passed(hold, 19_500.0)
    assert hold.engine_ms > 20_100
    await bench.end(hold, MIA, Usage(200, 1_000, prompt_ms=100.0, completion_ms=19_400.0))
    (standing,) = await bench.quotas.own(MIA)
    assert (standing.used, standing.held) == (19_500, 0)


async def test_without_a_limit_of_seconds_nobody_looks_at_the_time(bench: Bench) -> None:
    await bench.quotas.set(CONSOLE, TOKENS)
    hold = await bench.ask(MIA, 10, 10)
    assert hold is not None and hold.least_ms == 0
