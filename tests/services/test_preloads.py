"""Loading before people come."""

from datetime import datetime, time
from typing import Any

import pytest

from intramural.core.errors import Misasked, Missing
from intramural.services.preloads import Preload, Preloads, next_due, parse_preloads

WEEKDAYS = frozenset(range(5))


def test_entries() -> None:
    assert parse_preloads("") == ()
    assert parse_preloads("small, qwen3:8b@07:30 mon-fri ,c@00:00") == (
        Preload("small"),
        Preload("qwen3:8b", time(7, 30), WEEKDAYS),
        Preload("c", time(0, 0)),
    )
    assert parse_preloads("a@12:00 sat-mon wed")[0].days == {5, 6, 0, 2}


@pytest.mark.parametrize(
    "text",
    ["a@", "a@7:30", "a@24:00", "a@07:60", "a@07:30 mo", "a@07:30 mon-xyz", "a b", "@07:30", "a@07:30 mon,b@1"],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(Misasked) as caught:
        parse_preloads(text)
    assert caught.value.code == "bad_setting"


@pytest.mark.parametrize(
    ("text", "now", "due", "names"),
    [
        ("a@07:30", "2026-11-20 06:00", "2026-11-20 07:30", ("a",)),
        ("a@07:30", "2026-11-20 07:30", "2026-11-21 07:30", ("a",)),
        ("a@07:30 mon-fri", "2026-11-20 08:00", "2026-11-23 07:30", ("a",)),  # Friday, then Monday
        ("a@07:30 fri", "2026-11-20 07:31", "2026-11-27 07:30", ("a",)),
        ("a@07:30 mon-fri, b@06:00 sat, c@07:30", "2026-11-20 07:00", "2026-11-20 07:30", ("a", "c")),
        ("a@07:30 mon-fri, b@06:00 sat", "2026-11-20 07:30", "2026-11-21 06:00", ("b",)),
    ],
)
def test_what_is_next(text: str, now: str, due: str, names: tuple[str, ...]) -> None:
    assert next_due(parse_preloads(text), datetime.fromisoformat(now)) == (datetime.fromisoformat(due), names)


def test_what_is_loaded_at_the_start_is_never_due() -> None:
    assert next_due(parse_preloads("a, b"), datetime(2026, 11, 20)) is None


class Hours:
    """A clock that moves when somebody sleeps; `jumps` set it at that many looks."""

    def __init__(self, now: str, jumps: dict[int, str] | None = None, looks: int = 0) -> None:
        self.now = datetime.fromisoformat(now).timestamp()
        self.jumps = jumps or {}
        self.left = looks
        self.slept = 0

    def now_s(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept += 1
        if self.slept > self.left:
            raise TimeoutError
        self.now += seconds
        if self.slept in self.jumps:
            self.now = datetime.fromisoformat(self.jumps[self.slept]).timestamp()


async def loaded(text: str, hours: Hours) -> list[str]:
    found: list[str] = []

    async def load(name: str) -> None:
        found.append(f"{name} {datetime.fromtimestamp(hours.now):%a %H:%M}")
        if name == "gone":
            raise Missing("model_not_found", "No such model.", "")

    clock: Any = hours
    with pytest.raises(TimeoutError):
        await Preloads(text, clock, load, hours.sleep).run(lambda _: None)
    return found


async def test_two_working_days() -> None:
    hours = Hours("2026-11-19 18:00", looks=4 * 24 * 180)
    assert await loaded("gone@07:29 mon-fri, a@07:30 mon-fri", hours) == [
        "gone Fri 07:29", "a Fri 07:30", "gone Mon 07:29", "a Mon 07:30",
    ]  # fmt: skip


async def test_a_machine_that_slept_or_whose_clock_was_set() -> None:
    woken = Hours("2026-11-20 06:00", {2: "2026-11-20 07:50"}, 4)
    assert await loaded("a@07:30", woken) == ["a Fri 07:50"]
    much_later = Hours("2026-11-20 06:00", {2: "2026-11-20 11:00"}, 4)
    assert await loaded("a@07:30", much_later) == []
    back = Hours("2026-11-20 07:29", {4: "2026-11-20 07:29"}, 9)
    assert await loaded("a@07:30", back) == ["a Fri 07:30", "a Fri 07:30"]


async def test_at_the_start() -> None:
    found: list[str] = []
    told: list[str] = []

    async def load(name: str) -> None:
        if name == "gone":
            raise Missing("model_not_found", "No such model.", "")
        found.append(name)

    clock: Any = None
    for text, names in (("", ["only"]), ("", ["a", "b"]), ("gone, b, c@07:00", ["a"]), ("c@07:00", ["only"])):
        await Preloads(text, clock, load).at_start(names, told.append)
    assert found == ["only", "b"]
    assert len(told) == 1
