"""The scheduler, as plays: what happened, and what follows."""

from dataclasses import dataclass, field

import pytest

from intramural.core.errors import Broken, IntramuralError, Untrusted
from intramural.serving.scheduler import (
    Arrived,
    Demand,
    Effect,
    Event,
    Fail,
    Grant,
    KeepAsked,
    Left,
    Phase,
    PinAsked,
    Preempt,
    Quarantine,
    Quarantined,
    Refuse,
    Released,
    Rules,
    ShutdownAsked,
    StartWorker,
    State,
    StopWorker,
    Ticked,
    UnloadAsked,
    Wait,
    Worker,
    WorkerGone,
    WorkerMisbehaved,
    WorkerReady,
    step,
    victims,
    wake_at,
)

BIG = Demand("big", "sha256:big", memory_bytes=60, slots=2)
SMALL = Demand("small", "sha256:small", memory_bytes=30, slots=1)
OTHER = Demand("other", "sha256:other", memory_bytes=60, slots=1)
ELSEWHERE = Demand("elsewhere", "engine:lab/elsewhere", memory_bytes=0, slots=1)


def told(effect: Effect) -> str:
    """An effect in a few words."""
    match effect:
        case StartWorker(worker=number, demand=demand):
            return f"start {number} {demand.name}"
        case StopWorker(worker=number, force=force):
            return f"{'kill' if force else 'stop'} {number}"
        case Grant(ticket=ticket, worker=number):
            return f"grant {ticket} {number}"
        case Refuse(ticket=ticket, error=error):
            return f"refuse {ticket} {error.code}"
        case Fail(ticket=ticket, error=error):
            return f"fail {ticket} {error.code}"
        case Preempt(ticket=ticket):
            return f"preempt {ticket}"
        case Wait(ticket=ticket, position=position):
            return f"wait {ticket} {position}"
        case Quarantine(demand=demand, crashes=crashes, how=how):
            return f"quarantine {demand.name} {crashes} {how}"


@dataclass
class Play:
    """A state, and a clock that only the script moves."""

    rules: Rules = field(default_factory=lambda: Rules(budget_bytes=100, queue_limit=3))
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self.state = State(self.rules)
        self.last: tuple[Effect, ...] = ()

    def happened(self, event: Event) -> list[str]:
        self.state, self.last = step(self.state, event)
        return [told(effect) for effect in self.last]

    def arrives(self, ticket: str, demand: Demand = BIG, **more: bool) -> list[str]:
        return self.happened(Arrived(self.now_s, ticket, demand, **more))

    def leaves(self, ticket: str) -> list[str]:
        return self.happened(Left(self.now_s, ticket))

    def ready(self, worker: int) -> list[str]:
        return self.happened(WorkerReady(self.now_s, worker))

    def gone(
        self, worker: int, error: IntramuralError | None = None, *, crashed: bool = True, how: str = ""
    ) -> list[str]:
        return self.happened(WorkerGone(self.now_s, worker, error, crashed, how))

    def later(self, seconds: float) -> list[str]:
        self.now_s += seconds
        return self.happened(Ticked(self.now_s))

    def loaded(self, demand: Demand, ticket: str = "warm-up") -> int:
        """Load a model and leave it idle; its worker's number."""
        number = self.state.next_worker
        self.arrives(ticket, demand)
        self.ready(number)
        self.leaves(ticket)
        assert self.state.workers[number].idle
        return number


@pytest.fixture
def play() -> Play:
    return Play()


def test_the_first_request_loads_the_model_and_waits_for_it(play: Play) -> None:
    assert play.arrives("a") == ["start 1 big", "wait a 1"]
    assert play.ready(1) == ["grant a 1"]
    assert play.leaves("a") == []


def test_requests_for_a_model_that_is_being_loaded_share_the_one_load(play: Play) -> None:
    play.arrives("a")
    assert play.arrives("b") == ["wait b 2"]
    assert play.arrives("c") == ["wait c 3"]
    assert play.ready(1) == ["grant a 1", "grant b 1", "wait c 1"]
    assert play.leaves("b") == ["grant c 1"]


def test_beyond_the_limit_of_the_queue_a_request_is_refused_with_a_time_to_come_back(play: Play) -> None:
    for ticket in "abc":
        play.arrives(ticket)
    assert play.arrives("d") == ["refuse d queue_full"]
    error = play.last[0].error  # type: ignore[union-attr]
    assert error.retry_after_s >= 1  # type: ignore[attr-defined]


def test_a_full_queue_for_one_model_does_not_refuse_those_of_another_with_a_free_slot(play: Play) -> None:
    play.loaded(SMALL)
    for ticket in "abc":
        play.arrives(ticket, BIG)
    assert play.arrives("d", SMALL) == ["grant d 1"]


def test_who_waits_too_long_is_refused(play: Play) -> None:
    play.arrives("a")
    assert play.later(299) == []
    assert play.later(1) == ["refuse a queue_timeout"]


def test_a_client_that_leaves_while_waiting_is_forgotten_and_the_others_move_up(play: Play) -> None:
    play.arrives("a")
    play.arrives("b")
    assert play.leaves("a") == ["wait b 1"]
    assert play.ready(1) == ["grant b 1"]


def test_an_idle_model_makes_room_for_another(play: Play) -> None:
    play.loaded(BIG)
    assert play.arrives("a", OTHER) == ["stop 1", "wait a 1"]
    assert play.gone(1) == ["start 2 other"]
    assert play.ready(2) == ["grant a 2"]


def test_the_least_recently_used_idle_model_goes_first() -> None:
    play = Play(Rules(budget_bytes=130))
    first, second = play.loaded(SMALL), play.loaded(BIG)
    play.now_s = 5
    play.arrives("again", SMALL)
    play.leaves("again")
    assert play.arrives("a", OTHER) == [f"stop {second}", "wait a 1"]
    assert play.state.workers[first].phase is Phase.READY


def test_a_busy_model_is_never_stopped_for_another_but_takes_no_more_once_the_other_waited(play: Play) -> None:
    play.loaded(BIG)
    play.arrives("a", BIG)
    assert play.arrives("b", OTHER) == ["wait b 1"]
    assert play.arrives("c", BIG) == ["grant c 1"], "for a moment, later requests may pass"
    play.leaves("c")
    play.later(2)
    assert play.arrives("d", BIG) == ["wait d 2"]
    assert play.leaves("a") == ["stop 1"]
    assert play.gone(1) == ["start 2 other"]
    assert play.ready(2) == ["grant b 2", "wait d 1"]
    assert play.leaves("b") == ["stop 2"]
    assert play.gone(2) == ["start 3 big"]


def test_what_was_loaded_answers_whom_it_was_loaded_for_before_it_makes_room(play: Play) -> None:
    """However long loading takes: else two models that are both due would end each other unused, for ever."""
    play.arrives("a", BIG)
    assert play.arrives("b", OTHER) == ["wait b 2"]
    play.later(10)
    assert play.ready(1) == ["grant a 1"]
    assert play.leaves("a") == ["stop 1"]
    assert play.gone(1) == ["start 2 other"]
    play.arrives("c", BIG)
    play.later(10)
    assert play.ready(2) == ["grant b 2"], "although c is due"
    assert play.leaves("b") == ["stop 2"]


def test_memory_that_is_kept_for_an_older_request_is_not_taken_by_a_younger_one() -> None:
    play = Play(Rules(budget_bytes=100))
    play.loaded(BIG)
    play.arrives("a", BIG)
    play.arrives("b", OTHER)
    assert play.arrives("c", SMALL) == ["wait c 2"]
    play.leaves("a")
    assert play.gone(1) == ["start 2 other", "start 3 small"]


def test_a_model_that_idles_too_long_is_stopped_and_a_pinned_one_is_not(play: Play) -> None:
    play.loaded(SMALL)
    assert wake_at(play.state) == pytest.approx(1800)
    play.happened(PinAsked(0, "small", True))
    assert wake_at(play.state) is None
    assert play.later(10_000) == []
    assert play.happened(PinAsked(play.now_s, "small", False)) == ["stop 1"]


def test_negative_keep_alive_means_for_ever() -> None:
    play = Play(Rules(budget_bytes=100, keep_alive_s=-1))
    play.loaded(SMALL)
    assert wake_at(play.state) is None
    assert play.later(1e9) == []


def test_who_may_decides_how_long_one_worker_stays(play: Play) -> None:
    play.loaded(SMALL)
    play.happened(KeepAsked(play.now_s, "small", 60))
    assert wake_at(play.state) == pytest.approx(60)
    assert play.later(30) == []
    play.arrives("a", SMALL)
    play.leaves("a")
    assert play.later(59) == [], "a request begins it anew"
    assert play.later(1) == ["stop 1"]
    play.gone(1)
    play.loaded(SMALL, "again")
    assert wake_at(play.state) == pytest.approx(play.now_s + 1800), "the next worker is as any other"


def test_kept_for_no_time_it_goes_when_its_last_answer_is_done(play: Play) -> None:
    play.loaded(SMALL)
    play.arrives("a", SMALL)
    play.arrives("b", SMALL)
    assert play.happened(KeepAsked(play.now_s, "small", 0)) == []
    assert play.leaves("a") == ["grant b 1"], "whoever waits is answered first"
    play.happened(PinAsked(play.now_s, "small", True))
    assert play.leaves("b") == [], "a pin goes first"
    assert play.happened(PinAsked(play.now_s, "small", False)) == ["stop 1"]


def test_an_engine_elsewhere_waits_for_no_memory_and_is_not_stopped_for_any(play: Play) -> None:
    play.arrives("a", BIG)
    assert play.arrives("b", OTHER) == ["wait b 2"]
    assert play.arrives("c", ELSEWHERE) == ["start 2 elsewhere", "wait c 3"], "although b waits for memory before it"
    assert play.ready(2) == ["grant c 2"]
    play.leaves("c")
    play.now_s = 1
    play.ready(1)
    assert play.leaves("a") == ["stop 1"], "not the one that has been idle for longer"


def test_kept_for_ever_it_still_makes_room(play: Play) -> None:
    play.loaded(BIG)
    play.happened(KeepAsked(play.now_s, "big", -1))
    assert wake_at(play.state) is None
    assert play.arrives("a", OTHER) == ["stop 1", "wait a 1"]


def test_a_pinned_model_is_not_stopped_for_another(play: Play) -> None:
    play.loaded(BIG)
    play.happened(PinAsked(0, "big", True))
    assert play.arrives("a", OTHER) == ["refuse a not_enough_memory"]


def test_a_model_larger_than_the_budget_is_refused_at_once(play: Play) -> None:
    assert play.arrives("a", Demand("huge", "d", 101, 1)) == ["refuse a not_enough_memory"]


def test_unloading_an_idle_model_stops_it_and_lifts_its_pin(play: Play) -> None:
    play.loaded(BIG)
    play.happened(PinAsked(0, "big", True))
    assert play.happened(UnloadAsked(0, "big")) == ["stop 1"]
    assert play.gone(1) == []
    assert play.state.pinned == frozenset()


def test_unloading_a_busy_model_lets_it_finish_first(play: Play) -> None:
    play.loaded(BIG)
    play.arrives("a")
    assert play.happened(UnloadAsked(0, "big")) == []
    assert play.arrives("b") == ["wait b 1"]
    assert play.leaves("a") == ["stop 1"]
    assert play.gone(1) == ["start 2 big"], "somebody still wants it"


def test_unloading_a_model_that_is_being_loaded_refuses_those_who_wait_for_it(play: Play) -> None:
    play.arrives("a")
    assert play.happened(UnloadAsked(0, "big")) == ["refuse a model_unloaded", "stop 1"]
    assert play.gone(1) == []


def test_a_worker_that_dies_fails_those_it_answers_and_is_replaced_for_those_who_wait(play: Play) -> None:
    play.arrives("a", SMALL)
    play.arrives("b", SMALL)
    play.ready(1)
    assert play.gone(1) == ["fail a worker_died", "start 2 small"]
    assert play.leaves("a") == []
    assert play.ready(2) == ["grant b 2"]


def test_three_crashes_in_ten_minutes_quarantine_the_weights(play: Play) -> None:
    play.arrives("a", SMALL)
    play.arrives("b", SMALL)
    play.ready(1)
    assert play.gone(1) == ["fail a worker_died", "start 2 small"]
    play.arrives("c", SMALL)
    play.ready(2)
    play.now_s = 200
    play.arrives("d", SMALL)
    assert play.gone(2) == ["fail b worker_died", "start 3 small"]
    play.arrives("e", SMALL)
    play.ready(3)
    assert play.gone(3, how="SIGSEGV") == [
        "fail c worker_died",
        "quarantine small 3 SIGSEGV",
        "refuse d model_quarantined",
        "refuse e model_quarantined",
    ]
    assert play.arrives("f", SMALL) == ["refuse f model_quarantined"]
    assert play.arrives("g", BIG)[0].startswith("start"), "other weights are not concerned"
    play.leaves("g")
    play.later(100_000)
    assert play.arrives("h", SMALL) == ["refuse h model_quarantined"], "it does not pass by itself"
    renamed = Demand("alias", SMALL.digest, SMALL.memory_bytes, 1)
    assert play.arrives("i", renamed) == ["refuse i model_quarantined"], "it is by the bytes, whatever their name"


def test_weights_that_were_released_begin_anew(play: Play) -> None:
    for number in (1, 2, 3):
        play.loaded(SMALL, f"t{number}")
        play.gone(number)
    assert play.state.quarantined == {SMALL.digest}
    assert play.happened(Released(play.now_s, SMALL.digest)) == []
    for number in (4, 5):
        play.loaded(SMALL, f"t{number}")
        assert play.gone(number) == []
    play.loaded(SMALL, "t6")
    assert play.gone(6) == ["quarantine small 3 worker_died"]


def test_weights_in_quarantine_since_earlier_are_not_started(play: Play) -> None:
    assert play.happened(Quarantined(0, frozenset({SMALL.digest}))) == []
    assert play.arrives("a", SMALL) == ["refuse a model_quarantined"]


@pytest.mark.parametrize("why", ["idle", "room", "unloaded", "shutdown"])
def test_what_ends_a_worker_because_we_said_so_is_no_crash(play: Play, why: str) -> None:
    """Even if it then dies of a signal, as one does that takes too long to go."""
    for _ in range(4):
        number = play.loaded(SMALL)
        if why == "idle":
            play.later(play.rules.keep_alive_s + 1)
        elif why == "room":
            play.arrives("big", Demand("huge", "sha256:huge", 100, 1))
            play.leaves("big")
        elif why == "unloaded":
            play.happened(UnloadAsked(play.now_s, SMALL.name))
        else:
            play.happened(ShutdownAsked(play.now_s))
        assert play.state.workers[number].phase is Phase.STOPPING
        play.gone(number, how="SIGKILL")
        assert (play.state.crashes, play.state.quarantined) == ({}, frozenset())
        if why == "shutdown":
            break
        if why == "room":
            play.later(play.rules.keep_alive_s + 1)


def test_crashes_far_apart_do_not_quarantine(play: Play) -> None:
    for number in (1, 2, 3, 4):
        play.loaded(SMALL, f"t{number}")
        assert play.gone(number) == []
        play.later(301)
    assert play.arrives("a", SMALL)[0].startswith("start")


def test_a_worker_that_cannot_be_started_refuses_those_who_wait_for_it_with_the_reason(play: Play) -> None:
    play.arrives("a")
    play.arrives("b", SMALL)
    error = Untrusted("model_digest_mismatch", "changed")
    assert play.gone(1, error, crashed=False) == ["refuse a model_digest_mismatch", "wait b 1"]
    assert play.state.crashes == {}


def test_a_worker_that_babbles_is_killed_and_replaced(play: Play) -> None:
    play.arrives("a", SMALL)
    play.arrives("b", SMALL)
    play.ready(1)
    error = Broken("worker_garbage", "?")
    assert play.happened(WorkerMisbehaved(0, 1, error)) == ["fail a worker_garbage", "kill 1"]
    assert play.gone(1) == ["start 2 small"]
    assert len(play.state.crashes["sha256:small"]) == 1


def test_late_news_of_a_worker_that_is_no_more_changes_nothing(play: Play) -> None:
    play.loaded(SMALL)
    play.gone(1)
    before = play.state
    assert play.ready(1) == []
    assert play.gone(1) == []
    assert play.happened(WorkerMisbehaved(0, 1, Broken("worker_garbage", "?"))) == []
    assert (play.state.workers, play.state.crashes) == (before.workers, before.crashes)


def test_who_only_wants_the_model_loaded_takes_no_slot(play: Play) -> None:
    assert play.arrives("load", needs_slot=False) == ["start 1 big", "wait load 1"]
    assert play.ready(1) == ["grant load 1"]
    assert play.arrives("a") == ["grant a 1"]
    assert play.arrives("b") == ["grant b 1"]


def test_a_spare_slot_is_given_at_once_or_not_at_all(play: Play) -> None:
    assert play.arrives("s", spare_only=True) == ["refuse s no_spare_slot"]
    play.loaded(BIG)
    play.arrives("a")
    assert play.arrives("s", spare_only=True) == ["grant s 1"]
    assert play.arrives("t", spare_only=True) == ["refuse t no_spare_slot"]


def test_two_digests_under_one_name_are_two_models(play: Play) -> None:
    play.loaded(SMALL)
    changed = Demand("small", "sha256:new", 30, 1)
    assert play.arrives("a", changed) == ["start 2 small", "wait a 1"]


def test_at_shutdown_everybody_is_told_and_every_worker_is_stopped(play: Play) -> None:
    play.loaded(SMALL)
    play.arrives("a", SMALL)
    play.arrives("b", SMALL)
    play.arrives("c", BIG)
    told = play.happened(ShutdownAsked(0))
    assert told == [
        "refuse b shutting_down",
        "refuse c shutting_down",
        "fail a shutting_down",
        "stop 1",
        "stop 2",
    ]
    assert play.arrives("d") == ["refuse d shutting_down"]


@pytest.mark.parametrize(
    ("need", "busy", "expected"),
    [
        (0, False, []),
        (10, False, [2]),
        (40, False, [2, 1]),
        (70, False, None),
        (70, True, [2, 1, 3]),
        (200, True, None),
    ],
)
def test_victims(need: int, busy: bool, expected: list[int] | None) -> None:
    def worker(number: int, since_s: float, memory: int, **granted: float) -> Worker:
        return Worker(number, Demand(f"m{number}", "d", memory, 2), Phase.READY, since_s, granted)

    workers = [worker(1, 20, 30), worker(2, 10, 30), worker(3, 5, 30, ticket=1.0), worker(4, 1, 30)]
    chosen = victims(workers, frozenset({"m4"}), need, busy=busy)
    assert (None if chosen is None else [each.id for each in chosen]) == expected


def test_who_is_answered_alone_waits_for_the_others_and_they_for_it() -> None:
    play = Play(Rules(budget_bytes=100, queue_limit=9))
    play.arrives("a")
    play.ready(1)
    play.arrives("b", alone=True)
    assert told(play.last[-1]) == "wait b 1", "a is being answered"
    assert play.arrives("c") == ["wait c 2"], "a slot is free, but b came first"
    assert play.arrives("d", needs_slot=False) == ["grant d 1"], "who computes nothing disturbs nobody"
    assert play.leaves("a") == ["grant b 1", "wait c 1"]
    assert play.arrives("e", spare_only=True) == ["refuse e no_spare_slot"]
    assert play.leaves("b") == ["grant c 1"]


def test_who_makes_room_is_whose_absence_costs_least() -> None:
    """The model that a class uses stays, though another was used more recently."""
    play = Play(Rules(budget_bytes=100, queue_limit=9))
    often, once, new = (Demand(name, name, 40, 2) for name in ("often", "once", "new"))
    for number in range(6):
        play.arrives(f"a{number}", often)
        play.later(2)
        play.ready(1)
        play.leaves(f"a{number}")
    play.later(5)
    play.arrives("b", once)
    play.later(2)
    play.ready(2)
    play.leaves("b")
    assert "stop 2" in play.arrives("c", new)
