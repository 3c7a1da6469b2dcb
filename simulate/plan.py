"""What one seed decides before anything runs: who asks what and when, and all that goes wrong. Pure.

Each kind of fault is in some seeds only, so that what one hides another shows (Groce et al. 2012, swarm testing).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

MiB = 2**20
PEOPLE = ("ann", "ben", "eve", "dan", "mia")

Fault = Literal["workers", "lies", "wires", "disk", "locks", "clock", "kills", "leaving", "acts", "slow"]
FAULTS: tuple[Fault, ...] = ("workers", "lies", "wires", "disk", "locks", "clock", "kills", "leaving", "acts", "slow")
Kind = Literal["chat", "embed"]


@dataclass(frozen=True, slots=True)
class Model:
    """A model that can be asked."""

    name: str
    memory_bytes: int
    slots: int
    context_tokens: int = 512


@dataclass(frozen=True, slots=True)
class Limit:
    """A quota, for every person by themselves or (`each` False) for all together."""

    measure: Literal["requests", "tokens", "streams"]
    amount: int
    each: bool
    period: Literal["hour", "day"]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. `cancelled_s`: so long after it was sent its client is cut off; `leaves`: it goes after so many
    events; `pause_s`: it reads so slowly."""

    name: str
    at_s: float
    person: str
    model: str
    kind: Kind = "chat"
    words: int = 5
    tokens: int | None = 8
    choices: int = 1
    batch: bool = False
    repeatable: bool = False
    deterministic: bool = False
    cancelled_s: float | None = None
    leaves: int | None = None
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Act:
    """What an administrator does."""

    at_s: float
    what: Literal["limit", "unlimit", "unload", "pin", "unpin", "keep"]
    model: str
    limit: Limit
    number: float


@dataclass(frozen=True, slots=True)
class Trouble:
    """Of the disk or the clock. `size`: bytes left, or seconds by which the clock is set."""

    at_s: float
    what: Literal["full", "locked", "slow", "clock"]
    lasts_s: float
    size: float


@dataclass(frozen=True, slots=True)
class Wires:
    """What the connections to workers are like: each piece is late by up to so long, is cut in smaller ones, and with
    some of them the connection ends."""

    late_s: float = 0.001
    splits: float = 0.0
    cuts: float = 0.0


@dataclass(frozen=True, slots=True)
class Life:
    """One start of the service, and what happens until its end. `killed_at`: the step before which it is killed (None:
    it is stopped); `engines`: the knobs of each engine started, the last ones for all later ones."""

    asks: Sequence[Ask]
    acts: Sequence[Act] = ()
    troubles: Sequence[Trouble] = ()
    wires: Wires = Wires()
    engines: Sequence[Mapping[str, object]] = ({},)
    killed_at: int | None = None
    tears: bool = False
    #: Those who still wait are cut off then: the service is stopped (None: when all are done).
    stopped_s: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a seed decides."""

    seed: int
    faults: frozenset[Fault] = field(repr=False)
    models: Sequence[Model]
    budget_bytes: int
    settings: Mapping[str, float]
    limits: Sequence[Limit]
    prices: str
    lives: Sequence[Life]

    @property
    def calm(self) -> bool:
        """Nothing goes wrong, and nobody interferes."""
        return not self.faults - {"leaving", "slow"}


def plan_of(seed: int) -> Plan:
    """What `seed` stands for."""
    chance = Random(seed)
    faults = frozenset(fault for fault in FAULTS if chance.random() < 0.45)
    models = [
        Model(f"m{number}", chance.choice((40, 60, 90)) * MiB, chance.choice((1, 1, 2, 3)))
        for number in range(chance.choice((1, 2, 2, 3)))
    ]
    settings = {
        "queue_limit": chance.choice((4, 16, 64)),
        "queue_timeout_s": chance.choice((30.0, 900.0)),
        "keep_alive_s": chance.choice((0.0, 5.0, 60.0, -1.0)),
        "ageing_s": chance.choice((2.0, 30.0)),
        "slice_s": chance.choice((0.0, 0.3, 5.0)),
        "stall_timeout_s": 20.0,
        "start_timeout_s": 30.0,
        "stop_grace_s": 3.0,
        "threads": 1,
    }
    limits = [_limit(chance) for _ in range(chance.choice((0, 0, 1, 2, 3)))]
    names = (f"r{number}" for number in range(10**6))
    number = chance.choice((1, 2, 2, 3)) if "kills" in faults else chance.choice((1, 1, 2))
    lives = [_life(chance, faults, models, names) for _ in range(number)]
    return Plan(
        seed,
        faults,
        models,
        chance.choice((100, 130, 300)) * MiB,
        settings,
        limits,
        chance.choice(("", "*=1/2")),
        [*lives, _last(chance, models, names)],
    )


def _limit(chance: Random) -> Limit:
    measure = chance.choice(("requests", "tokens", "tokens", "streams"))
    most = {"requests": (2, 12), "tokens": (40, 600), "streams": (1, 3)}[measure]
    period = chance.choice(("hour", "day"))
    return Limit(measure, chance.randint(*most), chance.random() < 0.6, period)  # type: ignore[arg-type]


def _life(chance: Random, faults: frozenset[Fault], models: Sequence[Model], names: "object") -> Life:
    over_s = chance.choice((0.5, 5.0, 30.0))
    number = chance.randint(3, 24)
    asks = sorted((_ask(chance, faults, models, over_s, next(names)) for _ in range(number)), key=lambda ask: ask.at_s)  # type: ignore[call-overload]
    acts = [_act(chance, models, over_s) for _ in range(chance.randint(1, 6))] if "acts" in faults else []
    engines: list[Mapping[str, object]] = [{"tokens_per_s": chance.choice((3.0, 20.0, 200.0))}]
    if "workers" in faults or "lies" in faults:
        engines = [_engine(chance, faults) for _ in range(6)]
    wires = Wires(chance.choice((0.0005, 0.05)), 0.2 * chance.random(), chance.choice((0.0, 0.01, 0.05)))
    killed_at = round(10 ** chance.uniform(0.8, 4.0)) if "kills" in faults else None
    return Life(
        asks,
        sorted(acts, key=lambda act: act.at_s),
        _troubles(chance, faults, over_s),
        wires if "wires" in faults else Wires(),
        engines,
        killed_at,
        tears=chance.random() < 0.6,
        stopped_s=over_s * chance.random() if chance.random() < 0.2 else None,
    )


def _last(chance: Random, models: Sequence[Model], names: "object") -> Life:
    """Nothing goes wrong any more: whoever asks is answered."""
    asks = [Ask(next(names), 0.1 * place, chance.choice(PEOPLE), each.name) for place, each in enumerate(models)]  # type: ignore[call-overload]
    return Life(asks)


def _ask(chance: Random, faults: frozenset[Fault], models: Sequence[Model], over_s: float, name: str) -> Ask:
    batch = chance.random() < 0.2
    leaves = "leaving" in faults and chance.random() < 0.4
    kind: Kind = "embed" if chance.random() < 0.12 else "chat"
    cut_off = leaves and (kind == "embed" or chance.random() < 0.5)
    return Ask(
        name,
        over_s * chance.random() ** 2,
        chance.choice(PEOPLE[: chance.choice((2, 5))]),
        chance.choice(models).name,
        kind,
        words=chance.choice((3, 10, 60, 600)) if chance.random() < 0.1 else chance.randint(1, 20),
        tokens=None if chance.random() < 0.3 else chance.choice((1, 4, 12, 40)),
        choices=2 if chance.random() < 0.1 else 1,
        batch=batch,
        repeatable=batch and chance.random() < 0.5,
        deterministic=chance.random() < 0.08,
        cancelled_s=3.0 * chance.random() ** 2 if cut_off else None,
        leaves=chance.randint(0, 6) if leaves and not cut_off else None,
        pause_s=0.5 * chance.random() if "slow" in faults and chance.random() < 0.2 else 0.0,
    )


def _act(chance: Random, models: Sequence[Model], over_s: float) -> Act:
    what = chance.choice(("limit", "limit", "unlimit", "unload", "pin", "unpin", "keep"))
    number = chance.choice((-1.0, 0.0, 3.0))
    return Act(over_s * chance.random(), what, chance.choice(models).name, _limit(chance), number)  # type: ignore[arg-type]


def _troubles(chance: Random, faults: frozenset[Fault], over_s: float) -> list[Trouble]:
    found: list[Trouble] = []
    for fault, what in (("disk", "full"), ("locks", "locked"), ("slow", "slow"), ("clock", "clock")):
        for _ in range(chance.randint(1, 3) if fault in faults else 0):
            size = {
                "full": chance.randint(0, 40_000),
                "clock": chance.choice((-86_400, -3_600, -90, 90, 4_000, 90_000)),
            }
            lasts_s = chance.choice((0.05, 1.0, 4.0, 12.0))
            found.append(Trouble(over_s * chance.random(), what, lasts_s, float(size.get(what, 0))))  # type: ignore[arg-type]
    return sorted(found, key=lambda trouble: trouble.at_s)


def _engine(chance: Random, faults: frozenset[Fault]) -> Mapping[str, object]:
    knobs: dict[str, object] = {
        "tokens_per_s": chance.choice((3.0, 20.0, 200.0)),
        "slow_start": chance.choice((0.0, 2.0)),
    }
    if "workers" in faults and chance.random() < 0.6:
        after = chance.randint(0, 12)
        knobs |= chance.choice(
            (
                {"die_at_start": True},
                {"hang_at_start": True},
                {"die_after_tokens": after},
                {"stall_after_tokens": after},
                {"ignore_sigterm": True},
                {"dies_after_s": 10 * chance.random()},
            )
        )
    if "lies" in faults and chance.random() < 0.5:
        garbage = {"garbage": chance.choice(("http", "frame", "shape", "endless"))}
        knobs |= chance.choice((garbage, {"counts_times": chance.choice((0.0, 0.5, 3.0, 500.0))}))
    return knobs
